"""What may be wrong with the trail, and where."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class FaultKind(StrEnum):
    """How what stands differs from what was written."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    SPLICED = "spliced"
    """It belongs to another chain."""
    CHECKPOINT = "checkpoint"
    """One is missing, or does not sign what it should, or nobody of ours signed it."""
    UNAUDITED = "unaudited"
    """It stands on an event topic, and should have its audit record by now."""
    HEAD = "head"
    """The note outside the broker is missing or was changed."""


@dataclass(frozen=True)
class Fault:
    """Records ``sequence`` to ``last`` of a chain are not what they were; ``at`` is where on a topic to look."""

    kind: FaultKind
    chain: str
    sequence: int
    said: str
    last: int | None = None
    at: tuple[str, int, int] | None = None
    """Topic, partition, offset."""

    @property
    def end(self) -> int:
        """The last sequence it is about."""
        return self.sequence if self.last is None else self.last

    def __str__(self) -> str:
        upto = f" to {self.last}" if self.last is not None and self.last > self.sequence else ""
        where = "" if self.at is None else f" at {self.at[0]}/{self.at[1]}/{self.at[2]}"
        return f"{self.kind}: chain {self.chain}, record {self.sequence}{upto}{where}: {self.said}"


def gathered(faults: Iterable[Fault]) -> list[Fault]:
    """In order, each record once, and what is the same of records in a row said once."""
    ordered = sorted(faults, key=lambda one: (one.chain, one.sequence))
    found: list[Fault] = []
    for one in ordered:
        before = found[-1] if found and found[-1].chain == one.chain else None
        if before is not None and before.sequence <= one.sequence <= before.end:
            continue  # the first that was found says it
        if before is not None and (before.end + 1, before.kind, before.said) == (one.sequence, one.kind, one.said):
            found[-1] = replace(before, last=one.end)
        else:
            found.append(one)
    return found
