"""Events as spans: one trace a study, one span an event, and its cause as its parent.

Ids are derived as those in ``traceparent`` are (schemas/identity.py), also those of causes: whoever reads the events
again makes the same spans. The root, *study*, is made with the first batch of a study. A span begins with its cause.
No attribute names a patient, a study by its UID, or a person.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from gateways.traces.causes import cause
from gateways.traces.memory import Memory
from schemas.base import StudyEvent
from schemas.deliveries import ResultArchived, ResultHeld, ResultRejected, WorklistRejected, WorklistUpdated
from schemas.events import (
    AlertRaised,
    AlertWithdrawn,
    DeadlinePassed,
    Outcome,
    SeriesDecision,
    SeriesReceived,
    StudyAssembled,
    StudyTriaged,
)
from schemas.identity import derived_id, study_key, trace_id
from schemas.paging import (
    AlertAcknowledged,
    AlertClosed,
    AlertDeferred,
    AlertDelivered,
    AlertDismissed,
    AlertEscalated,
    AlertHandedOn,
    AlertPaged,
    AlertRefused,
    AlertSeen,
    AlertUndelivered,
)

Attribute = str | int | float | bool

_DONE_BY: Final[dict[type[StudyEvent], tuple[str, str]]] = {
    SeriesReceived: ("receive", "receive"),
    StudyAssembled: ("assemble", "assemble"),
    AlertRaised: ("alert", "alert"),
    AlertWithdrawn: ("alert", "withdrawn"),
    AlertPaged: ("escalate", "page"),
    AlertDeferred: ("escalate", "deferred"),
    AlertEscalated: ("escalate", "escalate"),
    AlertClosed: ("escalate", "closed"),
    AlertRefused: ("escalate", "refused"),
    AlertDelivered: ("notify", "delivered"),
    AlertUndelivered: ("notify", "undelivered"),
    AlertSeen: ("console", "seen"),
    AlertAcknowledged: ("console", "acknowledged"),
    AlertDismissed: ("console", "dismissed"),
    AlertHandedOn: ("console", "handed on"),
    ResultArchived: ("write", "archived"),
    ResultHeld: ("write", "held"),
    ResultRejected: ("write", "rejected"),
    WorklistUpdated: ("write", "worklist updated"),
    WorklistRejected: ("write", "worklist rejected"),
}
"""Who says so, and what the span is called; those that depend on the event are below."""

_SAID: Final = (
    *("revision", "final", "unconfirmed", "outcome", "priority", "batch", "batch_end", "sending_ae", "alert_id"),
    *("attempt", "step", "why", "channel", "destination", "proof", "status"),
)
"""Fields of events that a span repeats: none of them names a patient or a person."""

_FAILED: Final = (AlertUndelivered, ResultHeld, ResultRejected, WorklistRejected)


@dataclass(frozen=True)
class Span:
    """A span of a trace (OpenTelemetry). Ids are lowercase hex: 32 digits of the trace, 16 of a span."""

    trace: str
    id: str
    parent: str | None
    hop: str
    name: str
    begin: datetime
    end: datetime
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    failed: bool = False


def spans(event: StudyEvent, memory: Memory) -> Iterator[Span]:
    """The spans of an event: its own, before it the study's where it is the first, after it those of readings."""
    key = study_key(event.site, event.study_uid)
    trace, came_from = trace_id(key), cause(event)
    root = trace[16:]
    about: dict[str, Attribute] = {"sinsok.site": event.site, "sinsok.study_key": key}
    begin = min(_begin(event, came_from, memory), event.time)
    if isinstance(event, SeriesReceived) and event.study_batch == 1:
        yield Span(trace, root, None, "receive", "study", begin, event.time, about)
    hop, name = _done_by(event, key, memory)
    failed = isinstance(event, _FAILED) or (isinstance(event, StudyTriaged) and event.outcome is Outcome.FAILED)
    parent = span_id(came_from) if came_from else root
    own = Span(
        trace, span_id(event.event_id), parent, hop, name, begin, event.time, about | dict(_attributes(event)), failed
    )
    yield own
    if isinstance(event, StudyTriaged):
        for decision in event.series:
            yield from _reading(own, event, decision, memory.time_of(event.assembled))
    memory.note(event.event_id, event.time)


def span_id(event_id: UUID) -> str:
    """Of an event, as in its ``traceparent``."""
    return event_id.hex[:16]


def _begin(event: StudyEvent, came_from: UUID | None, memory: Memory) -> datetime:
    match event:
        case SeriesReceived():
            return event.series.first_image_at
        case StudyAssembled():
            return max((series.last_image_at for series in event.series), default=event.time)
        case DeadlinePassed():
            return event.deadline
        case _:
            known = memory.time_of(came_from) if came_from else None
            return known or event.time


def _done_by(event: StudyEvent, key: str, memory: Memory) -> tuple[str, str]:
    match event:
        case DeadlinePassed():
            return event.hop, "deadline"
        case StudyTriaged():
            # The second result of a revision is the confirming one. Where it overtook the first it looks like one.
            second = not event.unconfirmed and memory.has_first_reading(key, event.revision)
            if event.unconfirmed:
                memory.note_first_reading(key, event.revision)
            hop = "confirm" if second else "infer"
            return hop, hop
        case _:
            return _DONE_BY[type(event)]


def _attributes(event: StudyEvent) -> Iterator[tuple[str, Attribute]]:
    yield "sinsok.event", event.TYPE
    for name in _SAID:
        value = getattr(event, name, None)
        if value is not None:
            yield f"sinsok.{name}", value if isinstance(value, bool | int | float) else str(value)
    if isinstance(event, SeriesReceived):
        yield "sinsok.instances", event.series.instances
        yield "sinsok.modality", event.series.modality or "?"
    if isinstance(event, StudyAssembled):
        yield "sinsok.reason", str(event.reason)


def _reading(result: Span, event: StudyTriaged, decision: SeriesDecision, asked_at: datetime | None) -> Iterator[Span]:
    """What a model did for a result, step by step; nothing where it had answered before it was asked."""
    reading = decision.reading
    if reading is None or not reading.seconds or (asked_at is not None and reading.completed_at < asked_at):
        return
    begin = reading.completed_at - timedelta(seconds=sum(reading.seconds.values()))
    spoke = reading.provenance
    about: dict[str, Attribute] = {
        **{name: result.attributes[name] for name in ("sinsok.site", "sinsok.study_key")},
        "sinsok.model": f"{spoke.model}@{spoke.version}",
        "sinsok.device": spoke.device,
    }

    def part(parent: str, name: str, *path: str, begin: datetime, end: datetime) -> Span:
        own = span_id(derived_id("span", event.event_id, decision.series_uid, *path))
        return Span(result.trace, own, parent, result.hop, name, begin, end, about)

    whole = part(result.id, f"read {spoke.model}", begin=begin, end=reading.completed_at)
    yield whole
    for step, seconds in reading.seconds.items():
        end = begin + timedelta(seconds=seconds)
        yield part(whole.id, step, step, begin=begin, end=end)
        begin = end
