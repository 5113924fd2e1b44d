"""The envelope: CloudEvents 1.0, Kafka protocol binding, binary mode (headers ``ce_*``), plus ``traceparent``."""

from functools import cache
from typing import Final, NamedTuple

from pydantic import ValidationError

from schemas.base import Event, Record, StudyEvent
from schemas.codes import Code
from schemas.identity import study_key, trace_parent
from schemas.topics import (
    ALARMS,
    ALERT_EVENTS,
    AUDIT_ACTS,
    DEADLINES,
    DELIVERIES,
    DICOM_SERIES,
    RESULTS,
    STEPS,
    STUDIES,
)

EVENT_TYPES: Final[dict[str, type[Event]]] = {
    event.TYPE: event
    for event in (
        *DICOM_SERIES.carries,
        *DEADLINES.carries,
        *STUDIES.carries,
        *RESULTS.carries,
        *ALERT_EVENTS,
        *DELIVERIES.carries,
        *AUDIT_ACTS.carries,
        *STEPS.carries,
        *ALARMS.carries,
    )
}

Headers = list[tuple[str, bytes]]


class NotAnEvent(ValueError):
    """Bytes on a topic that are no event of ours: what is wrong, without quoting them."""


class Message(NamedTuple):
    """An event as Kafka carries it."""

    key: bytes
    headers: Headers
    value: bytes


def encode(event: Event) -> Message:
    """The Kafka message of an event."""
    key = study_key(event.site, event.study_uid) if isinstance(event, StudyEvent) else event.key
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(event.event_id),
        "ce_type": event.TYPE,
        "ce_source": f"/sinsok/{event.site}",
        "ce_subject": key,
        "ce_time": event.time.isoformat().replace("+00:00", "Z"),
        "content-type": "application/json",
        "traceparent": trace_parent(key, event.event_id),
    }
    return Message(
        event.key.encode(),
        [(name, text.encode()) for name, text in headers.items()],
        event.model_dump_json().encode(),
    )


def decode(headers: Headers, value: bytes | None) -> Event:
    """The event a Kafka message carries.

    Raises :class:`NotAnEvent` where the headers name no type known here or the value does not fit its schema. The
    message names our fields and error kinds only: the input may hold anything, as a key too, and is not repeated.
    """
    types = [raw for name, raw in headers if name == "ce_type"]
    if not types:
        raise NotAnEvent("no ce_type header")
    try:
        event_type = EVENT_TYPES[types[0].decode()]
    except (KeyError, UnicodeDecodeError):
        raise NotAnEvent("unknown ce_type") from None
    try:
        return event_type.model_validate_json(value or b"")
    except ValidationError as error:
        faults = [f"{_place(e['loc'])}: {e['type']}" for e in error.errors(include_input=False)[:5]]
        raise NotAnEvent(f"not a {event_type.TYPE}: {'; '.join(faults)}") from None


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) if isinstance(part, int) or part in _field_names() else "?" for part in loc)


@cache
def _field_names() -> frozenset[str]:
    """Every name a field has in any contract."""
    names, records = set(Code.model_fields), [Record]
    while records:
        record = records.pop()
        names |= record.model_fields.keys()
        records += record.__subclasses__()
    return frozenset(names)
