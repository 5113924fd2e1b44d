"""What a hop is: its name, what it reads and writes, and a function from an event to events.

A hop's output depends on its input events and on recorded port answers alone: no wall clock, no random number. Time
comes from an event, ids are derived. That is what makes a replay an audit.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from schemas.base import Event, Record, Site, Uid, Utc
from schemas.failures import Unavailable
from schemas.topics import Topic


class StudyState(Record):
    """What a stateful hop remembers of a study, or of an alert about it; a row of its table, as JSON."""

    site: Site
    study_uid: Uid
    deadline: Utc | None = None
    """When the hop wants a DeadlinePassed for this row; None: it waits for nothing."""

    @property
    def of_alert(self) -> UUID | None:
        """The alert whose row it is; None where the row is the study's."""
        return None

    @property
    def open_since(self) -> datetime | None:
        """Since when the study waits for its end in this hop; None where it does not."""
        return None


S = TypeVar("S", bound=StudyState)


class Step(NamedTuple, Generic[S]):
    """What a stateful hop decided: the row from now on (None: forget it) and the events to send before that."""

    state: S | None
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Gateway:
    """A hop that stands outside the streams: it turns the outside world into events, or events into acts there."""

    name: str
    reads: tuple[Topic, ...]
    writes: tuple[Topic, ...]


@dataclass(frozen=True)
class StatelessHop:
    """Parallel over partitions. ``handle`` may raise :class:`Unavailable`; it is then called again, with backoff.

    ``waiting`` gives the events that make a long wait visible, once, before the hop goes on trying. ``failed`` gives
    those that say that nothing will come of an event which is about to become a dead letter.
    """

    name: str
    reads: tuple[Topic, ...]
    handle: Callable[[Event], Awaitable[Sequence[Event]]]
    waiting: Callable[[Event, Unavailable], Sequence[Event]]
    failed: Callable[[Event], Sequence[Event]]
    writes: tuple[Topic, ...]


@dataclass(frozen=True)
class StatefulHop(Generic[S]):
    """One event at a time, with a row of state for each key: study or alert. ``decide`` is a pure function."""

    name: str
    reads: tuple[Topic, ...]
    table: str
    state: type[S]
    decide: Callable[[Event, S | None], Step[S]]
    writes: tuple[Topic, ...]


Hop = Gateway | StatelessHop | StatefulHop[Any]
