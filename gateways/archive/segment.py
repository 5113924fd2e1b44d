"""A segment: a closed run of records of one partition, as a Parquet file.

Its name says what it holds, so that a folder's listing is its table of contents, and ends with its bytes' sha256::

    00000000000000000100-00000000000000000149-50-1767225600000-1767225660000.<sha256>.parquet

These are the first offset of the run and the last, the number of records, the earliest time of a record and the latest,
in milliseconds since the epoch. A run begins where the one before it ended, and a record need not stand at its first
offset: transactions and compaction leave offsets without records.
"""

import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from gateways.kafka import Record
from schemas.base import ObjectRef
from schemas.failures import Unavailable, Unreadable

VERSION: Final = 1
"""Of the columns and of what stands beside them. A reader refuses a newer one."""

SCHEMA: Final = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field(
            "headers",
            pa.list_(
                pa.struct(
                    [pa.field("name", pa.string(), nullable=False), pa.field("value", pa.binary(), nullable=False)]
                )
            ),
            nullable=False,
        ),
        pa.field("value", pa.binary()),
    ]
)
_NAME: Final = re.compile(r"(\d{20})-(\d{20})-(\d+)-(-?\d+)-(-?\d+)\.([0-9a-f]{64})\.parquet")
_GROUP_BYTES: Final = 4 * 1024 * 1024
_GROUP_RECORDS: Final = 5_000
"""A reader holds one row group at a time."""


@dataclass(frozen=True)
class Segment:
    """A segment as its place and name describe it. ``last`` is the offset of its last record."""

    topic: str
    partition: int
    first: int
    last: int
    count: int
    earliest_ms: int
    latest_ms: int
    digest: str
    path: Path

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """The segment in this file of the archive; None where the name is not one of a segment."""
        if not (said := _NAME.fullmatch(path.name)):
            return None
        first, last, count, earliest_ms, latest_ms = map(int, said.groups()[:5])
        topic, partition = path.parent.parent.name, int(path.parent.name)
        return cls(topic, partition, first, last, count, earliest_ms, latest_ms, said[6], path)

    @property
    def next(self) -> int:
        """The offset at which the segment after it begins."""
        return self.last + 1

    @property
    def ref(self) -> ObjectRef:
        """Its claim check. Raises ``OSError`` where the file is gone."""
        return ObjectRef(uri=self.path.as_uri(), digest=f"sha256:{self.digest}", size_bytes=self.path.stat().st_size)

    def records(self) -> Iterator[Record]:
        """The records, in order, one row group in memory at a time; the file is checked as a whole before the first.

        Raises :class:`Unreadable` where the file is damaged, not what its name says, or from a newer version, and
        :class:`Unavailable` where it cannot be read now.
        """
        for record, _ in self._checked():
            yield record

    def verify(self) -> None:
        """Read all of it and hold the records against their own digest too. Raises as :meth:`records`."""
        digest, promised = hashlib.sha256(), ""
        for record, promised in self._checked():  # noqa: B007 - it is the same with each
            _feed(digest, record)
        if digest.hexdigest() != promised:
            raise Unreadable(f"{self.path}: the records are not those that were archived")

    def _checked(self) -> Iterator[tuple[Record, str]]:
        """Every record, with the digest that all of them must have."""
        try:
            with self.path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != self.digest:
                    raise Unreadable(f"{self.path}: damaged, its bytes are not those that its name promises")
            with pq.ParquetFile(self.path) as table:
                about = self._about(table)
                last, count = self.first - 1, 0
                for number in range(table.num_row_groups):
                    for record in _rows(table.read_row_group(number), self.topic, self.partition):
                        if record.offset <= last:
                            raise Unreadable(f"{self.path}: record {record.offset} stands behind {last}")
                        last, count = record.offset, count + 1
                        yield record, about["records.sha256"]
        except OSError as error:
            raise Unavailable(f"{self.path}: cannot be read: {error.strerror or error}") from error
        except (pa.ArrowException, KeyError, ValueError) as error:
            raise Unreadable(f"{self.path}: is no segment: {' '.join(str(error).split())}") from error
        if (last, count) != (self.last, self.count):
            raise Unreadable(f"{self.path}: {count} records up to {last}, not {self.count} up to {self.last}")

    def _about(self, table: pq.ParquetFile) -> dict[str, str]:
        """What the file says of itself, which is what its place and name say. Raises ``KeyError``, ``ValueError``."""
        prefix = "sinsok.archive."
        stored = {name.decode(): value.decode() for name, value in (table.schema_arrow.metadata or {}).items()}
        about = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
        if int(about["version"]) > VERSION:
            raise Unreadable(
                f"{self.path}: of archive version {about['version']}; this sinsok reads {VERSION}: update it"
            )
        if _place(self.topic, self.partition, self.first, self.last).items() <= about.items():
            return about
        held = f"{about['topic']}/{about['partition']} from {about['first']} to {about['last']}"
        raise Unreadable(f"{self.path}: is not where it belongs, it holds {held}")


