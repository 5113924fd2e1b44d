"""Dead letters as hops write them, and Kafka as far as letters go."""

from datetime import UTC, datetime
from typing import NamedTuple

from gateways.kafka import Record
from gateways.letters.letter import Place
from schemas.base import Event
from schemas.envelope import Headers, encode

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def letter(
    value: Event | bytes | None = b"noise",
    offset: int = 0,
    *,
    partition: int = 0,
    at: datetime = START,
    headers: Headers | None = None,
    **died: str,
) -> Record:
    """A record of dead.letters: an event or bytes, with an account of how it died."""
    message = encode(value) if isinstance(value, Event) else None
    told = {
        "error": "NotAnEvent",
        "message": "no ce_type header",
        "hop": "infer",
        "attempts": "3",
        "topic": "triage.studies",
        "partition": "4",
        "offset": str(17 + offset),
        "first_failure": at.isoformat(),
    } | died
    account = [(f"dl_{name}", said.encode()) for name, said in told.items()]
    return Record(
        "dead.letters",
        partition,
        offset,
        int(at.timestamp() * 1000),
        message.key if message else b"key",
        [*(headers or (message.headers if message else [])), *account],
        message.value if message else value,  # type: ignore[arg-type]
    )


class Sent(NamedTuple):
    """A record that went back."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class LetterRack:
    """Kafka, as far as letters go: holds some, and takes what is sent back. ``fails`` is raised when it is asked."""

    def __init__(self, *records: Record) -> None:
        self.records = {Place(one.partition, one.offset): one for one in records}
        self.topics = {"triage.studies"}
        self.sent: list[Sent] = []
        self.fails: Exception | None = None

    def fetch(self, place: Place) -> Record | None:
        if self.fails:
            raise self.fails
        return self.records.get(place)

    def outbound(self) -> "LetterRack":
        return self

    def has(self, topic: str) -> bool:
        if self.fails:
            raise self.fails
        return topic in self.topics

    def send(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        self.sent.append(Sent(topic, partition, key, value, headers))
