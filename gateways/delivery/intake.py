"""From ``triage.results`` into the ledger: an offset is committed once its result is noted for every destination."""

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from gateways.delivery.ledger import Ledger
from gateways.kafka import quiet
from gateways.metrics import UNDECODABLE_RESULTS
from schemas.envelope import NotAnEvent, decode
from schemas.events import StudyTriaged
from schemas.topics import MAX_EVENT_BYTES, RESULTS

GROUP: Final = "sinsok-pacs-writer"
_GROUP_OF: Final = 100
_LOG_EVERY_S: Final = 30.0
_PAUSE_S: Final = 2.0

log = structlog.get_logger()


def consumer(bootstrap: str) -> Consumer:
    """Reads results from where it stood, at first from the beginning: none is left out."""
    return Consumer(
        quiet(bootstrap)
        | {
            "group.id": GROUP,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": MAX_EVENT_BYTES,
            "session.timeout.ms": 10_000,
            "partition.assignment.strategy": "cooperative-sticky",
        }
    )


class Intake:
    """The one thread that reads. ``destinations`` are the names of those of each site; ``noted`` wakes who delivers."""

    def __init__(
        self,
        ledger: Ledger,
        connect: Callable[[], Consumer],
        destinations: Mapping[str, Sequence[str]],
        noted: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._connect = connect
        self._destinations = destinations
        self._noted = noted
        self._stop = Event()
        self._logged_at = -_LOG_EVERY_S
        self._thread = Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in hand, and end."""
        self._stop.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether results are being taken, or waited for."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except Exception as error:  # noqa: BLE001 - the edge of this thread: whatever fails, results wait in the topic
                self._say("results not taken yet", error=str(error))
                self._stop.wait(_PAUSE_S)

    def _read(self) -> None:
        source = self._connect()
        try:
            source.subscribe([RESULTS.name])
            while not self._stop.is_set():
                first = source.poll(0.5)
                if first is not None:
                    # What else is there already comes with it; asked for at first, so many would be waited for.
                    messages = [first, *source.consume(_GROUP_OF, timeout=0)]
                    self._take([message for message in messages if _is_record(message)])
                    source.commit(asynchronous=False)
        finally:
            source.close()

    def _take(self, records: Sequence[Message]) -> None:
        now, owed = time.time(), set()
        with self._ledger.transaction():
            for record in records:
                result = _result(record)
                if result is None:
                    continue
                for destination in self._destinations.get(result.site, ()):
                    if self._ledger.owe(destination, result, now):
                        owed.add(destination)
        for destination in owed:
            self._noted(destination)

    def _say(self, what: str, **details: object) -> None:
        if time.monotonic() - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = time.monotonic()
            log.warning(what, **details)


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.code() == KafkaError._PARTITION_EOF or error.retriable():
        return False
    raise KafkaException(error)


def _result(record: Message) -> StudyTriaged | None:
    """None for what is no result. The hop *alert* reads the same topic and makes a dead letter of it."""
    headers: Any = record.headers() or []
    try:
        event = decode([(name, value or b"") for name, value in headers], record.value())
    except NotAnEvent as error:
        UNDECODABLE_RESULTS.inc()
        log.error(
            "record is no result, passed over",
            topic=record.topic(),
            partition=record.partition(),
            offset=record.offset(),
            error=str(error),
        )
        return None
    return event if isinstance(event, StudyTriaged) else None
