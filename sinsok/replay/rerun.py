"""Deciding a study again: its events pass the very hops of the pipeline, in the order in which they passed then.

What came from outside (images, acts of people, what far sides said) comes as it came. What a hop sends goes on to the
next hop. Where the record has the step, it is taken when it was taken then, on the row that it names: so what was
repeated after a crash is repeated. Where a hop now says something else than then, what follows has no record: it is
handled at once, and time passes for its row when the row's deadline is over.

Of an alert that did not come then nobody knows what people would have done: it is raised and paged, and its clock
stands.
"""

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final, NamedTuple
from uuid import UUID

from schemas.base import Event, StudyEvent
from schemas.events import AlertEvent, AlertRaised, DeadlinePassed
from schemas.failures import Unavailable
from schemas.steps import Handled, StepTaken
from schemas.topics import topic_of
from sinsok.replay.answers import Answers, NotRecorded
from sinsok.replay.story import Story, Taken
from streams.hop import StatefulHop, StatelessHop, StudyState

Hops = Mapping[str, StatelessHop | StatefulHop[Any]]
HopsFor = Callable[[StepTaken | None], Hops]
"""The hops with the rules of a step; of one that nobody took then, with those in force."""

SLACK_MS: Final = 60_000
"""So close to the end of the record a deadline may have been answered behind it."""


class Turn(NamedTuple):
    """An event that is to be handled by a hop; the least is next."""

    at_ms: int
    order: tuple[int, ...]
    number: int
    hop: str
    event: StudyEvent
    step: StepTaken | None


@dataclass
class Rerun:
    """What came of it."""

    said: dict[UUID, list[StudyEvent]] = field(default_factory=dict)
    """What the hops sent, in order; more than one of an id where it was sent again in other words."""
    unheard: list[StudyEvent] = field(default_factory=list)
    """What people did to alerts that did not come this time."""
    unknown: list[str] = field(default_factory=list)
    """Why a hop could not decide: nobody knows what a port would have answered."""
    steps: int = 0
    earlier: bool = False
    """The record begins in the middle of the study: it cannot be decided again."""


def rerun(story: Story, hops_for: HopsFor, answers: Answers, until_ms: int) -> Rerun:
    """Decide a study again, up to ``until_ms`` (milliseconds since the epoch)."""
    return _Rerun(story, hops_for, answers, until_ms).run()


