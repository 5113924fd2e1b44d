"""Events leave the journal for Kafka, in the order they were put there, and only once the broker has them.

The broker may be away for as long as it likes: events wait on disk. After a crash the last ones may be written again,
with the same event id.
"""

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from gateways.dicom.journal import Journal, OutboxRow

log = structlog.get_logger()
_GROUP: Final = 500
_LOOK_EVERY_S: Final = 5.0
_PATIENCE_S: Final = 5.0
_LOG_EVERY_S: Final = 30.0
_LONGEST_PAUSE_S: Final = 30.0


class OutboxPublisher:
    """The one thread that publishes. ``connect`` makes a producer, anew after one has failed for good."""

    def __init__(self, journal: Journal, connect: Callable[[], Producer]) -> None:
        self._journal = journal
        self._connect = connect
        self._stop = Event()
        self._logged_at = -_LOG_EVERY_S
        self._thread = Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self, grace_s: float) -> None:
        """Publish what the broker takes within the grace, and end. What is left stays in the journal."""
        until = time.monotonic() + grace_s
        while self.alive and self._journal.outbox_state()[0] and time.monotonic() < until:
            time.sleep(0.02)
        self._stop.set()
        self._journal.posted.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether events are being published, or waited with."""
        return self._thread.is_alive()

    def _run(self) -> None:
        producer, pause = self._connect(), 0.0
        while not self._stop.wait(pause):
            try:
                self._journal.posted.clear()
                if rows := self._journal.outbox(_GROUP):
                    self._publish(producer, rows)
                else:
                    self._journal.posted.wait(_LOOK_EVERY_S)
                pause = 0.0
            except Exception as error:  # noqa: BLE001 - the edge of this thread: whatever fails, the events must wait
                pause = min(_LONGEST_PAUSE_S, 2 * pause + 0.5)
                self._say("events not published yet", error=str(error), retry_in_s=pause)
                producer.purge()
                producer = self._connect()

    def _publish(self, producer: Producer, rows: list[OutboxRow]) -> None:
        taken: list[int] = []
        failures: list[KafkaError] = []

        def answered(row: int, error: KafkaError | None) -> None:
            if error is None:
                taken.append(row)
            else:
                failures.append(error)

        for row in rows:
            producer.produce(
                row.topic,
                key=row.message.key,
                value=row.message.value,
                headers=row.message.headers,
                on_delivery=lambda error, _, row=row.id: answered(row, error),
            )
        began = time.monotonic()
        while producer.flush(0.5) and not self._stop.is_set():
            if time.monotonic() - began > _PATIENCE_S:
                self._say("kafka is not taking events, they wait on disk", waiting=len(rows) - len(taken))
        self._journal.delivered(taken)
        if failures:
            raise KafkaException(failures[0])

    def _say(self, what: str, **details: object) -> None:
        if time.monotonic() - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = time.monotonic()
            log.warning(what, **details)
