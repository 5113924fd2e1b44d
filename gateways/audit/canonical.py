"""The bytes that are hashed and signed: canonical JSON of our records, and the framing of a Kafka record."""

from struct import pack

import rfc8785
from pydantic import BaseModel

from gateways.kafka import Record
from schemas.identity import digest


def canonical(record: BaseModel, *, without: frozenset[str] = frozenset()) -> bytes:
    """Canonical JSON (RFC 8785) of a record, of all its fields but ``without``."""
    return rfc8785.dumps(record.model_dump(mode="json", exclude=set(without)))


def record_digest(record: Record) -> str:
    """What a Kafka record is known by, wherever it stands.

    sha256 over its timestamp (milliseconds, 8 bytes), key, value, number of headers (4 bytes), and each header's name
    and value; a text is its length (4 bytes) and its bytes, and nothing at all is ff ff ff ff. Integers are big-endian.
    A header without a value is one with an empty value.
    """
    framed = [pack(">q", record.timestamp_ms), _framed(record.key), _framed(record.value)]
    framed.append(pack(">I", len(record.headers)))
    for name, value in record.headers:
        framed += _framed(name.encode()), _framed(value)
    return digest(b"".join(framed))


def _framed(text: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if text is None else pack(">I", len(text)) + text
