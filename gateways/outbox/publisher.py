"""Events leave the database for Kafka, in the order they were put there, and only once the broker has them.

The broker may be away for as long as it likes: events wait on disk. After a crash the last ones may be written again,
with the same event id. An event that the broker will never take is moved aside there, for a person to look at.
"""

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from gateways import metrics
from gateways.outbox.database import OutboxDatabase, OutboxRow
from schemas.identity import trace_id

log = structlog.get_logger()
_GROUP: Final = 500
_LOOK_EVERY_S: Final = 5.0
_PATIENCE_S: Final = 5.0
_LOG_EVERY_S: Final = 30.0
_LONGEST_PAUSE_S: Final = 30.0
_STUCK_S: Final = 60.0
_FOR_GOOD: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD})


class OutboxPublisher:
    """The one thread that publishes. ``connect`` makes a producer, anew after one has failed for good."""

    def __init__(self, database: OutboxDatabase, connect: Callable[[], Producer]) -> None:
        self._database = database
        self._connect = connect
        self._stop = Event()
        self._logged_at = -_LOG_EVERY_S
        self._thread = Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self, grace_s: float) -> None:
        """Publish what the broker takes within the grace, and end. What is left stays in the database."""
        until = time.monotonic() + grace_s
        while self.alive and self._database.outbox_state()[0] and time.monotonic() < until:
            time.sleep(0.02)
        self._stop.set()
        self._database.posted.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether events are being published, or waited with."""
        return self._thread.is_alive()

    def complaints(self, database: str) -> list[str]:
        """What a person should know, one line each, with a name for the database; empty while all is well."""
        found = []
        if rejected := self._database.rejected():
            found.append(f"{rejected} events that Kafka will never take lie in the {database}'s table 'rejected'")
        depth, oldest = self._database.outbox_state()
        if oldest is not None and (age := time.time() - oldest) > _STUCK_S:
            found.append(f"{depth} events wait for Kafka, the oldest for {age:.0f} s")
        return found

    def measure(self) -> None:
        """Bring the gauges up to date."""
        depth, oldest = self._database.outbox_state()
        metrics.OUTBOX_DEPTH.set(depth)
        metrics.OUTBOX_AGE_SECONDS.set(max(0.0, time.time() - oldest) if oldest is not None else 0.0)

    def _run(self) -> None:
        producer, pause = self._connect(), 0.0
        while not self._stop.wait(pause):
            try:
                self._database.posted.clear()
                if rows := self._database.outbox(_GROUP):
                    # The broker judges a batch as a whole: what it refused for good is asked for again, alone.
                    for row, _ in self._publish(producer, rows):
                        for _, error in self._publish(producer, [row]):
                            self._reject(row, error)
                else:
                    self._database.posted.wait(_LOOK_EVERY_S)
                pause = 0.0
            except Exception as error:  # noqa: BLE001 - the edge of this thread: whatever fails, the events must wait
                pause = min(_LONGEST_PAUSE_S, 2 * pause + 0.5)
                self._say("events not published yet", error=str(error), retry_in_s=pause)
                producer.purge()
                producer = self._connect()

    def _publish(self, producer: Producer, rows: list[OutboxRow]) -> list[tuple[OutboxRow, KafkaError]]:
        """What the broker takes leaves the database; what it refused for good is returned, with its reason."""
        taken: list[int] = []
        refused: list[tuple[OutboxRow, KafkaError]] = []
        failures: list[KafkaError] = []

        def answered(row: OutboxRow, error: KafkaError | None) -> None:
            if error is None:
                taken.append(row.id)
            elif error.code() in _FOR_GOOD:
                refused.append((row, error))
            else:
                failures.append(error)

        for row in rows:
            try:
                producer.produce(
                    row.topic,
                    key=row.message.key,
                    value=row.message.value,
                    headers=row.message.headers,
                    on_delivery=lambda error, _, row=row: answered(row, error),
                )
            except KafkaException as error:  # the producer knows the limit on size itself
                answered(row, error.args[0])
        began = time.monotonic()
        while producer.flush(0.5) and not self._stop.is_set():
            if time.monotonic() - began > _PATIENCE_S:
                self._say("kafka is not taking events, they wait on disk", waiting=len(rows) - len(taken))
        self._database.delivered(taken)
        if failures and not refused:  # else first those that would hold up the others
            raise KafkaException(failures[0])
        return refused

    def _reject(self, row: OutboxRow, error: KafkaError) -> None:
        self._database.reject(row.id, error.str())
        metrics.REJECTED_EVENTS.inc()
        key = row.message.key.decode()
        log.error(
            "event rejected by kafka, kept aside in the database",
            study_key=key,
            trace_id=trace_id(key),
            topic=row.topic,
            size_bytes=len(row.message.value),
            error=error.str(),
        )

    def _say(self, what: str, **details: object) -> None:
        if time.monotonic() - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = time.monotonic()
            log.warning(what, **details)
