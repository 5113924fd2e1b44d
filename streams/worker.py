"""A hop as a process: started, watched, ended."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from schemas.base import ObjectRef
from schemas.topics import STEPS, Topic, changelog
from streams import metrics
from streams.agents import Agent, StatelessAgent
from streams.faust_app import NotReadyError, Slot, Worker, app_id, check_broker, new_app
from streams.hop import StatefulHop, StatelessHop
from streams.lag import BrokerAwayError, GroupLag
from streams.log_limit import LogLimit
from streams.mending import WrongVersionError
from streams.settings import StreamSettings
from streams.stateful import StatefulAgent
from streams.watchdog import Partition, Watchdog

log = structlog.get_logger()


class HopWorker:
    """A hop as a process: its app and agent, watched from a thread that shares nothing with them but the partitions."""

    def __init__(
        self,
        hop: StatelessHop | StatefulHop[Any],
        settings: StreamSettings,
        answered_at: Callable[[], float] = lambda: 0.0,
        rules: Mapping[str, ObjectRef] | None = None,
    ) -> None:
        self.hop = hop
        self.settings = settings
        self._answered_at = answered_at
        self._slot = Slot(hop.name, settings.datadir)
        self.app = new_app(hop.name, self._slot.instance, settings)
        self.agent: Agent = (
            StatefulAgent(hop, self.app, settings, rules or {})
            if isinstance(hop, StatefulHop)
            else StatelessAgent(hop, self.app, settings, rules or {})
        )
        self._watched = frozenset(topic.name for topic in hop.reads)
        self._complaints: list[str] = ["starting"]

    def run(self) -> int:
        """Run until SIGTERM. 0 after a signal, 1 where the broker or a topic is missing or the app failed."""
        LogLimit.install()
        try:
            asyncio.run(check_broker(self.settings, topics_of(self.hop)))
        except NotReadyError as error:
            log.error(str(error), hop=self.hop.name)
            return 1
        worker = Worker(self.app, self.settings.grace_s)
        threading.Thread(target=self._guarded_watch, name="watchdog", daemon=True).start()
        return worker.run()

    def health(self) -> list[str]:
        """What is wrong, one line each; empty when all is well. May be called from any thread."""
        waits = [
            f"{partition.topic}/{partition.number} has waited for {time.monotonic() - since:.0f} s: {why}"
            for partition, (since, why) in list(self.agent.waits.items())
            if time.monotonic() - since >= self.settings.report_waiting_after_s
        ]
        ready = [] if self.app.tables.actives_ready and not self.app.in_recovery else ["tables are not recovered"]
        return [*self._complaints, *ready, *waits]

    def _guarded_watch(self) -> None:
        try:
            self._watch()
        except Exception:  # the edge of the thread: a worker that nobody watches must not go on
            log.exception("the watchdog failed", hop=self.hop.name)
            os._exit(1)

    def _watch(self) -> None:
        """Read lag, and end the process when commits stand still while events wait: the supervisor starts it again."""
        group = GroupLag(self.settings.bootstrap_servers, app_id(self.hop.name))
        # It complains long before the end, so that a person may look first.
        watchdog = Watchdog(self.settings.stalled_after_s / 3)
        steady_at = time.monotonic()
        while True:
            time.sleep(self.settings.watch_s)
            try:
                positions = group.read(self._assigned())
            except BrokerAwayError as error:
                watchdog.forget()
                steady_at = time.monotonic()
                self._complaints = [f"Kafka at {self.settings.bootstrap_servers} does not answer: {error}"]
                continue
            for topic in self._watched:
                lag = sum(position.lag for partition, position in positions.items() if partition.topic == topic)
                metrics.LAG.labels(self.hop.name, topic).set(lag)
            stuck = watchdog.look(time.monotonic(), positions, self._excused())
            self._complaints = [
                f"{partition.topic}/{partition.number} has stood still for {seconds:.0f} s with events waiting"
                for partition, seconds in stuck.items()
            ]
            if any(seconds >= self.settings.stalled_after_s for seconds in stuck.values()):
                log.error("commits stand still while events wait", hop=self.hop.name, partitions=self._complaints)
                os._exit(1)
            if self.agent.steady():
                steady_at = time.monotonic()
            elif time.monotonic() - steady_at >= self.settings.stalled_after_s:
                log.error("neither assignment nor recovery comes to an end", hop=self.hop.name)
                os._exit(1)

    def _excused(self) -> set[Partition]:
        """Partitions that wait for something known: a port, or their turn while the process gets on with others."""
        last = max(self.agent.finished_at, self._answered_at())
        gets_on = time.monotonic() - last < self.settings.stalled_after_s
        return set(self.agent.waits) | (set(self.agent.busy) if gets_on else set())

    def _assigned(self) -> list[Partition]:
        if not self.agent.steady():
            return []
        return [Partition(tp.topic, tp.partition) for tp in self.app.consumer.assignment() if tp.topic in self._watched]


def topics_of(hop: StatelessHop | StatefulHop[Any]) -> tuple[Topic, ...]:
    """Every topic a hop needs before it starts: those it reads and writes, its steps' and its changelog."""
    state = (changelog(app_id(hop.name), hop.table),) if isinstance(hop, StatefulHop) else ()
    return (*hop.reads, *hop.writes, STEPS, *state)


def run(
    hop: StatelessHop | StatefulHop[Any],
    settings: StreamSettings,
    on_health: Callable[[Callable[[], list[str]]], None] | None = None,
    answered_at: Callable[[], float] = lambda: 0.0,
    rules: Mapping[str, ObjectRef] | None = None,
) -> int:
    """Run a hop until SIGTERM and return the exit code. ``on_health`` is given the health check before it starts.

    ``answered_at`` says when a port last answered (monotonic): a long event of many answers is not stuck. ``rules`` of
    each site are named in the record of what the hop did.
    """
    try:
        worker = HopWorker(hop, settings, answered_at, rules)
    except WrongVersionError as error:
        log.error(str(error), hop=hop.name)
        return 1
    if on_health is not None:
        on_health(worker.health)
    return worker.run()
