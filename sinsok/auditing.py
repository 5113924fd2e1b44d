"""The audit trail's parts as the settings have them: where the key and the heads are, who signed, and what to say."""

import getpass
import os
import re
from collections.abc import Iterable
from datetime import MAXYEAR, UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from gateways import kafka
from gateways.audit.head import Heads
from gateways.audit.keys import Signer, UnusableKey, Verifier, public_key, public_place, signer
from gateways.kafka import Record
from schemas.audit import AuditExported, RecordAct
from schemas.base import Event
from schemas.paging import Name
from schemas.topics import AUDIT_ACTS, AUDIT_TRAIL, DEAD_LETTERS, Topic, all_topics
from schemas.trail import AuditRecord
from sinsok.errors import UsageError, UserError
from sinsok.settings import Settings
from sinsok.wording import printable, summary
from streams.dead_letters import read_obituary

_ROUNDED: Final = timedelta(seconds=1)


def key_place(settings: Settings) -> Path:
    """Where the private key is, or belongs."""
    return settings.audit.key or settings.home / "keys" / "audit.pem"


def heads(settings: Settings) -> Heads:
    """The heads of the chains."""
    return Heads(settings.home / "audit")


def audited_topics(settings: Settings) -> tuple[Topic, ...]:
    """What the auditor reads: every event topic but its own."""
    return tuple(topic for topic in all_topics(settings.sites) if topic.name != AUDIT_TRAIL.name)


def own_signer(settings: Settings) -> Signer:
    """The key of this installation. Raises :class:`UserError` where it cannot be used."""
    try:
        return signer(key_place(settings))
    except UnusableKey as error:
        raise UserError(f"{error}; `sinsok audit init` makes one for a new installation") from None


def verifier(settings: Settings) -> Verifier:
    """Knows the public keys of this installation. Raises :class:`UserError` where one cannot be used."""
    try:
        return Verifier([public_key(place) for place in (*settings.audit.retired, public_place(key_place(settings)))])
    except UnusableKey as error:
        raise UserError(f"{error}; bring it here, or set audit.key and audit.retired") from None


def tell(record: Record, event: Event | None) -> str:
    """What a record says, in one line of words. Nothing of what could not be decoded is repeated."""
    if record.topic == DEAD_LETTERS.name:
        try:
            return printable(summary(read_obituary(record.headers)))
        except ValueError:
            return "a letter that does not say why it is dead"
    return "no event of ours" if event is None else printable(summary(event))


def note_export(settings: Settings, site: str, what: str, records: int) -> None:
    """Put an export on record. Raises :class:`schemas.failures.BrokerAway`."""
    note(settings, AuditExported(time=datetime.now(UTC), site=site, by=account(), what=what, records=records))


def note(settings: Settings, act: RecordAct) -> None:
    """Put an act on record. Raises :class:`schemas.failures.BrokerAway`."""
    kafka.publish(kafka.producer(settings.kafka.bootstrap_servers), AUDIT_ACTS.name, act)


def around(links: Iterable[AuditRecord]) -> tuple[datetime, datetime | None]:
    """A period for :func:`sinsok.history.read_history` that holds what these are about; their times are rounded."""
    times = [one.time for one in links]
    latest = max(times)
    return min(times) - _ROUNDED, None if latest.year == MAXYEAR else latest + _ROUNDED


def account(by: str | None = None) -> str:
    """Who does this: who is named, else the user of the machine, whose name is made one that an event takes.

    Raises :class:`UsageError` where the one named is none that an event takes.
    """
    if by is not None:
        try:
            name: str = TypeAdapter(Name).validate_python(by)
        except ValidationError:
            raise UsageError(
                f"{printable(by)!r} is no name that an event takes: say --by NAME, of letters, digits and . _ @ -"
            ) from None
        return name
    try:
        named = re.sub(r"[^A-Za-z0-9._@-]", "_", getpass.getuser())[:64]
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"
    return named if named[:1].isalnum() else f"uid-{os.getuid()}"
