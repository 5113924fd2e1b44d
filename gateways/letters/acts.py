"""What people do with letters: send them back to where they came from, or say that nothing more is to be done.

An act is an event on ``audit.acts``, and nothing else changes a letter's state.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from gateways.kafka import Record
from gateways.letters.box import Box, Case, State
from gateways.letters.letter import EARLIER, REQUEUED, Letter, Place, original
from schemas.audit import LetterDiscarded, LetterRequeued
from schemas.base import Event
from schemas.envelope import Headers
from schemas.paging import Name
from schemas.topics import DEADLINES, DICOM_SERIES, RESULTS, STUDIES

ATTEMPTS: Final = 3
"""So often a message is requeued, over all the letters that it becomes."""
LONGEST_REASON: Final = 500


class NotPossible(Exception):
    """It cannot be done with this letter; the text is one line that says why and what to do."""


class NoSuchLetter(NotPossible):
    """There is none at this place."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"there is no letter {place}: `sinsok dead-letters list --all` shows those there are")


class NoOrigin(NotPossible):
    """It does not say where it came from."""


class TopicGone(NotPossible):
    """The broker does not have the topic that it came from."""


class LimitReached(NotPossible):
    """Its message was requeued often enough."""


class NotOpen(NotPossible):
    """It was requeued or discarded before."""


class NoReason(NotPossible):
    """Why it is to be discarded was not said, or at too great length."""


class Outbound(Protocol):
    """Where letters go back to (gateways/letters/post.py)."""

    def has(self, topic: str) -> bool:
        """Whether there is such a topic."""

    def send(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Return once the broker has it."""


_HANDLED: Final = frozenset(topic.name for topic in (DICOM_SERIES, DEADLINES, STUDIES, RESULTS))
"""What hops read, beside alerts: whoever writes a letter must not have an operator write anywhere else."""


@dataclass(frozen=True)
class Desk:
    """Where one person acts on letters. ``tell`` brings an event to ``audit.acts``, for good when it returns."""

    box: Box
    by: Name
    tell: Callable[[Event], None]
    now: Callable[[], datetime]
    attempts: int = ATTEMPTS

    def case(self, place: Place) -> Case:
        """A letter. Raises :class:`NoSuchLetter`."""
        case = self.box.case(place)
        if case is None:
            raise NoSuchLetter(place)
        return case

    def requeue(self, record: Record, outbound: Outbound) -> list[LetterRequeued]:
        """Send a letter, whose ``record`` this is, back to where it came from; what was recorded of that.

        Open letters that other hops wrote of the same record go with it: they read the same topic, and get it too.
        Raises :class:`NotPossible` and what ``outbound`` and ``tell`` raise.
        """
        case = self.case(Place(record.partition, record.offset))
        together = [case, *self.box.twins(case)]
        attempt = max(one.requeued for one in together) + 1
        letter, origin = case.letter, case.letter.origin
        if origin is None:
            raise NoOrigin(f"letter {letter.place} does not say where it came from: discard it")
        if attempt > self.attempts:
            raise LimitReached(
                f"letter {letter.place} was requeued {attempt - 1} times and is back: find out why; a higher --attempts"
                " lets it go once more"
            )
        if not (origin.topic in _HANDLED or origin.topic.startswith("alerts.")):
            raise TopicGone(
                f"letter {letter.place} says that it came from {origin.topic}, which no hop reads: discard it"
            )
        if not outbound.has(origin.topic):
            raise TopicGone(
                f"letter {letter.place} came from {origin.topic}, which the broker does not have: `sinsok topics"
                " --apply`, or discard it"
            )
        outbound.send(origin.topic, origin.partition, record.key, record.value, _headers(letter, attempt))
        # Only now: whoever ends between the two leaves an open letter, which is sent once more. That does no harm,
        # because the copy is the same event with the same id, and consumers drop what they have seen.
        return list(self._record_return(together, attempt, origin.topic))

    def discard(self, place: Place, reason: str) -> LetterDiscarded:
        """Say that nothing more is to be done with an open letter, and why. Raises :class:`NotPossible`."""
        said = " ".join(reason.split())
        if not 0 < len(said) <= LONGEST_REASON:
            raise NoReason(f"say in a few words why (at most {LONGEST_REASON} characters)")
        case = self.case(place)
        if case.state is not State.OPEN:
            act = case.acts[-1]
            why = f": {act.reason}" if isinstance(act, LetterDiscarded) else ""
            raise NotOpen(
                f"letter {place} was {case.state} already, by {act.by} at {act.time:%Y-%m-%d %H:%M:%S} UTC{why}"
            )
        letter = case.letter
        event = LetterDiscarded(time=self.now(), site=letter.act_site, by=self.by, letter=letter.as_origin, reason=said)
        self._record(event)
        return event

    def _record_return(self, cases: list[Case], attempt: int, to: str) -> Iterator[LetterRequeued]:
        for case in cases:
            letter = case.letter
            event = LetterRequeued(
                time=self.now(), site=letter.act_site, by=self.by, letter=letter.as_origin, attempt=attempt, to=to
            )
            self._record(event)
            yield event

    def _record(self, event: Event) -> None:
        self.tell(event)
        self.box.note(event)


def _headers(letter: Letter, attempt: int) -> Headers:
    """Those the record had, and where it has been: a letter that it becomes again carries them."""
    marks = {REQUEUED: str(attempt), EARLIER: str(letter.place)}
    return [*original(letter.headers), *((name, value.encode()) for name, value in marks.items())]
