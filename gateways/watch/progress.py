"""How late a consumer group is: for how long records that were there have been waiting for it."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

from gateways.watch.groups import Group, Place


class Pace(Enum):
    """What a look says of a group."""

    FINE = "fine"
    LATE = "late"
    UNKNOWN = "unknown"
    """It has not caught up with what was there at an earlier look, and its time for that is not over."""


class Progress:
    """Follows one group from look to look.

    It remembers the ends of the topics at one moment and waits until the group has passed them: records that were
    there then have waited at least since. A group that keeps a constant distance is as late each time, so it neither
    comes to be fine in between nor looks later than it is.
    """

    def __init__(self) -> None:
        self._target: Mapping[Place, int] = {}
        self._target_at: datetime | None = None
        self.done_until: datetime | None = None
        """All that was on its topics at that time is done; None where no look could tell yet."""
        self.behind_s = 0.0
        """For so long what was there has been waiting; 0 where nothing waits."""

    def look(self, group: Group, now: datetime, late_after_s: float) -> Pace:
        """Take in how the group is now."""
        begun = self._target_at or now
        reached, waits = group.has_reached(self._target), group.waiting > 0
        waited_s = (now - begun).total_seconds()
        self.behind_s = waited_s if waits else 0.0
        first = self._target_at is None
        if not waits:
            self.done_until = now
        elif reached and not first:
            self.done_until = begun
        if first or reached or not waits:
            self._target, self._target_at = group.ends, now
        if not waits:
            return Pace.FINE
        if waited_s > late_after_s:
            return Pace.LATE
        return Pace.FINE if reached and not first else Pace.UNKNOWN
