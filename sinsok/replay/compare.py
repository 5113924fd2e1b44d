"""What became of a study then and now: what is the same, changed, missing and new."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from itertools import zip_longest
from typing import Any, Final
from uuid import UUID

from pydantic import Field

from schemas.base import Event, Record, StudyEvent, Utc
from schemas.envelope import encode
from schemas.events import AlertRaised, StudyTriaged
from schemas.topics import topic_of
from sinsok.replay.rerun import Rerun
from sinsok.replay.story import Entry, Story


class Change(StrEnum):
    """What is different about an event."""

    CHANGED = "changed"
    MISSING = "missing"
    """It came then and does not come now."""
    NEW = "new"
    """It comes now and did not come then."""


class Difference(Record):
    """One event that is not as it was."""

    change: Change
    type: str
    event_id: UUID = Field(description="Of then; of now where it is new")
    at: Utc = Field(description="Its time, the same")
    fields: dict[str, tuple[Any, Any]] = Field(default={}, description="Of a changed one: what they were and are")


class Outcome(StrEnum):
    """What a replay says of a study."""

    SAME = "same"
    """Bit for bit."""
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    """A hop could not decide: what a model would have said is not recorded."""
    EARLIER = "earlier"
    """It began before the record that was read."""


class Alert(Record):
    """An alert of a study, then or now."""

    at: Utc
    after_s: float = Field(description="From the last image")
    priority: str


class Compared(Record):
    """One study, then and now."""

    site: str
    study_uid: str
    outcome: Outcome
    events: int = Field(description="What the hops sent then")
    differences: tuple[Difference, ...] = ()
    unheard: tuple[str, ...] = Field(default=(), description="Acts of people on alerts that do not come now")
    unknown: tuple[str, ...] = ()
    faults: tuple[str, ...] = Field(default=(), description="What is wrong with the record itself")
    alerts: tuple[tuple[Alert, ...], tuple[Alert, ...]] = Field(default=((), ()), description="Then, now")
    volume_ml: tuple[float, float] = Field(default=(0.0, 0.0), description="Of all findings in the end, then and now")


_DERIVED: Final = ("event_id", "assembled", "result")
"""Fields that name other events: where those differ, these do, and say nothing new."""
_SLOT: Final = ("revision", "unconfirmed", "attempt", "recipient", "asked", "by")


def compare(story: Story, again: Rerun, topics: Collection[str] = ()) -> Compared:
    """A study then and now; where ``topics`` are named, what stands on these."""
    said = [one for one in story.said if one in story.events]
    then = {one: story.events[one].event for one in said if _asked_for(story.events[one].event, topics)}
    now = {one: words[0] for one, words in again.said.items() if _asked_for(words[0], topics)}
    same = {one for one in then.keys() & now.keys() if _are_the_words(again.said[one], story.events[one])}
    differences = tuple(_differences(then, now, same))
    faults = tuple(story.faults)
    if story.earlier:
        outcome = Outcome.EARLIER
    elif again.unknown:
        outcome = Outcome.UNKNOWN
    else:
        outcome = Outcome.DIFFERENT if differences or faults else Outcome.SAME
    return Compared(
        site=story.site,
        study_uid=story.study_uid,
        outcome=outcome,
        events=len(then),
        differences=() if story.earlier else differences,
        unheard=tuple(f"{type(one).__name__} at {one.time.isoformat()}" for one in again.unheard),
        unknown=tuple(dict.fromkeys(again.unknown)),
        faults=faults,
        alerts=(_alerts(then.values()), _alerts(now.values())),
        volume_ml=(_volume_ml(then.values()), _volume_ml(now.values())),
    )


def _are_the_words(now: Iterable[StudyEvent], then: Entry) -> bool:
    """Whether an event is said as it was, bit for bit; a record of an older version as this one would have said it."""
    said = {encode(words).value for words in now}
    return said in (set(then.values), {encode(type(then.event).model_validate_json(one)).value for one in then.values})


def _asked_for(event: Event, topics: Collection[str]) -> bool:
    return not topics or topic_of(event) in topics


def _differences(
    then: Mapping[UUID, StudyEvent], now: Mapping[UUID, StudyEvent], same: Collection[UUID]
) -> Iterable[Difference]:
    """Changed, missing and new ones; an event that has got another id is changed where it stands in for one."""
    for one in then.keys() & now.keys():
        if one not in same:
            yield _changed(then[one], now[one], whole=True)
    left: dict[tuple[Any, ...], tuple[list[StudyEvent], list[StudyEvent]]] = defaultdict(lambda: ([], []))
    for event in (then[one] for one in then if one not in now):
        left[_slot(event)][0].append(event)
    for event in (now[one] for one in now if one not in then):
        left[_slot(event)][1].append(event)
    for were, are in left.values():
        for was, is_ in zip_longest(were, are):
            if was is not None and is_ is not None:
                yield _changed(was, is_, whole=False)
            elif was is not None:
                yield Difference(change=Change.MISSING, type=type(was).__name__, event_id=was.event_id, at=was.time)
            elif is_ is not None:
                yield Difference(change=Change.NEW, type=type(is_).__name__, event_id=is_.event_id, at=is_.time)


def _slot(event: StudyEvent) -> tuple[Any, ...]:
    """Events that stand in for each other have the same."""
    alert = None if isinstance(event, AlertRaised) else getattr(event, "alert_id", None)
    return (event.TYPE, alert, *(getattr(event, name, None) for name in _SLOT))


def _changed(was: StudyEvent, is_: StudyEvent, *, whole: bool) -> Difference:
    before, after = dict(_flat(was.model_dump(mode="json"))), dict(_flat(is_.model_dump(mode="json")))
    fields = {
        name: (before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name) and (whole or name not in _DERIVED)
    }
    return Difference(change=Change.CHANGED, type=type(was).__name__, event_id=was.event_id, at=was.time, fields=fields)


def _flat(value: Any, place: str = "") -> Iterable[tuple[str, Any]]:
    """A JSON value as its leaves: ``findings.0.volume_ml``."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, one in items:
            yield from _flat(one, f"{place}.{name}" if place else str(name))
    else:
        yield place, value


def _alerts(events: Iterable[StudyEvent]) -> tuple[Alert, ...]:
    return tuple(
        Alert(at=one.time, after_s=(one.time - one.last_image_at).total_seconds(), priority=one.priority)
        for one in events
        if isinstance(one, AlertRaised)
    )


def _volume_ml(events: Iterable[StudyEvent]) -> float:
    results = [one for one in events if isinstance(one, StudyTriaged)]
    if not results:
        return 0.0
    last = max(results, key=lambda one: (one.revision, not one.unconfirmed, one.final))
    return sum(finding.volume_ml for finding in last.findings)
