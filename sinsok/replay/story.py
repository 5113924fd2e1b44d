"""What the record says of one study: its events, and the steps in which the hops handled them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from schemas.audit import Origin
from schemas.base import Event, StudyEvent
from schemas.envelope import NotAnEvent, decode
from schemas.events import DeadlinePassed
from schemas.steps import StepTaken


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


class Taken(NamedTuple):
    """A step of a hop, and when it was taken: by the topic's clock, within that in the order of its partition."""

    at_ms: int
    order: tuple[int, int]
    step: StepTaken


@dataclass
class Story:
    """See the module."""

    site: str = ""
    study_uid: str = ""
    events: dict[UUID, Entry] = field(default_factory=dict)
    steps: list[Taken] = field(default_factory=list)
    places: dict[Origin, StudyEvent] = field(default_factory=dict)
    """The same by where they stand: what is said again may be in other words."""
    later: set[UUID] = field(default_factory=set)
    """What the hops sent in steps that are not part of it."""
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


def tell(records: Iterable[Recorded], until_ms: int) -> Story:
    """The story of a study from its records. Steps of ``until_ms`` and later are not part of it."""
    story = Story()
    for record in sorted(records, key=lambda one: (one.topic, one.partition, one.offset)):
        try:
            event: Event = decode([("ce_type", record.type.encode())], record.value)
        except NotAnEvent as error:
            story.faults.append(f"{_place(record)} is no event: {error}")
            continue
        assert isinstance(event, StudyEvent), "only records about a study are kept"
        story.site, story.study_uid = event.site, event.study_uid
        if isinstance(event, StepTaken):
            if record.timestamp_ms < until_ms:
                story.steps.append(Taken(record.timestamp_ms, (record.partition, record.offset), event))
            else:
                story.later.update(event.sent)
            continue
        story.places[Origin(topic=record.topic, partition=record.partition, offset=record.offset)] = event
        values = story.events.setdefault(event.event_id, Entry(event, [])).values
        if record.value not in values:
            values.append(record.value)
    story.steps.sort(key=lambda taken: taken[:2])
    wanting = [one for one in story.said if one not in story.events]
    wanting += [taken.step.event for taken in story.steps if taken.step.event not in story.events]
    story.faults += [f"event {one} is named by a step and is not in the record" for one in dict.fromkeys(wanting)]
    return story


def _place(record: Recorded) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def as_dict(event: Event) -> dict[str, Any]:
    """An event as JSON values."""
    return event.model_dump(mode="json")
