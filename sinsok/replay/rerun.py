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
from functools import cached_property
from itertools import count
from typing import Any, Final, NamedTuple
from uuid import UUID

from schemas.base import Digest, Event, StudyEvent
from schemas.envelope import encode
from schemas.events import AlertEvent, AlertRaised, DeadlinePassed
from schemas.failures import Unavailable
from schemas.steps import Handled, StepTaken
from schemas.topics import MAX_EVENT_BYTES, MAX_ROW_BYTES, topic_of
from sinsok.replay.answers import Answers, NotRecorded
from sinsok.replay.story import Row, Story, Taken
from streams.hop import StatefulHop, StatelessHop, StudyState

Hops = Mapping[str, StatelessHop | StatefulHop[Any]]
HopsFor = Callable[[StepTaken | None], Hops]
"""The hops with the rules of a step; of one that nobody took then, with those in force."""

SLACK_MS: Final = 60_000
"""So close to the end of the record a deadline may have been answered behind it."""
SKEW_MS: Final = 60_000
"""So far the clocks of two hosts may be apart: as long, in the record's time, a step waits for those before it."""
_LARGEST_ROW: Final = MAX_ROW_BYTES - 1024
"""As in streams/stateful.py: a record takes something beside its value."""


class Turn(NamedTuple):
    """An event that is to be handled by a hop; the least is next."""

    at_ms: int
    number: int
    hop: str
    event: StudyEvent
    taken: Taken | None

    @property
    def step(self) -> StepTaken | None:
        """The recorded step that is taken again; None: nobody took it then."""
        return self.taken.step if self.taken else None

    @property
    def row(self) -> Row:
        """The row it is handled on."""
        return Row(self.hop, self.event.key)

    @property
    def buried(self) -> bool:
        """Whether the event became a dead letter then."""
        return self.step is not None and self.step.handled is Handled.BURIED


@dataclass
class Rerun:
    """What came of it."""

    said: dict[UUID, list[StudyEvent]] = field(default_factory=dict)
    """What the hops sent, in order; more than one of an id where it was sent again in other words."""
    unheard: list[StudyEvent] = field(default_factory=list)
    """What people did to alerts that did not come this time."""
    unknown: list[str] = field(default_factory=list)
    """Why a hop could not decide: nobody knows what a port would have answered, or by which rules."""
    steps: int = 0


def rerun(story: Story, hops_for: HopsFor, answers: Answers, until_ms: int) -> Rerun:
    """Decide a study again, up to ``until_ms`` (milliseconds since the epoch). One that began earlier is left."""
    return Rerun() if story.earlier else _Rerun(story, hops_for, answers, until_ms).run()


