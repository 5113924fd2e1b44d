"""A day is decided again bit for bit; where code or rules are others, just what they change is different."""

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import FunctionType
from typing import Any
from uuid import UUID

import pytest

from gateways.objects import FileStore
from schemas.base import StudyEvent
from schemas.events import AlertRaised, StudyAssembled, StudyTriaged
from schemas.identity import study_key
from schemas.models import ModelIdentity
from schemas.paging import AlertAcknowledged
from schemas.steps import Handled, StepTaken
from sinsok.replay.answers import Answers, NotRecorded
from sinsok.replay.compare import Change, Outcome
from sinsok.replay.rules import Rules
from sinsok.replay.story import Story
from streams import alert, assemble, conclusion, confirm, escalate, on_call, policy, reading, route
from streams.on_call import Paging
from tests.day import RULES, SITES, Models
from tests.unit.sinsok.replay.again import decide, decide_all, ms, recorded_day, stories, told_again
from tests.unit.streams.examples import stored


def test_the_day_has_in_it_what_makes_replays_hard() -> None:
    day = recorded_day()
    steps = [taken.step for story in stories(day).values() for taken in story.steps]
    assert {step.handled for step in steps} == set(Handled)
    assert any(answer.failure for step in steps for answer in step.answers)
    again = Counter((step.hop, step.origin) for step in steps)
    assert max(again.values()) > 1, "no event was handled twice"
    words = [entry.values for story in stories(day).values() for entry in story.events.values()]
    assert any(len(said) > 1 for said in words), "nothing was said again in other words"
    assert {step.hop for step in steps} == {"assemble", "infer", "confirm", "alert", "escalate"}


def test_every_study_is_decided_as_it_was() -> None:
    found = decide_all(recorded_day())
    assert [one for one in found if one.outcome is not Outcome.SAME] == []
    assert sum(one.events for one in found) > 500
    assert sum(len(one.alerts[0]) for one in found) > 20


@pytest.mark.parametrize("hours", [3, 11, 19])
def test_a_record_that_ends_in_the_middle_is_decided_as_far_as_it_goes(hours: int) -> None:
    day = recorded_day()
    until = int((day.end - timedelta(hours=27 - hours)).timestamp() * 1000)
    found = [decide(story, until) for story in stories(day, until).values() if story.steps]
    assert len(found) > 5
    assert {one.outcome for one in found} == {Outcome.SAME}


