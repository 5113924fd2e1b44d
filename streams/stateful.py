"""Hops that remember: a row of a table for each study or alert, and a clock that turns deadlines into events."""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import faust

from schemas.base import Event, ObjectRef
from schemas.envelope import NotAnEvent
from schemas.events import DeadlinePassed
from schemas.identity import digest
from schemas.topics import DEADLINES, changelog
from streams import metrics
from streams.agents import Agent, Place, outgoing, place_of
from streams.faust_app import TooLargeError, partition_of
from streams.hop import StatefulHop
from streams.rows import Rows, UnreadableRowError
from streams.settings import StreamSettings
from streams.watchdog import Partition
from streams.window import Interrupted

RECORD_OVERHEAD_BYTES = 1024
"""What a record and its batch take beside the value: a broker refuses a batch that is larger than a segment."""


class StatefulAgent(Agent):
    """One event of each key at a time, with a row of state, and a clock that turns deadlines into events."""

    window = 64

    def __init__(
        self, hop: StatefulHop[Any], app: faust.App, settings: StreamSettings, rules: Mapping[str, ObjectRef]
    ) -> None:
        super().__init__(hop.name, hop.reads, app, settings, rules, isolated=False)
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
        """A row is in the partition of its key, and nowhere else."""
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
        self._check_still_ours(message)
        step = self._hop.decide(event, self._rows.get(key))
        row = b"" if step.state is None else self._rows.dump(step.state)
        if len(row) > self._row_limit:
            raise TooLargeError("the row is larger than its topic allows")
        taken = self.taken(
            message,
            event,
            step.events,
            before=self._rows.digest(key),
            after=digest(row) if step.state else None,
            deadline=step.state and step.state.deadline,
        )
        await self.send([*step.events, *taken], place_of(message))
        self._check_still_ours(message)
        if step.state is None:
            self._rows.forget(key)
        else:
            self._rows.put(key, row, step.state)
        return step.events

    def row(self, message: Any) -> dict[str, Any]:
        """Its digest, before and after; an event that is buried changes nothing."""
        digest, state = self._rows.digest(message.key), self._rows.get(message.key)
        return {"before": digest, "after": digest, "deadline": state and state.deadline}

    def _check_still_ours(self, message: Any) -> None:
        """Raise :class:`Interrupted` where partitions were assigned anew: another worker may have changed the row."""
        if message.generation_id != self.app.consumer_generation_id:
            raise Interrupted

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
                site=state.site,
                study_uid=state.study_uid,
                alert_id=state.of_alert,
                hop=self.name,
                deadline=state.deadline,
                time=now,
            )
            place = Place(Partition(DEADLINES.name, partition_of(key)), None)
            try:
                await self.deliver([outgoing(event)], place)
            except Interrupted:
                return
            finally:
                self._waits.pop(place, None)
            self._reminded[key] = (state.deadline, time.monotonic())
