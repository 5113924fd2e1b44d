"""The order of a site's studies, kept sorted: most urgent first, among equals the longest waiting."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from datetime import datetime
from heapq import merge
from itertools import islice

from gateways.console.study import Level

Place = tuple[int, float, str]
"""Level, waiting time, study key."""


class Worklist:
    """One site's. Not to be shared between threads."""

    def __init__(self) -> None:
        self._order: list[Place] = []
        self._places: dict[str, Place] = {}

    def put(self, key: str, level: Level, since: datetime) -> None:
        """Give a study its place, at first or anew. What is done is sorted from the newest on."""
        seconds = since.timestamp()
        place = (int(level), seconds if level <= Level.WAITING else -seconds, key)
        if self._places.get(key) != place:
            self.drop(key)
            self._places[key] = place
            insort(self._order, place)

    def drop(self, key: str) -> None:
        """Take a study off the list, if it is on it."""
        place = self._places.pop(key, None)
        if place is not None:
            del self._order[bisect_left(self._order, place)]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._order)

    def count(self, through: Level) -> int:
        """How many studies are as urgent as a level, or more."""
        return bisect_left(self._order, (through + 1, float("-inf"), ""))

    def top(self, count: int) -> list[Place]:
        """The first ones."""
        return self._order[:count]


def page(worklists: list[Worklist], through: Level, start: int, size: int) -> list[str]:
    """Keys of the studies from ``start`` on, of several sites together, down to a level."""
    # No more than these of each site can be on the page.
    tops = [one.top(min(start + size, one.count(through))) for one in worklists]
    return [key for _, _, key in islice(merge(*tops), start, start + size)]
