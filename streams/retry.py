"""Retrying: how long to pause, and how to speak of a failure without repeating what caused it."""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.envelope import NotAnEvent
from schemas.failures import PortFailure


@dataclass(frozen=True)
class Backoff:
    """Pauses that double up to a cap. Without jitter: the partitions of a topic are already spread in time."""

    first_s: float
    cap_s: float

    def __iter__(self) -> Iterator[float]:
        """Pauses in seconds, for ever."""
        pause = self.first_s
        while True:
            yield min(pause, self.cap_s)
            pause = min(pause * 2, self.cap_s)


def describe(error: BaseException) -> str:
    """One line about a failure, safe for headers and logs.

    Our own errors promise not to quote their input. Of any other error only the place is told: its text may hold
    whatever the input held.
    """
    if isinstance(error, NotAnEvent | PortFailure):
        return " ".join(str(error).split())[:500]
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "no place known"
    return f"in {frames[-1].name}, {Path(frames[-1].filename).name} line {frames[-1].lineno}"
