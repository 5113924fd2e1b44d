"""The audit trail to an audit record repository: each audited event that DICOM has a message for, as that message."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from pydantic import ValidationError

from gateways.audit.atna import message_of, xml_of
from gateways.audit.canonical import record_digest
from gateways.audit.syslog import SyslogServer
from schemas.audit import INSTALLATION
from schemas.base import Event
from schemas.envelope import NotAnEvent, decode
from schemas.failures import Unavailable, Unreadable
from schemas.topics import AUDIT_TRAIL
from schemas.trail import LINK, MISSING, AuditRecord
from sinsok import auditing
from sinsok.history import read_history
from sinsok.settings import Settings

_SOURCE: Final = "sinsok"
_AT_ONCE: Final = 20_000
"""So many audit records and events are in memory."""


@dataclass
class Sent:
    """What became of the audited records of a time."""

    messages: int = 0
    others: int = 0
    """DICOM has no message for them."""
    gone: int = 0
    """What was audited does not stand on its topic any more, or stands there otherwise."""
    foreign: int = 0
    """What stands on the trail and is no record of a chain."""


def send_messages(
    settings: Settings, server: SyslogServer, address: str, begin: datetime | None, end: datetime | None
) -> Sent:
    """Send what was audited from ``begin`` on and before ``end``, as the trail has it, and note that it was exported.

    ``address`` is how the note names the server. Raises :class:`Unavailable` and :class:`Unreadable` where the server,
    the broker or the archive does not do its part; what had been sent until then is noted all the same.
    """
    sent = Sent()
    try:
        with server:
            try:
                for event in _events(settings, sent, begin, end):
                    message = message_of(event)
                    if message is None:
                        sent.others += 1
                        continue
                    server.send(xml_of(event, message, _SOURCE), event.time)
                    sent.messages += 1
            finally:
                auditing.note_export(settings, INSTALLATION, f"syslog {address}", sent.messages)
    except (Unavailable, Unreadable) as error:
        raise type(error)(f"{error}; {sent.messages} messages had been sent") from None
    return sent


def _events(settings: Settings, sent: Sent, begin: datetime | None, end: datetime | None) -> Iterator[Event]:
    audited = _audited(settings, sent, begin, end)
    while some := list(islice(audited, _AT_ONCE)):
        yield from sorted(_stood(settings, sent, some), key=lambda event: event.time)


def _audited(settings: Settings, sent: Sent, begin: datetime | None, end: datetime | None) -> Iterator[AuditRecord]:
    for record in read_history(settings, [AUDIT_TRAIL.name], begin):
        try:
            link = LINK.validate_json(record.value or b"")
        except ValidationError:
            sent.foreign += 1
            continue
        if not isinstance(link, AuditRecord) or (begin and link.time < begin) or (end and link.time >= end):
            continue
        if link.type == MISSING:
            sent.others += 1
        else:
            yield link


def _stood(settings: Settings, sent: Sent, some: Collection[AuditRecord]) -> Iterator[Event]:
    """The events that audit records are about, where they stand as they did."""
    audited = {(one.where.topic, one.where.partition, one.where.offset): one.digest for one in some}
    since, until = auditing.around(some)
    for record in read_history(settings, sorted({topic for topic, _, _ in audited}), since, until):
        digest = audited.pop((record.topic, record.partition, record.offset), None)
        if digest is None:
            continue  # another's turn
        if digest != record_digest(record):
            sent.gone += 1
            continue
        try:
            yield decode(record.headers, record.value)
        except NotAnEvent:
            sent.others += 1
    sent.gone += len(audited)
