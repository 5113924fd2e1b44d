"""The shell around the hops: the only file with Faust agents.

What a hop decides is in its own file. Here is only how an event reaches it and what becomes of its answer, such that
nothing is lost however the process ends (docs/decisions/0002-faust-shell.md):

- an event is done when all it led to is at the broker: first the events sent, then the table, then the commit;
- no exception leaves an agent, because Faust takes an event whose handler raised for done;
- what is interrupted is left: not committed, and read again by whoever has the partition next.
"""

import asyncio
import os
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import faust
import structlog

from schemas.base import Event
from schemas.envelope import NotAnEvent, decode, encode
from schemas.events import DeadlinePassed
from schemas.failures import Unavailable, Unreadable
from schemas.identity import trace_id
from schemas.topics import DEAD_LETTERS, DEADLINES, Topic, changelog, topic_of
from streams import metrics
from streams.dead_letters import Obituary, with_obituary
from streams.faust_app import (
    RAW,
    Outgoing,
    RefusedError,
    TooLargeError,
    partition_of,
    send,
)
from streams.hop import StatefulHop, StatelessHop
from streams.retry import Backoff, describe
from streams.rows import Rows, UnreadableRowError
from streams.settings import StreamSettings
from streams.watchdog import Partition

log = structlog.get_logger()

RECORD_OVERHEAD_BYTES = 1024
"""What a record and its batch take beside the value: a broker refuses a batch that is larger than a segment."""


class Interrupted(Exception):
    """A rebalance or the end of the process came while an event waited. It must not be acknowledged."""


class Agent:
    """What every hop's agent does: receive, retry, bury what cannot be handled, send. How to handle is left open."""

    def __init__(
        self, name: str, reads: Sequence[Topic], app: faust.App, settings: StreamSettings, *, isolated: bool
    ) -> None:
        self.name = name
        self.app = app
        self.settings = settings
        self.waits: dict[Partition, tuple[float, str]] = {}
        """Partitions whose event waits for something that is away: since when (monotonic), and for what."""
        self.busy: set[Partition] = set()
        """Partitions whose event is being handled."""
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

    async def _assigned(self, _app: Any, assigned: Collection[Any], **_: Any) -> None:
        log.info("partitions assigned", hop=self.name, partitions=len(assigned))

    def when_buried(self, event: Event) -> Sequence[Event]:
        """Events that say that nothing came of an event."""
        return ()

    def steady(self) -> bool:
        """Events flow: no rebalance is on, all tables are recovered, and nobody stops the app."""
        app = self.app
        changing = app.rebalancing or app.in_recovery or app.should_stop
        return not changing and bool(app.tables.actives_ready) and bool(app.flow_control.is_active())

    async def _consume(self, stream: Any) -> None:
        async for raw in stream.events():
            message = raw.message
            try:
                await self._receive(message)
            except Interrupted:
                _leave(message)
            except asyncio.CancelledError:
                _leave(message)
                raise
            except BaseException as error:  # noqa: BLE001 - the agent's edge: Faust would acknowledge the event
                self.die("cannot go on", error)

    def die(self, why: str, error: BaseException) -> NoReturn:
        """End the process at once, before anything more can be committed."""
        log.error(why, hop=self.name, error=type(error).__name__, detail=describe(error))
        os._exit(1)

    async def _receive(self, message: Any) -> None:
        started = time.perf_counter()
        try:
            event = decode([(name, value or b"") for name, value in message.headers or ()], message.value)
            self.check(message, event)
        except NotAnEvent as error:
            await self._bury(message, error, attempts=1, first_failure=datetime.now(UTC))
            return
        partition = Partition(message.topic, message.partition)
        self.busy.add(partition)
        try:
            sent = await self._persist(message, event, partition)
            self.finished_at = time.monotonic()
        finally:
            self.busy.discard(partition)
            self.waits.pop(partition, None)
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

    def check(self, message: Any, event: Event) -> None:
        """Raise :class:`NotAnEvent` for an event this hop must not take."""

    async def _persist(self, message: Any, event: Event, partition: Partition) -> Sequence[Event] | None:
        """Try until the event is handled; the events sent, or None where it became a dead letter."""
        began, first_failure = time.monotonic(), None
        reported = False
        attempts = 0
        for pause in self._backoff:
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
                self.waits[partition] = (began, describe(error))
                if not reported and time.monotonic() - began >= self.settings.report_waiting_after_s:
                    await self.send(self.while_waiting(event, error), partition)
                    reported = True
            except Exception as error:  # noqa: BLE001 - the agent's edge: one event must not stop the others
                attempts += 1
                first_failure = first_failure or datetime.now(UTC)
                if attempts >= self.settings.attempts or isinstance(error, Unreadable | TooLargeError):
                    await self._tell_buried(event, partition)
                    await self._bury(message, error, attempts, first_failure, event)
                    return None
                metrics.RETRIES.labels(self.name, type(error).__name__).inc()
            await self._pause(pause)
        raise AssertionError("a backoff does not end")

    async def _tell_buried(self, event: Event, partition: Partition) -> None:
        """Say that nothing came of an event, where that can be said: its letter must be written in any case."""
        try:
            await self.send(self.when_buried(event), partition)
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

    async def send(self, events: Sequence[Event], partition: Partition) -> None:
        """Send events and return when the broker has them."""
        await self._deliver([_outgoing(event) for event in events], partition)
        for event in events:
            metrics.count(event)

    async def _deliver(self, records: Sequence[Outgoing], partition: Partition) -> None:
        """Send records, for as long as it takes. Raises :class:`TooLargeError`, :class:`Interrupted`."""
        began = time.monotonic()
        for pause in self._backoff if records else ():
            try:
                await send(self.app, records)
            except RefusedError as error:
                log.warning("broker refused", hop=self.name, detail=str(error))
                self.waits[partition] = (began, str(error))
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
        await self._deliver([letter], Partition(message.topic, message.partition))
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

    def __init__(self, hop: StatelessHop, app: faust.App, settings: StreamSettings) -> None:
        super().__init__(hop.name, hop.reads, app, settings, isolated=True)
        self._hop = hop

    async def handle(self, message: Any, event: Event) -> Sequence[Event]:
        """Ask the hop, send its answer."""
        sent = await self._hop.handle(event)
        await self.send(sent, Partition(message.topic, message.partition))
        return sent

    def while_waiting(self, event: Event, error: Unavailable) -> Sequence[Event]:
        """What the hop says while it waits."""
        return self._hop.waiting(event, error)

    def when_buried(self, event: Event) -> Sequence[Event]:
        """What the hop says of an event that it could not handle."""
        return self._hop.failed(event)


