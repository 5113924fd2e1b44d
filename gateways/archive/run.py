"""What has been read of a partition and is not in the archive yet."""

from typing import Final

from gateways.archive.settings import ArchiveSettings
from gateways.kafka import Record
from schemas.audit import INSTALLATION

MEBIBYTE: Final = 1024 * 1024
_HEADER_BYTES: Final = 150
"""What Python needs for a header beside its value."""
_PATIENCE: Final = 4


class Run:
    """Records of one partition from ``first`` on, in order. ``size_bytes`` is about what they take in memory."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.records: list[Record] = []
        self.size_bytes = 0
        self._oldest_ms: float | None = None
        self._oldest_own_ms: float | None = None

    def add(self, record: Record, now: float) -> None:
        """The next record, read at ``now`` (seconds since the epoch)."""
        self.records.append(record)
        self.size_bytes += len(record.key or b"") + len(record.value or b"")
        self.size_bytes += sum(len(value) + _HEADER_BYTES for _, value in record.headers)
        since_ms = min(record.timestamp_ms, now * 1000)  # the clock of who wrote it may be ahead
        if record.key == INSTALLATION.encode():
            self._oldest_own_ms = since_ms if self._oldest_own_ms is None else min(self._oldest_own_ms, since_ms)
        else:
            self._oldest_ms = since_ms if self._oldest_ms is None else min(self._oldest_ms, since_ms)

    def full(self, limits: ArchiveSettings) -> bool:
        """Whether it is large enough for a segment."""
        return len(self.records) >= limits.segment_records or self.size_bytes >= limits.segment_mb * MEBIBYTE

    def old(self, limits: ArchiveSettings, now: float) -> bool:
        """Whether its records have waited long enough for others.

        Each segment is an event, which is archived in its turn, and stands in the audit trail, which is archived too.
        What is about the installation itself waits four times as long, so that an installation at rest does not write
        a segment every hour about that of the hour before.
        """
        waits = ((self._oldest_ms, limits.segment_age_s), (self._oldest_own_ms, _PATIENCE * limits.segment_age_s))
        return any(since_ms is not None and now - since_ms / 1000 >= longest_s for since_ms, longest_s in waits)