def test_a_record_that_begins_in_the_middle_says_so() -> None:
    day = recorded_day()
    story = next(one for one in stories(day).values() if len(one.steps) > 10)
    key, last = story_key(story), story.steps[len(story.steps) // 2].at_ms
    records = [one for one in day.records if one.timestamp_ms > last]
    assert decide(told_again(records, ms(day), begins=True)[key], ms(day)).outcome is Outcome.EARLIER


def story_key(story: Story) -> str:
    return study_key(story.site, story.study_uid)


def test_a_record_that_is_gone_is_named() -> None:
    day = recorded_day()
    key, story = next(iter(stories(day).items()))
    gone = next(one for one, entry in story.events.items() if isinstance(entry.event, StudyAssembled))
    records = [one for one in day.records if f'"event_id":"{gone}"'.encode() not in one.value]
    compared = decide(told_again(records, ms(day))[key], ms(day))
    assert compared.outcome is Outcome.DIFFERENT
    assert compared.faults == (f"event {gone} is named by a step and is not in the record",)


# --- other code ---------------------------------------------------------------------------------------------------

MUTATIONS: list[tuple[Callable[..., Any], str, str]] = [
    (assemble._missing, "if batch.open_associations:", "if False:"),
    (assemble._arrived, "if study.closed else study.opened_at", "if not study.closed else study.opened_at"),
    (route._fits, "geometry.slices < route.min_slices", "geometry.slices <= 40"),
    (reading.read, 'reason": f"not read: {error}', 'reason": f"not seen: {error}'),
    (conclusion.conclude, "elif failures:", "elif failures and not readings:"),
    (policy._apply, "volume_ml < limits.min_volume_ml", "volume_ml < 2 * limits.min_volume_ml"),
    (confirm._again, "if reading.refused is None:", "if reading.refused is not None:"),
    (alert._overtaken, "event.revision < study.revision", "event.revision <= study.revision"),
    (alert._outranks, "priority.rank < other.rank", "priority.rank <= other.rank"),
    (escalate._go_on, "alert.step + 1 if alert.recipients else alert.step", "alert.step"),
    (escalate._act, "if attempt != alert.attempt:", "if attempt == alert.attempt:"),
    (escalate._page, "if until is not None and not alert.asked_on:", "if False:"),
    (on_call.Paging.on_call, "step % len(now.steps)", "0"),
]


@pytest.mark.parametrize(("function", "was", "becomes"), MUTATIONS, ids=lambda one: getattr(one, "__qualname__", ""))
def test_a_line_of_decision_code_that_is_changed_is_found(
    function: FunctionType, was: str, becomes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(function, "__code__", _changed(function, was, becomes).__code__)
    different = [one for one in decide_all(recorded_day()) if one.outcome is Outcome.DIFFERENT]
    assert different
    assert all(one.differences for one in different)


def _changed(function: FunctionType, was: str, becomes: str) -> FunctionType:
    """The function with one change to its source."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(was) >= 1, f"{function.__qualname__} has no {was!r}"
    tree = ast.parse(source.replace(was, becomes, 1))
    assert isinstance(tree.body[0], ast.FunctionDef | ast.AsyncFunctionDef)
    tree.body[0].decorator_list = []
    space: dict[str, Any] = dict(function.__globals__)
    exec(compile(tree, function.__code__.co_filename, "exec"), space)
    changed = space[function.__name__]
    assert isinstance(changed, FunctionType)
    return changed


# --- other rules and models -----------------------------------------------------------------------------------------


def test_other_limits_change_the_studies_between_the_old_and_the_new_ones() -> None:
    """Volumes from 5 ml on are stat; from 8 ml on now. What was read and found stays as it was."""
    day = recorded_day()
    rule = RULES.alerts.rules[0].model_copy(update={"min_volume_ml": 8.0})
    alerts = RULES.alerts.model_copy(update={"rules": (rule, *RULES.alerts.rules[1:])})
    policy = dict.fromkeys(SITES.names, RULES.model_copy(update={"alerts": alerts}))
    found = decide_all(day, policy=policy)
    for story, one in zip(stories(day).values(), found, strict=True):
        results = [entry.event for entry in story.events.values() if isinstance(entry.event, StudyTriaged)]
        between = any(5.0 <= _largest_ml(result) < 8.0 for result in results)
        # The limit stands in the reason of what is above it, too.
        above = any(_largest_ml(result) >= 8.0 for result in results)
        assert (one.outcome is Outcome.DIFFERENT) == (between or above), one
        fields = {name for each in one.differences for name in each.fields if each.type == "StudyTriaged"}
        assert fields <= {"reason", "priority"}
        if above and not between:
            assert {each.change for each in one.differences} == {Change.CHANGED}
    assert {"AlertRaised"} <= {each.type for one in found for each in one.differences}


def _largest_ml(result: StudyTriaged) -> float:
    volumes: Counter[str] = Counter()
    for finding in result.findings:
        volumes[finding.series_uid] += finding.volume_ml  # type: ignore[assignment]
    return max(volumes.values(), default=0.0)


def test_a_longer_quiet_time_makes_time_pass_at_other_moments() -> None:
    day = recorded_day()
    completeness = RULES.completeness.model_copy(update={"quiet_s": 75.5})
    policy = dict.fromkeys(SITES.names, RULES.model_copy(update={"completeness": completeness}))
    found = decide_all(day, policy=policy)
    finals = [each for one in found for each in one.differences if each.type == "StudyAssembled"]
    assert {one.outcome for one in found} == {Outcome.DIFFERENT, Outcome.UNKNOWN}, "every study has a final revision"
    assert any("time" in each.fields for each in finals)


def test_nobody_to_page_changes_pages_and_nothing_before_them() -> None:
    day = recorded_day()
    policy = dict.fromkeys(SITES.names, RULES.model_copy(update={"paging": Paging()}))
    found = decide_all(day, policy=policy)
    kinds = Counter(each.type for one in found for each in one.differences)
    assert kinds["AlertPaged"] > 20
    assert not kinds.keys() & {"StudyAssembled", "StudyTriaged", "AlertRaised", "AlertWithdrawn"}


def test_acts_on_an_alert_that_does_not_come_are_told_and_not_heard() -> None:
    day = recorded_day()
    alerts = RULES.alerts.model_copy(update={"page": frozenset()})
    policy = dict.fromkeys(SITES.names, RULES.model_copy(update={"alerts": alerts}))
    found = decide_all(day, policy=policy)
    acts = [act for one in found for act in one.unheard]
    assert any(act.startswith(AlertAcknowledged.__name__) for act in acts)
    assert not any(each.change is Change.NEW for one in found for each in one.differences)
    assert sum(len(one.alerts[1]) for one in found) == 0


def test_a_model_of_which_nothing_is_recorded_is_not_guessed() -> None:
    found = decide_all(recorded_day(), model="quick@2")
    unknown = [one for one in found if one.outcome is Outcome.UNKNOWN]
    assert len(unknown) > 40
    assert {one.unknown[0] for one in unknown} >= {"infer: no answer of quick@2 is recorded: --infer asks it"}


def test_another_version_of_a_model_is_asked_with_the_rest_as_it_was() -> None:
    day = recorded_day()

    class Other(Models):
        """As then, but version 2 sees nothing."""

        async def read(self, site: str, study_uid: str, series: Any, model: ModelIdentity, **how: bool) -> Any:
            answer = await super().read(site, study_uid, series, model, **how)
            return answer.model_copy(update={"findings": ()}) if model.version == "2" else answer

    then = Other(lambda: day.end)
    found = decide_all(day, model="quick@2", live=then)
    fields = {name for one in found for each in one.differences for name in each.fields}
    assert any(name.endswith("provenance.version") for name in fields)
    again = {
        name for one in found for each in one.differences for name, (was, is_) in each.fields.items() if was and is_
    }
    assert not any(name.endswith(("completed_at", "last_image_at")) for name in again)
    assert not any(each.type == "StudyAssembled" for one in found for each in one.differences)


def test_rules_that_are_not_kept_are_not_guessed(tmp_path: Path) -> None:
    day = recorded_day()
    story = next(iter(stories(day).values()))
    gone = replace(story, steps=[one._replace(step=one.step.model_copy(update={"rules": None})) for one in story.steps])
    found = decide(gone, ms(day))
    assert found.outcome is Outcome.UNKNOWN
    assert "no step says by which rules it was taken: give them with --policy" in found.unknown[0]
    rules = Rules(FileStore(tmp_path), None, None)
    with pytest.raises(NotRecorded, match="the rules of then cannot be read"):
        rules.hops("suwon", None, stored("gone"), Answers(tmp_path, {}))


# --- what is wrong with the record ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hops", "made"),
    [("alert escalate", AlertRaised), ("assemble", StudyAssembled), ("assemble infer confirm", StudyTriaged)],
)
def test_a_record_without_the_steps_of_hops_is_not_called_the_same(hops: str, made: type[StudyEvent]) -> None:
    day = recorded_day()
    theirs = [f'"hop":"{hop}"'.encode() for hop in hops.split()]
    records = [one for one in day.records if one.topic != "triage.steps" or not any(hop in one.value for hop in theirs)]
    with_these = [
        story
        for story in told_again(records, ms(day)).values()
        if any(isinstance(entry.event, made) for entry in story.events.values())
    ]
    assert len(with_these) > 20
    found = [decide(story, ms(day)) for story in with_these]
    assert {one.outcome for one in found} == {Outcome.DIFFERENT}
    assert all("no step that sent it" in " ".join(one.faults) for one in found)


def _changes(steps: list[StepTaken]) -> list[StepTaken]:
    return [step for step in steps if step.before != step.after]


def test_a_step_that_is_gone_from_a_row_is_missed() -> None:
    day = recorded_day()
    key, story = next(
        (key, one) for key, one in stories(day).items() if sum(t.row.hop == "assemble" for t in one.steps) > 3
    )
    gone = [
        taken.step for taken in story.steps if taken.row.hop == "assemble" and taken.step.before != taken.step.after
    ][1]
    records = [one for one in day.records if f'"event_id":"{gone.event_id}"'.encode() not in one.value]
    assert any("a step of assemble is missing before" in fault for fault in told_again(records, ms(day))[key].faults)


@pytest.mark.parametrize("minutes", range(0, 1440, 480))
def test_a_period_that_begins_in_the_middle_says_nothing_false(minutes: int) -> None:
    day = recorded_day()
    begin = int((day.end - timedelta(hours=27) + timedelta(minutes=minutes)).timestamp() * 1000)
    records = [one for one in day.records if one.timestamp_ms >= begin]
    found = [decide(story, ms(day)) for story in told_again(records, ms(day), begins=True).values()]
    assert {one.outcome for one in found} <= {Outcome.SAME, Outcome.EARLIER}
    assert any(one.outcome is Outcome.SAME for one in found)


@pytest.mark.parametrize(("hop", "seconds"), [("assemble", 3.0), ("confirm", 0.5), ("escalate", -3.0)])
def test_the_clocks_of_two_hosts_change_nothing(hop: str, seconds: float) -> None:
    """What a hop writes has the time of its own host."""
    day = recorded_day()
    by = {one: hop for story in stories(day).values() for t in story.steps if t.step.hop == hop for one in t.step.sent}
    shifted = []
    for one in day.records:
        own = f'"hop":"{hop}"'.encode() in one.value and one.topic == "triage.steps"
        sent = UUID(dict(one.headers)["ce_id"].decode()) in by
        shifted.append(one._replace(timestamp_ms=one.timestamp_ms + int(1000 * seconds)) if own or sent else one)
    late = ms(day) + 10_000
    assert {decide(story, late).outcome for story in told_again(shifted, late).values()} == {Outcome.SAME}


def test_records_that_are_no_events_of_a_study_are_no_part_of_it() -> None:
    day = recorded_day()
    key, story = next(iter(stories(day).items()))
    like = next(one for one in day.records if dict(one.headers)["ce_subject"].decode() == key)
    other = next(one for one in day.records if dict(one.headers)["ce_subject"].decode() != key)
    noise = [like._replace(offset=10**6, value=b"noise"), like._replace(offset=10**6 + 1, value=other.value)]
    again = told_again([*day.records, *noise], ms(day))[key]
    assert (again.events.keys(), again.faults) == (story.events.keys(), [])
