"""What the trail says of a record on an event topic."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from gateways.audit.canonical import record_digest
from gateways.kafka import Record
from schemas.alarms import AlarmEvent
from schemas.audit import INSTALLATION, Origin
from schemas.base import Event, StudyEvent, utc
from schemas.deliveries import DeliveryEvent
from schemas.envelope import NotAnEvent, decode
from schemas.events import (
    AlertEvent,
    DeadlinePassed,
    InstanceQuarantined,
    SeriesReceived,
    StudyAssembled,
    StudyTriaged,
)
from schemas.identity import study_key
from schemas.paging import (
    AlertClosed,
    AlertDeferred,
    AlertDelivered,
    AlertEscalated,
    AlertPaged,
    AlertRefused,
    AlertUndelivered,
)
from schemas.steps import StepTaken
from schemas.topics import DEAD_LETTERS
from schemas.trail import MISSING

DEAD_LETTER: Final = "DeadLetter"
UNDECODABLE: Final = "undecodable"

Tell = Callable[[Record, Event | None], str]
"""What happened, in one line of words; the event is None where the record holds none."""

_LATEST_MS: Final = 253_402_300_799_999
"""The end of the year 9999: a client may write any timestamp."""
_PROCESSES: Final[tuple[tuple[type, str], ...]] = (
    (SeriesReceived, "dicom-gateway"),
    (InstanceQuarantined, "dicom-gateway"),
    (StudyAssembled, "assemble"),
    (StudyTriaged, "infer, confirm"),  # which of the two does not stand in the event
    (AlertPaged, "escalate"),
    (AlertDeferred, "escalate"),
    (AlertEscalated, "escalate"),
    (AlertClosed, "escalate"),
    (AlertRefused, "escalate"),
    (AlertDelivered, "notifier"),
    (AlertUndelivered, "notifier"),
    (AlertEvent, "alert"),
    (DeliveryEvent, "pacs-writer"),
    (AlarmEvent, "watcher"),
)
"""Who writes events of a class, or of those below it; the first that fits."""


class Account(NamedTuple):
    """The part of an audit record that does not hang on its place in a chain."""

    time: datetime
    type: str
    event_id: UUID | None
    study: str | None
    who: str
    what: str
    where: Origin
    digest: str | None


def account(record: Record, sites: Collection[str], tell: Tell) -> tuple[str, Account]:
    """The name of the chain that a record belongs to, and what stands there of it.

    What is no event, or is of a site that is not configured, belongs to the installation.
    """
    try:
        event: Event | None = decode(record.headers, record.value)
    except NotAnEvent:
        event = None
    if record.topic == DEAD_LETTERS.name:
        kind, who = DEAD_LETTER, _header(record, "dl_hop") or "unknown"
    elif event is None:
        kind, who = UNDECODABLE, "unknown"
    else:
        kind, who = event.TYPE, author(event)
    told = Account(
        time=utc(min(max(record.timestamp_ms, 0), _LATEST_MS) / 1000),
        type=kind,
        event_id=event.event_id if event else None,
        study=study_key(event.site, event.study_uid) if isinstance(event, StudyEvent) else None,
        who=who,
        what=" ".join(tell(record, event).split())[:500],
        where=Origin(topic=record.topic, partition=record.partition, offset=record.offset),
        digest=record_digest(record),
    )
    return (event.site if event and event.site in sites else INSTALLATION), told


def missing(begin: Origin, end: int, time: datetime) -> Account:
    """Records from an offset up to another (exclusive) that were gone when they should have been audited."""
    return Account(
        time=time,
        type=MISSING,
        event_id=None,
        study=None,
        who="auditor",
        what=f"{end - begin.offset} records, up to {end - 1}, were gone before they were audited",
        where=begin,
        digest=None,
    )


def author(event: Event) -> str:
    """The person's account where a person did it, else the process."""
    by = getattr(event, "by", None)
    if isinstance(by, str) and by:
        return by
    if isinstance(event, StepTaken | DeadlinePassed):
        return event.hop
    return next((name for kind, name in _PROCESSES if isinstance(event, kind)), "unknown")


def _header(record: Record, name: str) -> str | None:
    values = [value for header, value in record.headers if header == name]
    return values[-1].decode(errors="replace")[:64] if values else None