class StatefulAgent(Agent):
    """One event at a time, with a row of state for each study, and a clock that turns deadlines into events."""

    def __init__(self, hop: StatefulHop[Any], app: faust.App, settings: StreamSettings) -> None:
        super().__init__(hop.name, hop.reads, app, settings, isolated=False)
        self._hop = hop
        self._table = app.Table(hop.table, partitions=DEADLINES.partitions, key_type=bytes, value_type=bytes)
        self._table.on_lost = lambda error: self.die("a change of state was not taken by the broker", error)
        self._rows = Rows(self._table, hop.state)
        settings_of_topic = changelog(app.conf.id, hop.table).settings
        limit = min(int(settings_of_topic["max.message.bytes"]), int(settings_of_topic["segment.bytes"]))
        self._row_limit = limit - RECORD_OVERHEAD_BYTES
        self._reminded: dict[bytes, tuple[datetime, float]] = {}
        self._table.on_recover(self._recovered)
        app.timer(settings.clock_s, name=f"{hop.name}-clock")(self._clock)

    def check(self, message: Any, event: Event) -> None:
        """A study's state is in the partition of its key, and nowhere else."""
        key = event.key.encode()
        if message.key != key:
            raise NotAnEvent("the record's key is not the event's")
        if message.partition != partition_of(key):
            raise NotAnEvent(f"the key belongs on partition {partition_of(key)}: produce with the murmur2 partitioner")

    async def handle(self, message: Any, event: Event) -> Sequence[Event]:
        """Decide, send, then write the row: a crash between the last two sends the same events again."""
        if isinstance(event, DeadlinePassed) and event.hop != self.name:
            return ()
        key = message.key
        step = self._hop.decide(event, self._rows.get(key))
        row = b"" if step.state is None else self._rows.dump(step.state)
        if len(row) > self._row_limit:
            raise TooLargeError("the state of the study is larger than its topic allows")
        await self.send(step.events, Partition(message.topic, message.partition))
        if step.state is None:
            self._rows.forget(key)
        else:
            self._rows.put(key, row, step.state)
        return step.events

    async def _recovered(self) -> None:
        try:
            self._rows.index()
        except UnreadableRowError as error:
            self.die("the state was written by another version; run that version, or empty the state and replay", error)

    async def _assigned(self, _app: Any, assigned: Collection[Any], **_: Any) -> None:
        """Forget the rows of other partitions: Faust keeps them, and another worker may have changed them since."""
        await super()._assigned(_app, assigned)
        own = self._own_partitions()
        for key in [key for key in self._table if partition_of(key) not in own]:
            self._table.data.pop(key, None)

    def _own_partitions(self) -> set[int]:
        return {
            tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == self._table.changelog_topic_name
        }

    async def _clock(self) -> None:
        """Send DeadlinePassed for rows whose deadline is over. Timers run in rebalances too, hence the guards."""
        if not self.steady():
            return
        generation, own, now = self.app.consumer_generation_id, self._own_partitions(), datetime.now(UTC)
        due = {}
        for key, state in self._rows.due(now):
            assert state.deadline is not None
            if partition_of(key) in own:
                due[key] = state
        metrics.ROWS.labels(self.name).set(len(self._rows))
        oldest = min((state.deadline for state in due.values()), default=now)
        metrics.OVERDUE.labels(self.name).set((now - oldest).total_seconds())
        opened = self._rows.oldest_open() or now
        metrics.OLDEST_OPEN.labels(self.name).set((now - opened).total_seconds())
        self._reminded = {key: seen for key, seen in self._reminded.items() if key in due}
        for key, state in due.items():
            seen, at = self._reminded.get(key, (None, 0.0))
            if seen == state.deadline and time.monotonic() - at < self.settings.remind_s:
                continue
            if generation != self.app.consumer_generation_id or not self.steady():
                return
            event = DeadlinePassed(
                site=state.site, study_uid=state.study_uid, hop=self.name, deadline=state.deadline, time=now
            )
            place = Partition(DEADLINES.name, partition_of(key))
            try:
                await self._deliver([_outgoing(event)], place)
            except Interrupted:
                return
            finally:
                self.waits.pop(place, None)
            self._reminded[key] = (state.deadline, time.monotonic())


def _leave(message: Any) -> None:
    """Keep Faust from committing a message: it acknowledges only what nobody has yet. It will be read again."""
    message.acked = True


def _outgoing(event: Event) -> Outgoing:
    """An event on its way. Every topic has as many partitions, so the partition of a key is worked out once."""
    message = encode(event)
    return Outgoing(topic_of(event), message.key, message.value, message.headers, partition_of(message.key))