def write(records: Sequence[Record], first: int) -> tuple[str, bytes]:
    """Name and bytes of the segment of a run of records of one partition that begins at ``first``."""
    digest = hashlib.sha256()
    for record in records:
        _feed(digest, record)
    place = _place(records[0].topic, records[0].partition, first, records[-1].offset)
    about = place | {"version": str(VERSION), "records": str(len(records)), "records.sha256": digest.hexdigest()}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        SCHEMA.with_metadata({f"sinsok.archive.{name}": value for name, value in about.items()}),
        compression="zstd",
        use_dictionary=["headers.list.element.name"],
        write_statistics=["offset", "timestamp_ms", "key"],
    ) as writer:
        for group in _groups(records):
            writer.write_table(_table(group), row_group_size=len(group))
    data = sink.getvalue().to_pybytes()
    times = [record.timestamp_ms for record in records]
    span = f"{first:020}-{records[-1].offset:020}-{len(records)}-{min(times)}-{max(times)}"
    return f"{span}.{hashlib.sha256(data).hexdigest()}.parquet", data


def _place(topic: str, partition: int, first: int, last: int) -> dict[str, str]:
    return {"topic": topic, "partition": str(partition), "first": str(first), "last": str(last)}


def _groups(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    begin, size_bytes = 0, 0
    for number, record in enumerate(records):
        size_bytes += len(record.key or b"") + len(record.value or b"") + sum(len(value) for _, value in record.headers)
        if size_bytes >= _GROUP_BYTES or number + 1 - begin >= _GROUP_RECORDS:
            yield records[begin : number + 1]
            begin, size_bytes = number + 1, 0
    if begin < len(records):
        yield records[begin:]


def _table(records: Sequence[Record]) -> pa.Table:
    columns = {
        "offset": [record.offset for record in records],
        "timestamp_ms": [record.timestamp_ms for record in records],
        "key": [record.key for record in records],
        "headers": [[{"name": name, "value": value} for name, value in record.headers] for record in records],
        "value": [record.value for record in records],
    }
    return pa.Table.from_pydict(columns, schema=SCHEMA)


def _rows(table: pa.Table, topic: str, partition: int) -> Iterator[Record]:
    columns = [table.column(field.name).to_pylist() for field in SCHEMA]
    for offset, timestamp_ms, key, headers, value in zip(*columns, strict=True):
        pairs = [(header["name"], header["value"]) for header in headers]
        yield Record(topic, partition, offset, timestamp_ms, key, pairs, value)


def _feed(digest: Any, record: Record) -> None:
    """A record into the digest: numbers, then each part behind its length, which is -1 where there is none."""
    digest.update(struct.pack(">qqq", record.offset, record.timestamp_ms, len(record.headers)))
    names_and_values = [part for name, value in record.headers for part in (name.encode(), value)]
    for part in (record.key, *names_and_values, record.value):
        digest.update(struct.pack(">q", -1 if part is None else len(part)) + (part or b""))
