"""What a letter carries, for people: read as far as it can be, and with nothing in it that steers what shows it."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateways.kafka import Record
from gateways.text import printable
from schemas.envelope import NotAnEvent, decode

_SHOWN_CHARACTERS: Final = 100_000
_SHOWN_BYTES: Final = 4096
_ROW: Final = 16


class Kind(StrEnum):
    """How far the bytes could be read."""

    EVENT = "event"
    JSON = "JSON"
    TEXT = "text"
    BYTES = "bytes"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Contents:
    """The bytes of a letter as lines."""

    kind: Kind
    name: str
    """``StudyAssembled`` where it is an event of ours; else empty."""
    lines: tuple[str, ...]
    cut: bool
    """Whether there is more than is shown."""


def contents(record: Record) -> Contents:
    """An event's fields, JSON, text, or a hex dump: the first of them that the bytes are."""
    value = record.value
    if not value:
        return Contents(Kind.NOTHING, "", (), cut=False)
    try:
        event = decode(record.headers, value)
    except NotAnEvent:
        pass
    else:
        return _told(Kind.EVENT, type(event).__name__, event.model_dump_json(indent=2))
    try:
        return _told(Kind.JSON, "", json.dumps(json.loads(value), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):  # json.loads tells no encoding from a wrong one, and gives up on deep nesting
        pass
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return Contents(Kind.BYTES, "", tuple(_dump(value[:_SHOWN_BYTES])), cut=len(value) > _SHOWN_BYTES)
    return _told(Kind.TEXT, "", text)


def plain(raw: bytes | None) -> str:
    """A key or a header in one line."""
    return printable((raw or b"").decode(errors="backslashreplace"))


def _told(kind: Kind, name: str, text: str) -> Contents:
    shown = text[:_SHOWN_CHARACTERS]
    return Contents(kind, name, tuple(printable(line) for line in shown.splitlines()), cut=len(text) > len(shown))


def _dump(value: bytes) -> list[str]:
    """As ``hexdump -C`` writes it."""
    rows = []
    for start in range(0, len(value), _ROW):
        row = value[start : start + _ROW]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        rows.append(f"{start:08x}  {row.hex(' '):<{3 * _ROW - 1}}  {text}")
    return rows
