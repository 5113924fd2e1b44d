"""Dead letters: what could not be handled, exactly as it came, and in headers why not.

The original headers stay in front; ours follow, all beginning with ``dl_``. A letter that was replayed and died again
carries both accounts; the last one counts.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

PREFIX: Final = "dl_"

RawHeaders = Sequence[tuple[str, bytes | None]]
"""Headers as Kafka carries them; a value may be null."""


class Obituary(NamedTuple):
    """Why and where an event died."""

    error: str
    """Class of the failure."""
    message: str
    """One line that does not quote the input."""
    hop: str
    attempts: int
    topic: str
    partition: int
    offset: int
    first_failure: datetime


def with_obituary(headers: RawHeaders, obituary: Obituary) -> list[tuple[str, bytes | None]]:
    """The headers of a dead letter."""
    fields = obituary._asdict() | {"first_failure": obituary.first_failure.astimezone(UTC).isoformat()}
    return [*headers, *((PREFIX + name, str(value).encode()) for name, value in fields.items())]


def read_obituary(headers: RawHeaders) -> Obituary:
    """Why a dead letter died last. Raises ValueError where the headers are not those of a dead letter."""
    told = {name.removeprefix(PREFIX): value for name, value in headers if name.startswith(PREFIX) and value}
    missing = [name for name in Obituary._fields if name not in told]
    if missing:
        raise ValueError(f"no dead letter: header {PREFIX}{missing[0]} is missing")
    text = {name: told[name].decode() for name in Obituary._fields}
    return Obituary(
        error=text["error"],
        message=text["message"],
        hop=text["hop"],
        attempts=int(text["attempts"]),
        topic=text["topic"],
        partition=int(text["partition"]),
        offset=int(text["offset"]),
        first_failure=datetime.fromisoformat(text["first_failure"]),
    )
