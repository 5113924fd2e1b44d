"""What the tracer remembers from event to event: when causes happened, which its effects do not repeat."""

from collections import OrderedDict
from datetime import datetime
from typing import Final
from uuid import UUID

_KEPT: Final = 50_000
"""So many events at the most; the oldest are forgotten. What began longer ago has a span without a length."""


class Memory:
    """Of the newest events, while the process runs."""

    def __init__(self) -> None:
        self._times: OrderedDict[UUID, datetime] = OrderedDict()
        self._first_read: OrderedDict[tuple[str, int], None] = OrderedDict()

    def note(self, event_id: UUID, at: datetime) -> None:
        """An event happened."""
        self._times[event_id] = at
        if len(self._times) > _KEPT:
            self._times.popitem(last=False)

    def time_of(self, event_id: UUID) -> datetime | None:
        """When an event happened; None where it is not known, or no more."""
        return self._times.get(event_id)

    def note_first_reading(self, key: str, revision: int) -> None:
        """A revision of a study has an unconfirmed result."""
        self._first_read[key, revision] = None
        if len(self._first_read) > _KEPT:
            self._first_read.popitem(last=False)

    def has_first_reading(self, key: str, revision: int) -> bool:
        """Whether it has one."""
        return (key, revision) in self._first_read
