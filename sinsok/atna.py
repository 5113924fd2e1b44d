"""The audit trail to an audit record repository: each audited event that DICOM has a message for, as that message."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateways.audit.atna import message_of, xml_of
from gateways.audit.canonical import record_digest
from gateways.audit.syslog import SyslogServer
from schemas.audit import INSTALLATION
from schemas.base import Event
from schemas.envelope import NotAnEvent, decode
from schemas.failures import Unavailable, Unreadable
from schemas.topics import AUDIT_TRAIL
from schemas.trail import LINK, AuditRecord
from sinsok import auditing
from sinsok.errors import UserError
from sinsok.settings import Settings

_SOURCE: Final = "sinsok"


@dataclass
class Sent:
    """What became of the audited records of a time."""

    messages: int = 0
    others: int = 0
    """DICOM has no message for them."""
    gone: int = 0
    """What was audited does not stand on its topic any more, or stands there otherwise."""


def send_messages(
    settings: Settings, server: SyslogServer, address: str, begin: datetime | None, end: datetime | None
) -> Sent:
    """Send what was audited from ``begin`` on and before ``end``, in the order of time, and note that it was exported.

    ``address`` is how the note names the server. Raises :class:`UserError` where the server, the broker or the archive
    does not do its part; what had been sent until then is noted all the same.
    """
    sent = Sent()
    try:
        events = sorted(_events(settings, sent, begin, end), key=lambda event: event.time)
        with server:
            try:
                for event in events:
                    message = message_of(event)
                    if message is None:
                        sent.others += 1
                        continue
                    server.send(xml_of(event, message, _SOURCE), event.time)
                    sent.messages += 1
            finally:
                auditing.note_export(settings, INSTALLATION, f"syslog {address}", sent.messages)
    except (Unavailable, Unreadable) as error:
        raise UserError(f"{error}; {sent.messages} messages had been sent") from None
    return sent


def _events(settings: Settings, sent: Sent, begin: datetime | None, end: datetime | None) -> Iterator[Event]:
    audited = {}
    for record in auditing.read(settings, [AUDIT_TRAIL.name], begin):
        link = LINK.validate_json(record.value or b"")
        if isinstance(link, AuditRecord) and (begin is None or link.time >= begin) and (end is None or link.time < end):
            audited[link.where.topic, link.where.partition, link.where.offset] = link.digest
    for record in auditing.read(settings, sorted({topic for topic, _, _ in audited}), begin, end):
        digest = audited.pop((record.topic, record.partition, record.offset), None)
        if digest is None:
            continue  # not audited yet: the next export has it
        if digest != record_digest(record):
            sent.gone += 1
            continue
        try:
            yield decode(record.headers, record.value)
        except NotAnEvent:
            sent.others += 1
    sent.gone += len(audited)
