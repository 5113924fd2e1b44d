"""A generated day, study by study, and how to decide it again without a broker."""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from gateways.objects import FileStore
from sinsok.replay.answers import Answers
from sinsok.replay.compare import Compared, compare
from sinsok.replay.rerun import rerun
from sinsok.replay.rules import Rules
from sinsok.replay.story import Recorded, Story, tell
from streams.ports import Inference
from streams.site import SiteRules
from tests.day import RULES, Day, Stood

NOWHERE = Path("/nonexistent")
STORE = FileStore(Path(mkdtemp(prefix="sinsok-replay-")))
"""Where the rules of the day are kept, as the hops keep them."""


@cache
def recorded_day(studies: int = 80, seed: int = 5) -> Day:
    return Day(studies, seed, rules=STORE.put(RULES.model_dump_json().encode(), "rules", ".json"))


def recorded(one: Stood) -> Recorded:
    kind = dict(one.headers)["ce_type"].decode()
    return Recorded(one.topic, one.partition, one.offset, one.timestamp_ms, kind, one.value)


@cache
def stories(day: Day, until_ms: int | None = None) -> dict[str, Story]:
    """By study key. They are shared: nobody changes them."""
    records = defaultdict(list)
    for one in day.records:
        records[dict(one.headers)["ce_subject"].decode()].append(recorded(one))
    return {key: tell(key, all_of_it, until_ms or ms(day)) for key, all_of_it in records.items()}


def told_again(records: list[Stood], until_ms: int, *, begins: bool = False) -> dict[str, Story]:
    """The stories of other records than a day's."""
    found = defaultdict(list)
    for one in records:
        found[dict(one.headers)["ce_subject"].decode()].append(recorded(one))
    return {key: tell(key, all_of_it, until_ms, begins=begins) for key, all_of_it in found.items()}


def ms(day: Day) -> int:
    return int(day.end.timestamp() * 1000)


def decide(
    story: Story,
    until_ms: int,
    *,
    policy: Mapping[str, SiteRules] | None = None,
    model: str | None = None,
    live: Inference | None = None,
) -> Compared:
    """A study then and now."""
    rules = Rules(STORE, policy, model)
    newest = next((taken.step.rules for taken in reversed(story.steps) if taken.step.rules), None)
    identities = {
        answer.asked: answer
        for taken in story.steps
        for answer in taken.step.answers
        if answer.asked.startswith("identify") and answer.failure is None
    }
    answers = Answers(NOWHERE, identities, live, model)
    again = rerun(story, lambda step: rules.hops(story.site, step, newest, answers), answers, until_ms)
    return compare(story, again)


def decide_all(day: Day, **how: object) -> list[Compared]:
    return [decide(story, ms(day), **how) for story in stories(day).values()]  # type: ignore[arg-type]
