"""Which letters there are, and what became of each: from ``dead.letters`` and ``audit.acts``, in whatever order read.

Nothing else holds a letter's state: whoever reads the two topics knows it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from heapq import heappop, heappush
from threading import RLock
from typing import Final, Self

from gateways.kafka import Record
from gateways.letters.letter import Cause, Letter, Place
from schemas.audit import LetterDiscarded, LetterRequeued, Origin
from schemas.base import Event
from schemas.envelope import NotAnEvent, decode
from schemas.topics import AUDIT_ACTS, DEAD_LETTERS

Act = LetterRequeued | LetterDiscarded
_TYPES: Final = frozenset({LetterRequeued.TYPE.encode(), LetterDiscarded.TYPE.encode()})
_ACTS_A_LETTER: Final = 20
"""A box that keeps the newest letters keeps so many acts for each: topics are read side by side, acts come early."""


class State(StrEnum):
    """What became of a letter."""

    OPEN = "open"
    REQUEUED = "requeued"
    DISCARDED = "discarded"


@dataclass(frozen=True)
class Case:
    """A letter, and what was done to it, in order."""

    letter: Letter
    acts: tuple[Act, ...] = ()

    @property
    def state(self) -> State:
        """The last act decides."""
        if not self.acts:
            return State.OPEN
        return State.DISCARDED if isinstance(self.acts[-1], LetterDiscarded) else State.REQUEUED

    @property
    def requeued(self) -> int:
        """How often its message was requeued: before it became this letter, and since."""
        since = [act.attempt for act in self.acts if isinstance(act, LetterRequeued)]
        return max(self.letter.requeued, *since) if since else self.letter.requeued


@dataclass(frozen=True)
class Group:
    """Letters of one cause, oldest first; never empty."""

    cause: Cause
    cases: tuple[Case, ...]

    @property
    def first(self) -> datetime:
        """When the oldest was written."""
        return self.cases[0].letter.at

    @property
    def last(self) -> datetime:
        """When the newest was written."""
        return self.cases[-1].letter.at


class Box:
    """Letters as they are read. ``newest``: so many are kept; all where it is None. Safe between threads."""

    def __init__(self, newest: int | None = None) -> None:
        self._newest = newest
        self._lock = RLock()
        self._letters: dict[Place, Letter] = {}
        self._by_age: list[tuple[datetime, Place]] = []
        self._of_record: dict[Origin, set[Place]] = {}
        self._acts: dict[Place, dict[object, Act]] = {}
        self.left_out = 0
        """So many older letters were read and not kept."""

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """All that records of ``dead.letters`` and ``audit.acts`` tell."""
        box = cls()
        for record in records:
            box.read(record)
        return box

    def read(self, record: Record) -> None:
        """Take in a record of either topic; others, and what is no event, are passed over."""
        if record.topic == DEAD_LETTERS.name:
            self._take(Letter.of(record))
        elif record.topic == AUDIT_ACTS.name and dict(record.headers).get("ce_type") in _TYPES:  # most acts are looks
            try:
                self.note(decode(record.headers, record.value))
            except NotAnEvent:  # of a later version; who reads that topic says so
                return

    def note(self, event: Event) -> None:
        """Take in what was done to a letter; a second time it says nothing new."""
        if not isinstance(event, LetterRequeued | LetterDiscarded):
            return
        place = Place(event.letter.partition, event.letter.offset)
        with self._lock:
            self._acts.setdefault(place, {})[event.event_id] = event
            if self._newest is not None and len(self._acts) > self._newest * _ACTS_A_LETTER:
                del self._acts[next(iter(self._acts))]

    def case(self, place: Place) -> Case | None:
        """A letter, and what became of it."""
        with self._lock:
            letter = self._letters.get(place)
            return self._case(letter) if letter else None

    def cases(self, *states: State) -> list[Case]:
        """Letters in one of these states, oldest first."""
        with self._lock:
            found = [self._case(letter) for letter in self._letters.values()]
        return sorted(
            (case for case in found if case.state in states), key=lambda case: (case.letter.at, case.letter.place)
        )

    def twins(self, case: Case) -> list[Case]:
        """Other open letters of the same record: each hop that reads it and fails writes one."""
        origin, place = case.letter.origin, case.letter.place
        if origin is None:
            return []
        with self._lock:
            found = [self._case(self._letters[one]) for one in sorted(self._of_record[origin]) if one != place]
        return [one for one in found if one.state is State.OPEN]

    def history(self, letter: Letter) -> Iterator[Case]:
        """The letters that this one was before, newest first, as far as they are here."""
        seen = {letter.place}
        place = letter.earlier
        while place is not None and place not in seen:  # the header may say anything
            seen.add(place)
            case = self.case(place)
            if case is None:
                return
            yield case
            place = case.letter.earlier

    def _case(self, letter: Letter) -> Case:
        acts = self._acts.get(letter.place, {}).values()
        return Case(letter, tuple(sorted(acts, key=lambda act: act.time)))

    def _take(self, letter: Letter) -> None:
        with self._lock:
            if letter.place in self._letters:
                return
            self._letters[letter.place] = letter
            if letter.origin is not None:
                self._of_record.setdefault(letter.origin, set()).add(letter.place)
            heappush(self._by_age, (letter.at, letter.place))
            if self._newest is not None and len(self._letters) > self._newest:
                self._leave_out(heappop(self._by_age)[1])

    def _leave_out(self, place: Place) -> None:
        letter = self._letters.pop(place)
        if letter.origin is not None:
            self._of_record[letter.origin].discard(place)
            if not self._of_record[letter.origin]:
                del self._of_record[letter.origin]
        self._acts.pop(place, None)
        self.left_out += 1


def grouped(cases: Iterable[Case]) -> list[Group]:
    """By cause, the one with the newest letter first."""
    by_cause: dict[Cause, list[Case]] = {}
    for case in cases:
        by_cause.setdefault(case.letter.cause, []).append(case)
    groups = [Group(cause, tuple(found)) for cause, found in by_cause.items()]
    return sorted(groups, key=lambda group: group.last, reverse=True)