class _Rerun:
    def __init__(self, story: Story, hops_for: HopsFor, answers: Answers, until_ms: int) -> None:
        self._story = story
        self._hops_for = hops_for
        self._answers = answers
        self._until_ms = until_ms
        self._result = Rerun()
        self._queue: list[Turn] = []
        self._numbers = count()
        self._rows: dict[tuple[str, str], StudyState | None] = {}
        self._known: dict[tuple[str, str, str], StudyState] = {}
        self._astray: set[tuple[str, str]] = set()
        self._asked: set[tuple[str, str, datetime]] = set()
        self._steps: dict[tuple[str, UUID], list[Taken]] = defaultdict(list)
        for taken in story.steps:
            self._steps[taken.step.hop, taken.step.event].append(taken)
        passed = (entry.event for entry in story.events.values() if isinstance(entry.event, DeadlinePassed))
        self._passed = {(one.hop, one.key, one.deadline): one for one in passed if self._steps[one.hop, one.event_id]}
        self._raised = {entry.event.key for entry in story.events.values() if isinstance(entry.event, AlertRaised)}

        self._raised_now: set[str] = set()
        first = {(taken.step.hop, taken.step.key): taken.step for taken in reversed(story.steps)}
        self._result.earlier = any(step.before is not None for step in first.values())

    def run(self) -> Rerun:
        if self._result.earlier:
            return self._result
        self._answers.begin(self._story)
        for event in (*self._story.heard, *self._passed.values()):
            for hop in self._hops_for(None):
                for taken in self._steps.get((hop, event.event_id), ()):
                    stood = self._story.places.get(taken.step.origin, event)
                    self._push(taken.at_ms, taken.order, hop, stood, taken.step)
        while self._queue:
            self._take(heapq.heappop(self._queue))
        return self._result

    def _hand_on(self, event: StudyEvent, now_ms: int) -> None:
        """What a hop sent, to every hop that reads its topic: when the record says so; at once where it is new."""
        topic = topic_of(event)
        for name, hop in self._hops_for(None).items():
            if topic not in {read.name for read in hop.reads}:
                continue
            recorded = self._steps.get((name, event.event_id), ())
            for taken in recorded:
                self._push(max(taken.at_ms, now_ms), taken.order, name, event, taken.step)
            if not recorded and event.event_id not in self._story.events:
                self._push(now_ms, (), name, event, None)

    def _push(self, at_ms: int, order: tuple[int, ...], hop: str, event: StudyEvent, step: StepTaken | None) -> None:
        heapq.heappush(self._queue, Turn(at_ms, order, next(self._numbers), hop, event, step))

    def _take(self, turn: Turn) -> None:
        if self._is_of_no_alert(turn.event):
            if turn.event not in self._result.unheard:
                self._result.unheard.append(turn.event)
            return
        turn = turn._replace(event=self._in_the_words_of(turn))
        self._result.steps += 1
        self._answers.answer_for(turn.step)
        hop = self._hops_for(turn.step)[turn.hop]
        sent = self._decide(hop, turn) if isinstance(hop, StatefulHop) else self._ask(hop, turn)
        for event in sent:
            assert isinstance(event, StudyEvent), "hops speak of studies"
            words = self._result.said.setdefault(event.event_id, [])
            if event in words:
                continue
            words.append(event)
            if len(words) == 1:
                self._raised_now |= {event.key} if isinstance(event, AlertRaised) else set()
                self._hand_on(event, turn.at_ms)

    def _in_the_words_of(self, turn: Turn) -> StudyEvent:
        """What was sent twice in different words is handled in those in which it was."""
        words = self._result.said.get(turn.event.event_id)
        if words is None or turn.step is None:
            return turn.event
        then = self._story.places.get(turn.step.origin)
        return next((one for one in words if one == then), turn.event)

    def _is_of_no_alert(self, event: StudyEvent) -> bool:
        """Whether a person acted on an alert that came then and did not come now."""
        return (
            isinstance(event, AlertEvent)
            and event.event_id not in self._result.said
            and event.key in self._raised - self._raised_now
        )

    def _decide(self, hop: StatefulHop[Any], turn: Turn) -> Sequence[Event]:
        place = (hop.name, turn.event.key)
        if turn.step is None:
            if isinstance(turn.event, DeadlinePassed) and not self._waits_for(place, turn.event):
                return ()
            self._astray.add(place)
        row = self._row(place, turn.step)
        try:
            step = hop.decide(turn.event, row)
        except Exception:  # noqa: BLE001 - the agent's edge, as in streams/agents.py: it becomes a dead letter
            return ()
        # Through JSON, as it goes in the table.
        after = None if step.state is None else hop.state.model_validate_json(step.state.model_dump_json())
        self._rows[place] = after
        if turn.step is not None and turn.step.after is not None and after is not None:
            self._known[(*place, turn.step.after)] = after
        self._watch_clock(place, after, turn)
        return step.events

    def _row(self, place: tuple[str, str], step: StepTaken | None) -> StudyState | None:
        """The row on which the step was taken; what it is now where the record does not hold any more."""
        if step is None or place in self._astray:
            return self._rows.get(place)
        if step.before is None:
            return None
        return self._known.get((*place, step.before), self._rows.get(place))

    def _watch_clock(self, place: tuple[str, str], row: StudyState | None, turn: Turn) -> None:
        """Have time pass for a row whose deadline is none that the record answers."""
        if row is None or row.deadline is None or (turn.step is not None and turn.step.deadline == row.deadline):
            return
        at_ms, asked = _ms(row.deadline), (*place, row.deadline)
        of_new_alert = row.of_alert is not None and str(row.of_alert) not in self._raised
        if asked in self._passed or asked in self._asked or of_new_alert or at_ms + SLACK_MS >= self._until_ms:
            return
        self._asked.add(asked)
        passed = DeadlinePassed(
            time=row.deadline,
            site=row.site,
            study_uid=row.study_uid,
            hop=place[0],
            deadline=row.deadline,
            alert_id=row.of_alert,
        )
        self._push(max(at_ms, turn.at_ms), (), place[0], passed, None)

    def _waits_for(self, place: tuple[str, str], passed: DeadlinePassed) -> bool:
        row = self._rows.get(place)
        return row is not None and row.deadline == passed.deadline

    def _ask(self, hop: StatelessHop, turn: Turn) -> Sequence[Event]:
        if turn.step is not None and turn.step.handled is Handled.WAITING:
            away = next((one for one in reversed(turn.step.answers) if one.failure), None)
            return hop.waiting(turn.event, Unavailable(away.reason or "" if away else ""))
        try:
            return asyncio.run(_answer(hop, turn.event))
        except NotRecorded as error:
            if turn.step is not None and turn.step.handled is Handled.BURIED:
                return hop.failed(turn.event)  # it failed in a way that has no name
            self._result.unknown.append(f"{hop.name}: {error}")
            return ()
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - the agent's edge, as in streams/agents.py: it becomes a dead letter
            return hop.failed(turn.event)


async def _answer(hop: StatelessHop, event: Event) -> Sequence[Event]:
    return await hop.handle(event)


def _ms(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp() * 1000)
