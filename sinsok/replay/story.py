"""What the record says of one study: its events, and the steps in which the hops handled them.

The steps of a row (a study's or an alert's, in a hop) stand on one partition, so their order is that of the offsets,
whatever the clocks of their hosts said. Their digests form a chain; where a link is missing, so is a step.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

from schemas.audit import Origin
from schemas.base import Digest, StudyEvent
from schemas.envelope import NotAnEvent, decode
from schemas.events import AlertRaised, AlertWithdrawn, DeadlinePassed, StudyAssembled, StudyTriaged
from schemas.identity import study_key
from schemas.paging import AlertClosed, AlertEscalated, AlertPaged, AlertRefused
from schemas.steps import StepTaken

MADE: Final = (
    StudyAssembled,
    StudyTriaged,
    AlertRaised,
    AlertWithdrawn,
    AlertPaged,
    AlertEscalated,
    AlertClosed,
    AlertRefused,
)
"""What nobody but a hop says: a step names each of these."""


class Recorded(NamedTuple):
    """A record of a study, as it stood on its topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    type: str
    value: bytes


class Entry(NamedTuple):
    """An event, and the bytes that said it: more than once where it was sent again after a crash, in other words."""

    event: StudyEvent
    values: list[bytes]


class Row(NamedTuple):
    """What a hop remembers of a study or an alert, by the hop and the key."""

    hop: str
    key: str


class Taken(NamedTuple):
    """A step of a hop, the row it was taken on, when, and its place among the steps of that row."""

    at_ms: int
    row: Row
    place: int
    step: StepTaken


@dataclass
class Story:
    """See the module."""

    site: str = ""
    study_uid: str = ""
    events: dict[UUID, Entry] = field(default_factory=dict)
    places: dict[Origin, StudyEvent] = field(default_factory=dict)
    """The same by where they stand: what is said again may be in other words."""
    steps: list[Taken] = field(default_factory=list)
    later: set[UUID] = field(default_factory=set)
    """What the hops sent in steps that are not part of it."""
    earlier: bool = False
    """Whether the study began before the record that was read."""
    faults: list[str] = field(default_factory=list)
    """What is wrong with the record itself, one line each."""

    @property
    def said(self) -> list[UUID]:
        """What the hops sent, in the order of their steps, each once."""
        return list(dict.fromkeys(one for taken in self.steps for one in taken.step.sent))

    @property
    def heard(self) -> list[StudyEvent]:
        """What came to the hops from outside: images, and what people and far sides did. Time does not count."""
        said = self.later.union(self.said)
        entries = ((key, entry.event) for key, entry in self.events.items())
        return [event for key, event in entries if key not in said and not isinstance(event, DeadlinePassed)]


def tell(key: str, records: Iterable[Recorded], until_ms: int, *, begins: bool = False) -> Story:
    """The story of the study with this key. Steps of ``until_ms`` and later are no part of it.

    ``begins``: the record was read from some moment on, and what is missing at its beginning lies before that. Records
    that are no events, or are about another study, are no part of it: a hop makes dead letters of them.
    """
    story = Story()
    steps: dict[Row, list[tuple[int, StepTaken]]] = defaultdict(list)
    for record in sorted(records, key=lambda one: (one.topic, one.partition, one.offset)):
        try:
            event = decode([("ce_type", record.type.encode())], record.value)
        except NotAnEvent:
            continue
        if not isinstance(event, StudyEvent) or study_key(event.site, event.study_uid) != key:
            continue
        story.site, story.study_uid = event.site, event.study_uid
        if isinstance(event, StepTaken):
            if record.timestamp_ms < until_ms:
                steps[Row(event.hop, event.key)].append((record.timestamp_ms, event))
            else:
                story.later.update(event.sent)
            continue
        story.places[Origin(topic=record.topic, partition=record.partition, offset=record.offset)] = event
        values = story.events.setdefault(event.event_id, Entry(event, [])).values
        if record.value not in values:
            values.append(record.value)
    for row, taken in steps.items():
        story.steps += _in_order(row, taken)
    story.steps.sort(key=lambda one: (one.at_ms, one.place))
    _check(story, until_ms, begins=begins)
    return story


def _in_order(row: Row, taken: list[tuple[int, StepTaken]]) -> Iterable[Taken]:
    at_ms = 0
    for place, (timestamp_ms, step) in enumerate(taken):
        at_ms = max(at_ms, timestamp_ms)
        yield Taken(at_ms, row, place, step)


def _check(story: Story, until_ms: int, *, begins: bool) -> None:
    """Find what the record lacks."""
    missing = []
    known: dict[Row, set[Digest | None]] = defaultdict(lambda: {None})
    for taken in sorted(story.steps, key=lambda one: (one.row, one.place)):
        before, after = taken.step.before, taken.step.after
        if before not in known[taken.row]:
            if taken.place == 0:
                story.earlier = True
            else:
                missing.append(f"a step of {taken.row.hop} is missing before {_place(taken.step.origin)}")
        known[taken.row] |= {before, after}
    sent = story.later.union(story.said)
    named = dict.fromkeys([*story.said, *(taken.step.event for taken in story.steps)])
    missing += [f"event {one} is named by a step and is not in the record" for one in named if one not in story.events]
    for one, entry in story.events.items():
        if isinstance(entry.event, MADE) and one not in sent:
            missing.append(f"{type(entry.event).__name__} {one} is in the record, and no step that sent it")
    if begins and missing:
        story.earlier = True
    else:
        story.faults += missing


def _place(origin: Origin) -> str:
    return f"{origin.topic}/{origin.partition}/{origin.offset}"
