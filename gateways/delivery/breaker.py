"""A circuit breaker: a destination that is away is asked ever more rarely, and by one delivery at a time."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Breaker:
    """Closed while the destination answers; open for a pause after it did not. Not for more than one thread."""

    first_s: float
    """The first pause; each further one is twice as long."""
    longest_s: float
    clock: Callable[[], float] = time.monotonic
    """Not the time of day: set back by an hour, it would make a pause of seconds one of an hour."""
    failures: int = 0
    """In a row."""
    _until: float = 0.0

    def failed(self) -> float:
        """It did not answer; how long it is left alone."""
        pause = min(self.longest_s, self.first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        self._until = self.clock() + pause
        return pause

    def answered(self) -> None:
        """It is there."""
        self.failures, self._until = 0, 0.0

    @property
    def pause_s(self) -> float:
        """How long it is still left alone; 0 where it may be asked."""
        return max(0.0, self._until - self.clock()) if self.failures else 0.0

    @property
    def closed(self) -> bool:
        """Whether it answered when it was last asked; else one delivery tries before others follow."""
        return self.failures == 0
