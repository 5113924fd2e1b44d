"""What stands on the topics, from some days back and then as it comes, into the view.

It belongs to no consumer group: every console reads everything for itself, and nothing is committed. While the broker
is away it waits; what it has seen stays.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Event, Thread
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from gateways.console.letters import Letter
from gateways.console.view import View
from gateways.kafka import ANSWER_SECONDS, headers_of, metadata, quiet, record_of
from schemas.base import utc
from schemas.envelope import NotAnEvent, decode
from schemas.failures import Unavailable
from schemas.topics import AUDIT_ACTS, DEAD_LETTERS, MAX_EVENT_BYTES

log = structlog.get_logger()
_PAUSE_S: Final = 2.0
_ASK_AFTER_S: Final = 10.0
_AT_ONCE: Final = 500


class Feed:
    """The one thread that reads. ``since`` says from when on; ``on_caught_up`` is told once all there was is read."""

    def __init__(
        self,
        bootstrap: str,
        topics: Sequence[str],
        since: Callable[[], datetime],
        view: View,
        on_caught_up: Callable[[], None],
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = list(topics)
        self._since = since
        self._view = view
        self._on_caught_up = on_caught_up
        self._positions: dict[tuple[str, int], int] = {}
        self._unread: set[tuple[str, int]] | None = None
        self._stop = Event()
        self._thread = Thread(target=self._run, name="feed", daemon=True)
        self.away_since: datetime | None = None
        """Since when the broker has not answered; None while it does."""
        self.caught_up = False
        """Whether all that stood on the topics at the start has been read."""
        self.absent: tuple[str, ...] = ()
        """Topics that Kafka does not have; the others are read all the same."""

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether it reads, or waits for the broker."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except Exception as error:  # noqa: BLE001 - the edge of this thread: whatever fails, it reads on from there
                self._away()
                log.warning("console cannot read its topics", error=str(error))
                self._stop.wait(_PAUSE_S)

    def _read(self) -> None:
        consumer = Consumer(
            quiet(self._bootstrap)
            | {
                "group.id": "sinsok-console",  # librdkafka insists on one; assigned partitions never join it
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",  # where what was to be read next has expired meanwhile
                "fetch.message.max.bytes": MAX_EVENT_BYTES,
            }
        )
        try:
            consumer.assign(self._places(consumer))
            self.away_since = None
            heard_at = asked_at = time.monotonic()
            while not self._stop.is_set():
                if messages := consumer.consume(_AT_ONCE, timeout=0.2):
                    heard_at = time.monotonic()
                    self.away_since = None
                    for message in messages:
                        self._take(message)
                elif time.monotonic() - heard_at > _ASK_AFTER_S:
                    heard_at = time.monotonic()
                    self._ask(consumer)
                if self.absent and time.monotonic() - asked_at > _ASK_AFTER_S:
                    asked_at = time.monotonic()
                    if any(topic in metadata(consumer, self._bootstrap) for topic in self.absent):
                        return  # and read on, with that one
        finally:
            consumer.close()

    def _places(self, consumer: Consumer) -> list[TopicPartition]:
        """Where to read on; at first, the first record that is not older than wanted."""
        known = metadata(consumer, self._bootstrap)
        self.absent = tuple(topic for topic in self._topics if topic not in known)
        if self.absent:
            log.warning("console reads without topics that are not there", absent=self.absent)
        places = [(topic, number) for topic in self._topics if topic in known for number in known[topic].partitions]
        if not places:
            raise Unavailable("Kafka has none of the topics: create them with `sinsok topics --apply`")
        if self._unread is None:
            self._unread = set(places)
        for place, offset in self._beginnings(consumer, [place for place in places if place not in self._positions]):
            self._positions[place] = offset
        return [TopicPartition(*place, offset) for place, offset in self._positions.items()]

    def _beginnings(self, consumer: Consumer, places: list[tuple[str, int]]) -> list[tuple[tuple[str, int], int]]:
        """The offset of the first record that is young enough, or of the next one to come."""
        # The ends first: what is written while this asks is then behind them. An offset "at the end" would be looked
        # up once more when reading begins, and pass over it.
        ends = {
            place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=ANSWER_SECONDS)[1] for place in places
        }
        since_ms = int(self._since().timestamp() * 1000)
        wanted = [TopicPartition(*place, since_ms) for place in places]
        found = consumer.offsets_for_times(wanted, timeout=2 * ANSWER_SECONDS) if wanted else []
        for one in found:
            if one.error is not None:
                raise KafkaException(one.error)
        offsets = {(one.topic, one.partition): one.offset for one in found}
        return [(place, offsets[place] if offsets[place] >= 0 else ends[place]) for place in places]

    def _take(self, message: Message) -> None:
        place = (str(message.topic()), int(message.partition() or 0))
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._reached(place)
            elif error.code() == KafkaError._ALL_BROKERS_DOWN:
                self._away()
            elif not error.retriable():
                raise KafkaException(error)
            return
        headers = headers_of(message)
        at = utc(message.timestamp()[1] / 1000)
        if place[0] == DEAD_LETTERS.name:
            self._view.bury(_letter(message, dict(headers), at))
            self._view.box.read(record_of(message))
        elif place[0] == AUDIT_ACTS.name:
            self._view.box.read(record_of(message))
        else:
            # What is no event here is a dead letter of the hop that reads the topic.
            with suppress(NotAnEvent):
                self._view.take(decode(headers, message.value()), at)
        self._positions[place] = int(message.offset() or 0) + 1

    def _reached(self, place: tuple[str, int]) -> None:
        if self._unread:
            self._unread.discard(place)
            if not self._unread:
                self.caught_up = True
                self._on_caught_up()

    def _ask(self, consumer: Consumer) -> None:
        """Nothing has come for a while: is nothing said, or nobody there?"""
        try:
            metadata(consumer, self._bootstrap)
            self.away_since = None
        except Unavailable:
            self._away()

    def _away(self) -> None:
        self.away_since = self.away_since or utc(time.time())


def _letter(message: Message, headers: dict[str, bytes | None], at: datetime) -> Letter:
    """What the headers of a dead letter say (schemas/asyncapi.py); the original ones name the site."""

    def said(name: str) -> str:
        return (headers.get(name) or b"?").decode(errors="replace")

    source = said("ce_source").removeprefix("/sinsok/")
    return Letter(
        at=at,
        site=source if source != "?" else None,
        key=said("ce_subject"),
        hop=said("dl_hop"),
        topic=said("dl_topic"),
        error=said("dl_error"),
        place=(int(message.partition() or 0), int(message.offset() or 0)),
    )
