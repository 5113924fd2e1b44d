"""A circuit breaker: a destination that is away is asked ever more rarely, and by one delivery at a time."""

from dataclasses import dataclass


@dataclass
class Breaker:
    """Closed while the destination answers; open, until a time, after it did not. Not for more than one thread."""

    first_s: float
    """The first pause; each further one is twice as long."""
    longest_s: float
    failures: int = 0
    """In a row."""
    open_until: float = 0.0

    def failed(self, now: float) -> float:
        """It did not answer; until when it is left alone."""
        pause = min(self.longest_s, self.first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        self.open_until = now + pause
        return self.open_until

    def answered(self) -> None:
        """It is there."""
        self.failures, self.open_until = 0, 0.0

    @property
    def closed(self) -> bool:
        """Whether it answered when it was last asked; else one delivery tries before others follow."""
        return self.failures == 0
