"""Dead letters, counted: of a kind that comes ten thousand times in a night there is one line, not ten thousand."""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)

KINDS: Final = 200
"""More kinds than this are not told apart: of those before, the one that has been silent for the longest goes."""


class Kind(NamedTuple):
    """Letters that are counted together."""

    hop: str
    topic: str
    error: str


class Letter(NamedTuple):
    """A dead letter, without what it carried."""

    at: datetime
    site: str | None
    key: str
    hop: str
    topic: str
    error: str
    place: tuple[int, int]
    """Partition and offset."""

    @property
    def kind(self) -> Kind:
        """With which it is counted."""
        return Kind(self.hop, self.topic, self.error)


@dataclass(frozen=True)
class Tally:
    """How many letters of a kind there were, when the first and when the newest of them."""

    count: int
    first: datetime
    newest: datetime

    def and_those(self, other: "Tally") -> "Tally":
        """Of both together."""
        return Tally(self.count + other.count, min(self.first, other.first), max(self.newest, other.newest))


def count(tallies: dict[Key, Tally], key: Key, tally: Tally) -> None:
    """Count more of a kind."""
    tallies[key] = tallies[key].and_those(tally) if key in tallies else tally
    if len(tallies) > KINDS:
        del tallies[min(tallies, key=lambda one: tallies[one].newest)]