class _Rerun:
    def __init__(self, story: Story, hops_for: HopsFor, answers: Answers, until_ms: int) -> None:
        self._story = story
        self._hops_for = hops_for
        self._answers = answers
        self._until_ms = until_ms
        self._result = Rerun()
        self._queue: list[Turn] = []
        self._held: list[Turn] = []
        self._numbers = count()
        self._next: dict[Row, int] = defaultdict(int)
        """Of each row, the place of the step that is taken next."""
        self._rows: dict[Row, StudyState | None] = {}
        self._known: dict[tuple[Row, Digest], StudyState] = {}
        self._astray: set[Row] = set()
        """Rows to which something happened that did not happen then: their steps name rows that are no more."""
        self._asked: set[tuple[Row, datetime]] = set()
        self._steps: dict[tuple[str, UUID], list[Taken]] = defaultdict(list)
        for taken in story.steps:
            self._steps[taken.step.hop, taken.step.event].append(taken)
        passed = (entry.event for entry in story.events.values() if isinstance(entry.event, DeadlinePassed))
        self._passed = {
            (Row(one.hop, one.key), one.deadline): one for one in passed if (one.hop, one.event_id) in self._steps
        }
        self._raised = {entry.event.key for entry in story.events.values() if isinstance(entry.event, AlertRaised)}
        self._raised_now: set[str] = set()

    def run(self) -> Rerun:
        self._answers.begin(self._story)
        for event in (*self._story.heard, *self._passed.values()):
            for hop in self._reads:
                for taken in self._steps.get((hop, event.event_id), ()):
                    self._push(taken.at_ms, hop, self._story.places.get(taken.step.origin, event), taken)
        while self._queue or self._held:
            self._go_on()
        return self._result

    @cached_property
    def _reads(self) -> dict[str, frozenset[str]]:
        """The topics that each hop reads."""
        try:
            hops = self._hops_for(None)
        except NotRecorded as error:
            self._result.unknown.append(str(error))
            return {}
        return {name: frozenset(topic.name for topic in hop.reads) for name, hop in hops.items()}

    def _go_on(self) -> None:
        """Take the next turn. One whose row has steps before it that were not taken yet waits for them."""
        held = min(self._held, default=None)
        if held is not None and (not self._queue or self._queue[0].at_ms > held.at_ms + SKEW_MS):
            # What it waits for does not come this time.
            self._held.remove(held)
            self._take(held)
            return
        turn = heapq.heappop(self._queue)
        if turn.taken is not None and turn.taken.place > self._next[turn.row]:
            self._held.append(turn)
        else:
            self._take(turn)

    def _push(self, at_ms: int, hop: str, event: StudyEvent, taken: Taken | None) -> None:
        heapq.heappush(self._queue, Turn(at_ms, next(self._numbers), hop, event, taken))

    def _hand_on(self, event: StudyEvent, now_ms: int) -> None:
        """What a hop sent, to every hop that reads its topic: when the record says so; at once where it is new."""
        topic = topic_of(event)
        for hop in (hop for hop, topics in self._reads.items() if topic in topics):
            recorded = self._steps.get((hop, event.event_id), ())
            for taken in recorded:
                self._push(max(taken.at_ms, now_ms), hop, event, taken)
            if not recorded and event.event_id not in self._story.events:
                self._push(now_ms, hop, event, None)

    def _take(self, turn: Turn) -> None:
        if turn.taken is not None:
            self._next[turn.row] = max(self._next[turn.row], turn.taken.place + 1)
            for held in [one for one in self._held if one.row == turn.row]:
                self._held.remove(held)
                heapq.heappush(self._queue, held)
        turn = turn._replace(event=self._in_the_words_of(turn))
        if self._is_of_no_alert(turn.event):
            if turn.event not in self._result.unheard:
                self._result.unheard.append(turn.event)
            return
        self._result.steps += 1
        try:
            sent = self._handle(turn)
        except NotRecorded as error:
            self._result.unknown.append(f"{turn.hop}: {error}")
            return
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

    def _handle(self, turn: Turn) -> Sequence[Event]:
        self._answers.answer_for(turn.step)
        hop = self._hops_for(turn.step)[turn.hop]
        return self._decide(hop, turn) if isinstance(hop, StatefulHop) else self._ask(hop, turn)

    def _decide(self, hop: StatefulHop[Any], turn: Turn) -> Sequence[Event]:
        row = turn.row
        if turn.step is None:
            if isinstance(turn.event, DeadlinePassed) and not self._waits_for(row, turn.event):
                return ()
            self._astray.add(row)
        try:
            step = hop.decide(turn.event, self._state(row, turn.step))
        except Exception:  # noqa: BLE001 - the agent's edge, as in streams/agents.py: it becomes a dead letter
            return ()
        # Through JSON, as it goes in the table.
        written = b"" if step.state is None else step.state.model_dump_json().encode()
        if len(written) > _LARGEST_ROW or _too_large(step.events):
            return ()
        after = None if step.state is None else hop.state.model_validate_json(written)
        self._rows[row] = after
        if turn.step is not None and turn.step.after is not None and after is not None:
            self._known[row, turn.step.after] = after
        self._watch_clock(row, after, turn)
        return step.events

    def _state(self, row: Row, step: StepTaken | None) -> StudyState | None:
        """The row on which the step was taken; what it is now where the record does not hold any more."""
        if step is None or row in self._astray:
            return self._rows.get(row)
        if step.before is None:
            return None
        return self._known.get((row, step.before), self._rows.get(row))

    def _watch_clock(self, row: Row, state: StudyState | None, turn: Turn) -> None:
        """Have time pass for a row whose deadline is none that the record answers."""
        if state is None or state.deadline is None or (turn.step is not None and turn.step.deadline == state.deadline):
            return
        at_ms, asked = _ms(state.deadline), (row, state.deadline)
        of_new_alert = state.of_alert is not None and str(state.of_alert) not in self._raised
        if asked in self._passed or asked in self._asked or of_new_alert or at_ms + SLACK_MS >= self._until_ms:
            return
        self._asked.add(asked)
        passed = DeadlinePassed(
            time=state.deadline,
            site=state.site,
            study_uid=state.study_uid,
            hop=row.hop,
            deadline=state.deadline,
            alert_id=state.of_alert,
        )
        self._push(max(at_ms, turn.at_ms), row.hop, passed, None)

    def _waits_for(self, row: Row, passed: DeadlinePassed) -> bool:
        state = self._rows.get(row)
        return state is not None and state.deadline == passed.deadline

    def _ask(self, hop: StatelessHop, turn: Turn) -> Sequence[Event]:
        if turn.step is not None and turn.step.handled is Handled.WAITING:
            away = next((one for one in reversed(turn.step.answers) if one.failure), None)
            return hop.waiting(turn.event, Unavailable(away.reason or "" if away else ""))
        try:
            sent = asyncio.run(_answer(hop, turn.event))
        except NotRecorded:
            if turn.buried:
                return hop.failed(turn.event)  # a port failed in a way that has no name
            raise
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - the agent's edge, as in streams/agents.py: it becomes a dead letter
            return hop.failed(turn.event)
        return hop.failed(turn.event) if _too_large(sent) else sent


def _too_large(events: Sequence[Event]) -> bool:
    """Whether the broker would not have taken one of them."""
    return any(len(encode(event).value) > MAX_EVENT_BYTES for event in events)


async def _answer(hop: StatelessHop, event: Event) -> Sequence[Event]:
    return await hop.handle(event)


def _ms(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp() * 1000)
