"""The archiver as a whole: what it is made of, how it starts, watches itself and stops."""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Final

import structlog
from confluent_kafka import KafkaException

from gateways import kafka, kafka_topics
from gateways.archive.collector import Collector, consumer
from gateways.archive.retention import Retention
from gateways.archive.settings import ArchiveSettings
from gateways.archive.store import SegmentStore
from gateways.kafka import Place
from gateways.objects import FileStore
from gateways.process import CannotStart, Taken, hold
from schemas.audit import RecordAct
from schemas.failures import PortFailure
from schemas.topics import AUDIT_ACTS, Topic

log = structlog.get_logger()
_PAUSE_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 30.0
_SHOWN: Final = 5
_LONGEST_SILENCE_S: Final = 300.0


def lock(store: SegmentStore) -> Path:
    """Whoever holds this alone writes to the archive."""
    return store.root / "archiver.lock"


class Archiver:
    """Puts the records of topics into the archive, and lets the broker drop those that are old and safe there.

    One works on an object store at a time. Neither broker nor topics need be there when it starts.
    """

    def __init__(self, settings: ArchiveSettings, objects: FileStore, bootstrap: str, topics: Sequence[Topic]) -> None:
        self._settings = settings
        self._store = SegmentStore(objects)
        self._bootstrap = bootstrap
        self._days: Mapping[str, float] = {
            topic.name: settings.retention_days.get(topic.name, topic.retention_days) for topic in topics
        }
        self._stop = Event()
        self._fault = ""
        self._since = datetime.now(UTC)
        self._stuck: list[str] = []
        self._held: list[str] = []
        self._missed: dict[Place, int] = {}
        self._thread = Thread(target=self._run, name="collector", daemon=True)

    def start(self) -> None:
        """Clear away what a crash left half written, then collect. Raises :class:`CannotStart`."""
        try:
            self._lock = hold(lock(self._store))
            left = self._store.clean()
        except Taken as error:
            raise CannotStart(f"another archiver (pid {error.pid}) works on {self._store.root}") from None
        except OSError as error:
            raise CannotStart(f"the archive in {self._store.root} cannot be used: {error}") from error
        self._thread.start()
        log.info("archiver runs", topics=sorted(self._days), half_written=left)

    def stop(self) -> None:
        """Finish the segment in hand. What is held besides is on the broker, and is read again at the next start."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        self._lock.close()
        log.info("archiver stopped")

    def deaths(self) -> list[str]:
        """What only a restart mends, one line each; empty while it can go on by itself."""
        return [] if self._thread.is_alive() else ["the collector thread has died: restart the archiver"]

    def health(self) -> list[str]:
        """What is wrong, one line each; empty while all is well."""
        complaints = self.deaths()
        silent = datetime.now(UTC) - self._since > timedelta(seconds=_LONGEST_SILENCE_S)
        if self._fault or silent:
            fault = self._fault or "the collector hangs, in Kafka or in the object store: look there, then restart it"
            complaints.append(f"nothing is archived since {self._since:%Y-%m-%d %H:%M:%S} UTC: {fault}")
        wrong = [*self._stuck, *self._held]
        more = [f"and {len(wrong) - _SHOWN} more such lines"] if len(wrong) > _SHOWN else []
        return complaints + wrong[:_SHOWN] + more

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._collect()
            except Exception as error:  # noqa: BLE001 - the edge of this thread: whatever fails, records wait in the topic
                self._fault = " ".join(str(error).split()) or type(error).__name__
                lasted_s = time.monotonic() - began
                pause_s = min(2 * pause_s + _PAUSE_S, _LONGEST_PAUSE_S) if lasted_s < _LONGEST_PAUSE_S else _PAUSE_S
                log.warning("collecting broke off, it begins again", error=self._fault, retry_in_s=pause_s)
                self._stop.wait(pause_s)

    def _collect(self) -> None:
        source, sink = consumer(self._bootstrap), kafka.producer(self._bootstrap)

        def announce(act: RecordAct) -> None:
            kafka.publish(sink, AUDIT_ACTS.name, act)

        admin = kafka.admin(self._bootstrap)
        retention = Retention(admin, self._store, self._days, announce)

        def drop(places: Sequence[Place]) -> None:
            try:
                self._held = retention.apply(places, time.time())
            except (PortFailure, KafkaException, OSError) as error:  # archiving goes on, whatever holds up dropping
                self._held = [f"nothing more leaves the broker: {' '.join(str(error).split())}"]
                log.warning("dropping broke off", error=str(error))

        def topic_ids(topics: Collection[str]) -> dict[str, str]:
            return kafka_topics.ids(admin, topics)

        try:
            collector = Collector(
                self._bootstrap,
                self._settings,
                self._store,
                self._days,
                source,
                announce,
                drop,
                topic_ids,
                self._missed,
            )
            self._stuck = collector.stuck
            collector.work(self._stop, self._goes_on)
        finally:
            source.close()

    def _goes_on(self) -> None:
        self._fault, self._since = "", datetime.now(UTC)
