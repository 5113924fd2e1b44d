"""The shell around the hops: how an event reaches a hop, and what becomes of its answer.

What a hop decides is in its own file. Here is what keeps anything from being lost, however the process ends
(docs/decisions/0002-faust-shell.md):

- an event is done when all it led to is at the broker: first the events sent, then the table, then the commit;
- no exception leaves an agent, because Faust takes an event whose handler raised for done;
- what is interrupted is left: not committed, and read again by whoever has the partition next.
"""

import asyncio
import os
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, NoReturn

import faust
import structlog

from schemas.audit import Origin
from schemas.base import Event, ObjectRef, StudyEvent
from schemas.envelope import NotAnEvent, decode, encode
from schemas.failures import Unavailable, Unreadable
from schemas.identity import trace_id
from schemas.steps import Handled, StepTaken
from schemas.topics import DEAD_LETTERS, Topic, topic_of
from streams import metrics
from streams.answers import heard, listen
from streams.dead_letters import Obituary, with_obituary
from streams.faust_app import RAW, Outgoing, RefusedError, TooLargeError, partition_of, send
from streams.hop import StatelessHop
from streams.retry import Backoff, describe
from streams.rows import UnreadableRowError
from streams.settings import StreamSettings
from streams.watchdog import Partition
from streams.window import Interrupted, Window

log = structlog.get_logger()


class Place(NamedTuple):
    """Where an event stands: the clock's own events stand nowhere yet."""

    partition: Partition
    offset: int | None


