"""From topics into a database: an offset is committed once what its record asks for is noted there."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from prometheus_client import Counter

from gateways.kafka import headers_of
from gateways.metrics import UNREAD_SECONDS
from schemas.base import Event as AnyEvent
from schemas.envelope import NotAnEvent, decode

log = structlog.get_logger()
_GROUP_OF: Final = 100
_POLL_S: Final = 0.5
_LOG_EVERY_S: Final = 30.0
_PAUSE_S: Final = 2.0
_SILENT_S: Final = 30.0
"""So long a start, another member's leaving or a broker's restart may take before a person is told."""
_SETTLED: Final = 10
"""So many polls in a row, with partitions to read and nothing on them, say that there is nothing."""


class Inbox:
    """The one thread that reads.

    ``take`` notes events, all or nothing; where it raises, or the broker is away, they are read again. ``what`` they
    are stands in the log. ``may_lack``: a topic that does not exist yet holds up no other. What is no event is counted
    and passed over: a hop that reads the same topic makes a dead letter of it.
    """

    def __init__(
        self,
        connect: Callable[[], Consumer],
        topics: Sequence[str],
        take: Callable[[Sequence[AnyEvent]], None],
        *,
        what: str,
        undecodable: Counter,
        may_lack: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._topics = list(topics)
        self._take = take
        self._what = what
        self._undecodable = undecodable
        self._passing = {KafkaError._PARTITION_EOF} | ({KafkaError.UNKNOWN_TOPIC_OR_PART} if may_lack else set())
        self._clock = clock
        self._read_at = clock()
        self._fault = ""
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
        """Whether events are being taken, or waited for."""
        return self._thread.is_alive()

    def complaints(self) -> list[str]:
        """What a person should know, one line each; empty while what is on the topics is taken."""
        unread_s = self._clock() - self._read_at
        if not self._fault and unread_s <= _SILENT_S:
            return []
        since = datetime.now(UTC) - timedelta(seconds=unread_s)
        why = self._fault or "Kafka does not answer, or another reader has the partitions"
        return [f"{self._what} not read since {since:%H:%M:%S} UTC: {why}"]

    def measure(self) -> None:
        """Bring the gauge up to date."""
        UNREAD_SECONDS.labels(self._what).set(max(0.0, self._clock() - self._read_at))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except Exception as error:  # noqa: BLE001 - the edge of this thread: whatever fails, events wait in the topic
                self._fault = " ".join(str(error).split()) or type(error).__name__
                if time.monotonic() - self._logged_at >= _LOG_EVERY_S:
                    self._logged_at = time.monotonic()
                    log.warning(f"{self._what} not taken yet", error=str(error))
                self._stop.wait(_PAUSE_S)

    def _read(self) -> None:
        source, quiet = self._connect(), 0
        try:
            source.subscribe(self._topics)
            while not self._stop.is_set():
                first = source.poll(_POLL_S)
                if first is None:
                    # Whoever is not in its group, for want of a broker or of a right, has no partitions. Whoever has
                    # just come is not asked at once: a record that could not be taken is on its way again.
                    quiet = quiet + 1 if source.assignment() else 0
                    if quiet >= _SETTLED:
                        self._is_read()
                    continue
                # What else is there already comes with it; asked for at first, so many would be waited for.
                messages = [first, *source.consume(_GROUP_OF, timeout=0)]
                records = [message for message in messages if self._is_record(message)]
                if records:
                    self._take([event for record in records if (event := self._event(record)) is not None])
                    source.commit(asynchronous=False)
                    self._is_read()
        finally:
            source.close()

    def _is_read(self) -> None:
        self._read_at, self._fault = self._clock(), ""

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() in self._passing or error.retriable():
            return False
        raise KafkaException(error)

    def _event(self, record: Message) -> AnyEvent | None:
        try:
            return decode(headers_of(record), record.value())
        except NotAnEvent as error:
            self._undecodable.inc()
            log.error(
                "record is no event, passed over",
                topic=record.topic(),
                partition=record.partition(),
                offset=record.offset(),
                error=str(error),
            )
            return None
