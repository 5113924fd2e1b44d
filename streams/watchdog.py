"""The watchdog: a worker whose commits stand still while events wait for it is stuck, whatever it says of itself."""

from collections.abc import Collection, Mapping
from typing import NamedTuple


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int


class Position(NamedTuple):
    """How far a partition is done, and how far it reaches (both: the next offset)."""

    committed: int
    end: int

    @property
    def lag(self) -> int:
        """Events not yet done."""
        return max(self.end - self.committed, 0)


class Watchdog:
    """Remembers since when each partition has stood still.

    Pure over its inputs: the caller reads the positions from the broker and says what time it is, in seconds of a
    clock that never runs backwards.
    """

    def __init__(self, stalled_after_s: float) -> None:
        self._stalled_after_s = stalled_after_s
        self._since: dict[Partition, tuple[int, float]] = {}

    def look(
        self, now: float, positions: Mapping[Partition, Position], excused: Collection[Partition] = ()
    ) -> dict[Partition, float]:
        """The partitions that have stood still for too long with events waiting, and for how many seconds.

        ``excused`` partitions wait for something known, such as a port that is away. Nothing is held against a
        partition that was not seen the last time: it may have been elsewhere, or the broker away.
        """
        since: dict[Partition, tuple[int, float]] = {}
        for partition, position in positions.items():
            committed, mark = self._since.get(partition, (None, now))
            moved = committed != position.committed
            idle = position.lag == 0 or partition in excused
            since[partition] = (position.committed, now if moved or idle else mark)
        self._since = since
        still = {partition: now - mark for partition, (_, mark) in since.items()}
        return {partition: seconds for partition, seconds in still.items() if seconds >= self._stalled_after_s}

    def forget(self) -> None:
        """Start over: the broker was away, and nobody could have moved."""
        self._since.clear()
