"""A dead letter: what could not be handled, as it came, and behind its own headers why not.

Hops write them (``dl_*`` headers, schemas/asyncapi.py); whoever can write to the topic may have written anything.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

from gateways.kafka import Record
from schemas.audit import INSTALLATION, Origin
from schemas.base import StudyEvent, utc
from schemas.envelope import Headers, NotAnEvent, decode
from schemas.topics import DEAD_LETTERS

PREFIX: Final = "dl_"
REQUEUED: Final = "sinsok_requeued"
"""Header of a record that was a letter: how often it was requeued, this time included."""
EARLIER: Final = "sinsok_letter"
"""Header of a record that was a letter: which one, ``PARTITION/OFFSET``."""
_PLACE: Final = re.compile(r"(\d{1,9})/(\d{1,18})")
_UNSAID: Final = "?"


class Place(NamedTuple):
    """Where on ``dead.letters`` a letter stands: its id."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Read ``PARTITION/OFFSET``. Raises ValueError."""
        found = _PLACE.fullmatch(text)
        if found is None or not text.isascii():
            raise ValueError(f"{text!r} is no letter: it is called PARTITION/OFFSET, such as 3/12")
        return cls(int(found[1]), int(found[2]))


class Cause(NamedTuple):
    """Why letters died; those with the same cause are mended together."""

    hop: str
    error: str
    message: str
    topic: str


@dataclass(frozen=True)
class Account:
    """One account of a death. What it does not say is ``?``, or None."""

    cause: Cause
    attempts: int | None
    origin: Origin | None
    """Where the record stood."""
    first_failure: datetime | None


@dataclass(frozen=True)
class Letter:
    """A letter without its bytes: those may be 4 MiB, and there may be thousands of letters."""

    place: Place
    at: datetime
    key: bytes | None
    headers: Headers = field(repr=False)
    size_bytes: int
    accounts: tuple[Account, ...]
    """Of all its deaths that the headers tell of; the last one counts."""
    event: str | None
    """``StudyAssembled`` where the bytes are an event of ours."""
    event_site: str | None
    """The event's."""

    @classmethod
    def of(cls, record: Record) -> Self:
        """The letter that stands on ``dead.letters``, whatever it is."""
        try:
            event = decode(record.headers, record.value)
        except NotAnEvent:
            event = None
        return cls(
            place=Place(record.partition, record.offset),
            at=utc(record.timestamp_ms / 1000),
            key=record.key,
            headers=record.headers,
            size_bytes=len(record.value or b""),
            accounts=tuple(_accounts(record.headers)),
            event=type(event).__name__ if event else None,
            event_site=event.site if event else None,
        )

    @property
    def account(self) -> Account:
        """The one that counts."""
        return self.accounts[-1] if self.accounts else _NONE

    @property
    def cause(self) -> Cause:
        """Why it died last."""
        return self.account.cause

    @property
    def origin(self) -> Origin | None:
        """Where it came from; None where it does not say."""
        return self.account.origin

    @property
    def site(self) -> str | None:
        """Whose it is: what the event says, else what the headers of bytes that are none say."""
        if self.event_site is not None:
            return self.event_site
        said = self._said("ce_source")
        return said.removeprefix("/sinsok/") if said and said.startswith("/sinsok/") else None

    @property
    def act_site(self) -> str:
        """Under which site it is recorded what is done to it."""
        return self.event_site or INSTALLATION

    @property
    def earlier(self) -> Place | None:
        """The letter that was requeued and became this one."""
        try:
            return Place.of(self._said(EARLIER) or "")
        except ValueError:
            return None

    @property
    def requeued(self) -> int:
        """How often its message had been requeued before it died: what its marker says, or its accounts tell."""
        marked = _number(self._said(REQUEUED), digits=9) or 0
        return max(marked, len(self.accounts) - 1)

    @property
    def as_origin(self) -> Origin:
        """Where the letter stands, as events name it."""
        return Origin(topic=DEAD_LETTERS.name, partition=self.place.partition, offset=self.place.offset)

    def _said(self, header: str) -> str | None:
        """The last header of a name."""
        found = [value for name, value in self.headers if name == header]
        return found[-1].decode(errors="replace") if found else None


def original(headers: Headers) -> Headers:
    """The headers that the record had, without those of its death and of an earlier return."""
    return [(name, value) for name, value in headers if not name.startswith(PREFIX) and name not in (REQUEUED, EARLIER)]


def study_event(record: Record) -> StudyEvent | None:
    """The event about a study that a record carries; None where it carries anything else."""
    try:
        event = decode(record.headers, record.value)
    except NotAnEvent:
        return None
    return event if isinstance(event, StudyEvent) else None


def _accounts(headers: Headers) -> Iterator[Account]:
    """Each begins where a name comes that the one before has already."""
    told: dict[str, str] = {}
    for name, value in headers:
        if not name.startswith(PREFIX):
            continue
        if name in told:
            yield _account(told)
            told = {}
        told[name] = value.decode(errors="backslashreplace")
    if told:
        yield _account(told)


def _account(told: dict[str, str]) -> Account:
    said = {name.removeprefix(PREFIX): value for name, value in told.items()}
    cause = Cause(*(said.get(name, _UNSAID) for name in Cause._fields))
    partition, offset = _number(said.get("partition"), digits=9), _number(said.get("offset"))
    origin = None
    if "topic" in said and partition is not None and offset is not None:
        origin = Origin(topic=cause.topic, partition=partition, offset=offset)
    return Account(cause, _number(said.get("attempts")), origin, _moment(said.get("first_failure")))


def _number(said: str | None, digits: int = 18) -> int | None:
    return int(said) if said and said.isascii() and said.isdecimal() and len(said) <= digits else None


def _moment(said: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(said or "")
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None


_NONE: Final = Account(Cause(*[_UNSAID] * 4), None, None, None)