class Agent:
    """What every hop's agent does: receive, retry, bury what cannot be handled, send. How to handle is left open."""

    window = 1
    """Events of a stream that are under way at a time."""

    def __init__(
        self,
        name: str,
        reads: Sequence[Topic],
        app: faust.App,
        settings: StreamSettings,
        rules: Mapping[str, ObjectRef],
        *,
        isolated: bool,
    ) -> None:
        self.name = name
        self._rules = rules
        self.app = app
        self.settings = settings
        self._waits: dict[Place, tuple[float, str]] = {}
        self._busy: set[Place] = set()
        self._windows: set[Window] = set()
        self.finished_at = time.monotonic()
        """When an event of any partition was last brought to its end."""
        self._seconds = metrics.SECONDS.labels(name)
        self._backoff = Backoff(settings.retry_first_s, settings.retry_cap_s)
        source = app.topic(*(topic.name for topic in reads), **RAW)
        app.agent(source, name=name, concurrency=1, isolated_partitions=isolated)(self._consume)
        app.on_partitions_assigned.connect(self._assigned)

    async def handle(self, message: Any, event: Event) -> Sequence[Event]:
        """Bring one event to its end and return what was sent. May raise anything."""
        raise NotImplementedError

    def while_waiting(self, event: Event, error: Unavailable) -> Sequence[Event]:
        """Events that make a long wait visible."""
        return ()

    @property
    def waits(self) -> dict[Partition, tuple[float, str]]:
        """Partitions with an event that waits for something that is away: since when (monotonic), and for what."""
        waits: dict[Partition, tuple[float, str]] = {}
        for place, wait in list(self._waits.items()):
            waits[place.partition] = min(wait, waits.get(place.partition, wait))
        return waits

    @property
    def busy(self) -> set[Partition]:
        """Partitions with an event that is being handled."""
        return {place.partition for place in list(self._busy)}

    async def _assigned(self, _app: Any, assigned: Collection[Any], **_: Any) -> None:
        log.info("partitions assigned", hop=self.name, partitions=len(assigned))
        for window in self._windows:
            window.start_over()

    def when_buried(self, event: Event) -> Sequence[Event]:
        """Events that say that nothing came of an event."""
        return ()

    def steady(self) -> bool:
        """Events flow: no rebalance is on, all tables are recovered, and nobody stops the app."""
        app = self.app
        changing = app.rebalancing or app.in_recovery or app.should_stop
        return not changing and bool(app.tables.actives_ready) and bool(app.flow_control.is_active())

    async def _consume(self, stream: Any) -> None:
        window = Window(self.window, self._receive, partial(self.die, "cannot go on"))
        self._windows.add(window)
        try:
            async for event in stream.events():
                await window.take_up(event)
        finally:
            window.close()
            self._windows.discard(window)

    def die(self, why: str, error: BaseException) -> NoReturn:
        """End the process at once, before anything more can be committed."""
        log.error(why, hop=self.name, error=type(error).__name__, detail=describe(error))
        os._exit(1)

    async def _receive(self, message: Any) -> None:
        place = place_of(message)
        self._busy.add(place)
        try:
            await self._bring_to_end(message, place)
            self.finished_at = time.monotonic()
        finally:
            self._busy.discard(place)
            self._waits.pop(place, None)

    async def _bring_to_end(self, message: Any, place: Place) -> None:
        started = time.perf_counter()
        try:
            event = decode([(name, value or b"") for name, value in message.headers or ()], message.value)
            self.check(message, event)
        except NotAnEvent as error:
            await self._bury(message, error, attempts=1, first_failure=datetime.now(UTC))
            return
        sent = await self._persist(message, event, place)
        if sent is None:
            return
        seconds = time.perf_counter() - started
        self._seconds.observe(seconds)
        metrics.EVENTS.labels(self.name, event.TYPE).inc()
        log.info(
            "event handled",
            hop=self.name,
            type=event.TYPE,
            study_key=event.key,
            trace_id=trace_id(event.key),
            sent=[out.TYPE for out in sent],
            seconds=round(seconds, 4),
        )

    def taken(
        self, message: Any, event: Event, sent: Sequence[Event], handled: Handled = Handled.DECIDED, **row: Any
    ) -> tuple[StepTaken, ...]:
        """What is said of a step, for the record; nothing where the event is about no study."""
        if not isinstance(event, StudyEvent):
            return ()
        step = StepTaken(
            time=event.time,
            site=event.site,
            study_uid=event.study_uid,
            hop=self.name,
            alert_id=getattr(event, "alert_id", None),
            origin=Origin(topic=message.topic, partition=message.partition, offset=message.offset),
            event=event.event_id,
            handled=handled,
            sent=tuple(one.event_id for one in sent),
            rules=self._rules.get(event.site),
            answers=heard(),
            **row,
        )
        return (step,)

    def row(self, message: Any) -> dict[str, Any]:
        """Of the row of a message, what is said where a step leaves it as it is."""
        return {}

    def check(self, message: Any, event: Event) -> None:
        """Raise :class:`NotAnEvent` for an event this hop must not take."""

    async def _persist(self, message: Any, event: Event, place: Place) -> Sequence[Event] | None:
        """Try until the event is handled; the events sent, or None where it became a dead letter."""
        began, first_failure = time.monotonic(), None
        reported = False
        attempts = 0
        for pause in self._backoff:
            listen()
            try:
                return await self.handle(message, event)
            except (Interrupted, UnreadableRowError, MemoryError):
                raise
            except Unavailable as error:
                metrics.RETRIES.labels(self.name, type(error).__name__).inc()
                log.warning(
                    "port away",
                    hop=self.name,
                    study_key=event.key,
                    trace_id=trace_id(event.key),
                    detail=describe(error),
                )
                self._waits[place] = (began, describe(error))
                if not reported and time.monotonic() - began >= self.settings.report_waiting_after_s:
                    said = self.while_waiting(event, error)
                    taken = self.taken(message, event, said, Handled.WAITING, **self.row(message)) if said else ()
                    await self.send([*said, *taken], place)
                    reported = True
            except Exception as error:  # noqa: BLE001 - the agent's edge: one event must not stop the others
                attempts += 1
                first_failure = first_failure or datetime.now(UTC)
                if attempts >= self.settings.attempts or isinstance(error, Unreadable | TooLargeError):
                    said = await self._tell_buried(event, place)
                    await self._bury(message, error, attempts, first_failure, event)
                    await self.send(self.taken(message, event, said, Handled.BURIED, **self.row(message)), place)
                    return None
                metrics.RETRIES.labels(self.name, type(error).__name__).inc()
            await self._pause(pause)
        raise AssertionError("a backoff does not end")

    async def _tell_buried(self, event: Event, place: Place) -> Sequence[Event]:
        """Say that nothing came of an event, where that can be said: its letter must be written in any case."""
        try:
            said = self.when_buried(event)
            await self.send(said, place)
        except (Interrupted, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - what is wrong with the event may be wrong with this too
            log.error(
                "nothing can be said of an event",
                hop=self.name,
                study_key=event.key,
                trace_id=trace_id(event.key),
                error=type(error).__name__,
                detail=describe(error),
            )
            return ()
        return said

    async def send(self, events: Sequence[Event], place: Place) -> None:
        """Send events and return when the broker has them."""
        await self.deliver([outgoing(event) for event in events], place)
        for event in events:
            metrics.count(event)

    async def deliver(self, records: Sequence[Outgoing], place: Place) -> None:
        """Send records, for as long as it takes. Raises :class:`TooLargeError`, :class:`Interrupted`."""
        began = time.monotonic()
        for pause in self._backoff if records else ():
            try:
                await send(self.app, records)
            except RefusedError as error:
                log.warning("broker refused", hop=self.name, detail=str(error))
                self._waits[place] = (began, str(error))
                await self._pause(pause)
            else:
                break

    async def _bury(
        self, message: Any, error: Exception, attempts: int, first_failure: datetime, event: Event | None = None
    ) -> None:
        """Send a message to the dead letters as it came.

        Kafka allows a record with neither key nor value, aiokafka does not send one: its value becomes empty.
        """
        obituary = Obituary(
            error=type(error).__name__,
            message=describe(error),
            hop=self.name,
            attempts=attempts,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            first_failure=first_failure,
        )
        value = b"" if message.key is None and message.value is None else message.value
        letter = Outgoing(DEAD_LETTERS.name, message.key, value, with_obituary(message.headers or (), obituary))
        await self.deliver([letter], place_of(message))
        metrics.DEAD_LETTERS.labels(self.name, message.topic, obituary.error).inc()
        log.error(
            "dead letter",
            hop=self.name,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            error=obituary.error,
            detail=obituary.message,
            attempts=attempts,
            **({"study_key": event.key, "trace_id": trace_id(event.key)} if event else {}),
        )

    async def _pause(self, seconds: float) -> None:
        """Wait. Raises :class:`Interrupted` when the flow stops: Faust has emptied the queues and waits for us."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(min(0.1, seconds))
            if not self.app.flow_control.is_active():
                raise Interrupted


class StatelessAgent(Agent):
    """One event of each partition at a time."""

    def __init__(
        self, hop: StatelessHop, app: faust.App, settings: StreamSettings, rules: Mapping[str, ObjectRef]
    ) -> None:
        super().__init__(hop.name, hop.reads, app, settings, rules, isolated=True)
        self._hop = hop

    async def handle(self, message: Any, event: Event) -> Sequence[Event]:
        """Ask the hop, send its answer."""
        sent = await self._hop.handle(event)
        await self.send([*sent, *self.taken(message, event, sent)], place_of(message))
        return sent

    def while_waiting(self, event: Event, error: Unavailable) -> Sequence[Event]:
        """What the hop says while it waits."""
        return self._hop.waiting(event, error)

    def when_buried(self, event: Event) -> Sequence[Event]:
        """What the hop says of an event that it could not handle."""
        return self._hop.failed(event)


def place_of(message: Any) -> Place:
    """Where a message stands."""
    return Place(Partition(message.topic, message.partition), message.offset)


def outgoing(event: Event) -> Outgoing:
    """An event on its way. Every topic has as many partitions, so the partition of a key is worked out once."""
    message = encode(event)
    return Outgoing(topic_of(event), message.key, message.value, message.headers, partition_of(message.key))
