"""From topics into a database: an offset is committed once what its record asks for is noted there."""

import time
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from prometheus_client import Counter

from schemas.base import Event as AnyEvent
from schemas.envelope import NotAnEvent, decode

log = structlog.get_logger()
_GROUP_OF: Final = 100
_LOG_EVERY_S: Final = 30.0
_PAUSE_S: Final = 2.0


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
    ) -> None:
        self._connect = connect
        self._topics = list(topics)
        self._take = take
        self._what = what
        self._undecodable = undecodable
        self._passing = {KafkaError._PARTITION_EOF} | ({KafkaError.UNKNOWN_TOPIC_OR_PART} if may_lack else set())
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

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except Exception as error:  # noqa: BLE001 - the edge of this thread: whatever fails, events wait in the topic
                if time.monotonic() - self._logged_at >= _LOG_EVERY_S:
                    self._logged_at = time.monotonic()
                    log.warning(f"{self._what} not taken yet", error=str(error))
                self._stop.wait(_PAUSE_S)

    def _read(self) -> None:
        source = self._connect()
        try:
            source.subscribe(self._topics)
            while not self._stop.is_set():
                first = source.poll(0.5)
                if first is not None:
                    # What else is there already comes with it; asked for at first, so many would be waited for.
                    messages = [first, *source.consume(_GROUP_OF, timeout=0)]
                    records = [message for message in messages if self._is_record(message)]
                    if records:
                        self._take([event for record in records if (event := self._event(record)) is not None])
                        source.commit(asynchronous=False)
        finally:
            source.close()

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() in self._passing or error.retriable():
            return False
        raise KafkaException(error)

    def _event(self, record: Message) -> AnyEvent | None:
        headers: Any = record.headers() or []
        try:
            return decode([(name, value or b"") for name, value in headers], record.value())
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
