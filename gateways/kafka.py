"""Kafka for the processes that are not stream hops: a producer and a reader, on confluent-kafka.

Every function here says in one line, within seconds, when the broker is away (:class:`schemas.failures.BrokerAway`).
librdkafka's own chatter goes to the ``librdkafka`` logger and never to the terminal.
"""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, Final, Literal

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.base import Event
from schemas.envelope import Headers, encode
from schemas.failures import BrokerAway, Unavailable
from schemas.topics import MAX_EVENT_BYTES

ANSWER_SECONDS: Final = 5.0
"""How long a broker may take to answer before it counts as away."""
TAKEN_SECONDS: Final = 30.0
"""How long an event may take to be accepted. A broker that has just started may let a new producer wait."""

_CHATTER: Final = logging.getLogger("librdkafka")
_CHATTER.addHandler(logging.NullHandler())  # else Python prints it where nobody has configured logging

Start = Literal["beginning", "end"]
UNREADABLE_HEADERS: Final = "sinsok-unreadable-headers"
"""Stands alone, in place of headers that the client cannot read."""
_HEADERS: Final = methodcaller("headers")
Place = tuple[str, int]
"""A partition: its topic and its number."""


class Dropped(Unavailable):
    """The broker has let go of records that were to be read; ``place`` is their partition."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"Kafka has let go of records of {place[0]}/{place[1]} while they were read")
        self.place = place


@dataclass(frozen=True)
class Record:
    """A record as it stands on a topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    headers: Headers
    value: bytes | None


def producer(bootstrap: str, **settings: str | int) -> Producer:
    """A producer that loses and reorders nothing: idempotent, acknowledged by all replicas.

    It places keys on partitions as Java clients and Faust do (murmur2), which librdkafka's default does not: events
    of one study must meet on one partition whoever wrote them. ``settings`` are librdkafka's, and go before these.
    """
    sys.audit("sinsok.producer", bootstrap)
    defaults: dict[str, Any] = {
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "linger.ms": 5,
        "message.timeout.ms": 0,  # never given up in the middle: a later event of the same key would overtake it
        "compression.type": "gzip",  # every client reads it; aiokafka needs one more library for each of the others
        "message.max.bytes": MAX_EVENT_BYTES,
    }
    return Producer(quiet(bootstrap) | defaults | settings)


def consumer(bootstrap: str, group: str, **settings: str | int) -> Consumer:
    """Reads from where its group stood, at first from the beginning: no event is left out. It commits when it is told.

    ``settings`` are librdkafka's, and go before these.
    """
    sys.audit("sinsok.consumer", bootstrap)
    defaults: dict[str, Any] = {
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.message.max.bytes": MAX_EVENT_BYTES,
        "session.timeout.ms": 10_000,
    }
    return Consumer(quiet(bootstrap) | defaults | settings)


def admin(bootstrap: str) -> AdminClient:
    """What asks and changes a broker."""
    sys.audit("sinsok.admin", bootstrap)
    return AdminClient(quiet(bootstrap))


def publish(producer: Producer, topic: str, event: Event) -> None:
    """Write an event and wait until the broker has it. For the rare event: this is one round trip.

    Raises :class:`BrokerAway` where the broker does not take it.
    """
    failures: list[KafkaError] = []
    message = encode(event)
    producer.produce(
        topic,
        key=message.key,
        value=message.value,
        headers=message.headers,
        on_delivery=lambda error, _: failures.append(error) if error else None,
    )
    waiting = producer.flush(TAKEN_SECONDS)
    if waiting or failures:
        producer.purge()
        reason = failures[0].str() if failures else f"no answer within {TAKEN_SECONDS:.0f} s"
        raise BrokerAway(f"Kafka did not take an event for {topic}: {reason}")


def read(bootstrap: str, topics: Iterable[str], start: Start = "beginning", follow: bool = False) -> Iterator[Record]:
    """The records of topics, in order within each partition; without ``follow`` up to the end as it is now.

    Belongs to no consumer group: nothing is committed, and nobody else is disturbed. Raises :class:`Unavailable`
    where the broker does not answer or a topic is not there.
    """
    with reader(bootstrap) as consumer:
        found = spans(consumer, bootstrap, topics)
        begin = {place: low if start == "beginning" else high for place, (low, high) in found.items()}
        # The end as it is now: a topic that is written to all the time would otherwise never end.
        ends = {place: high for place, (_, high) in found.items()}
        yield from records(consumer, bootstrap, begin, None if follow else ends)


@contextmanager
def reader(bootstrap: str, **settings: str | int) -> Iterator[Consumer]:
    """A consumer of no group, for :func:`spans` and :func:`records`. ``settings`` are librdkafka's, and go before ours.

    What the broker has let go of is passed over, unless ``auto.offset.reset`` is ``error``.
    """
    defaults: dict[str, Any] = {
        "group.id": "sinsok-reader",  # librdkafka insists on one; assigned partitions never join it
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "fetch.message.max.bytes": MAX_EVENT_BYTES,
        "auto.offset.reset": "earliest",
    }
    consumer = Consumer(quiet(bootstrap) | defaults | settings)
    try:
        yield consumer
    finally:
        consumer.close()


def spans(consumer: Consumer, bootstrap: str, topics: Iterable[str]) -> dict[Place, tuple[int, int]]:
    """First offset and the one after the last, of each partition of these topics, as they are now.

    Raises :class:`Unavailable` where the broker does not answer or a topic is not there.
    """
    wanted, known = list(topics), metadata(consumer, bootstrap)
    absent = [topic for topic in wanted if topic not in known]
    if absent:
        raise Unavailable(f"Kafka at {bootstrap} has no topic {', '.join(absent)}: `sinsok topics --apply` creates it")
    places = [(topic, number) for topic in wanted for number in known[topic].partitions]
    return {place: span(consumer, bootstrap, place) for place in places}


def records(
    consumer: Consumer, bootstrap: str, begin: Mapping[Place, int], ends: Mapping[Place, int] | None
) -> Iterator[Record]:
    """The records of partitions from their offsets in ``begin`` to before those in ``ends``; None: as they come.

    Raises :class:`Unavailable`; :class:`Dropped` where the broker let go of them meanwhile, and the consumer does not
    pass over that.
    """
    unread = {place for place, offset in begin.items() if ends is None or offset < ends[place]}
    consumer.assign([TopicPartition(*place, begin[place]) for place in unread])
    while unread:
        message = consumer.poll(0.2)
        if message is None:
            continue
        place = (message.topic(), message.partition())
        error = message.error()
        if error is None:
            if ends is None or message.offset() < ends[place]:
                yield record_of(message)
            if ends is not None and message.offset() + 1 >= ends[place]:
                unread.discard(place)
        elif error.code() == KafkaError._PARTITION_EOF:
            if ends is not None:
                unread.discard(place)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise Dropped(place)
        elif not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
            raise BrokerAway(f"Kafka at {bootstrap}: {error.str()}")


def quiet(bootstrap: str) -> dict[str, Any]:
    """What every client is told: where the broker is, and to keep librdkafka off the terminal."""
    return {
        "bootstrap.servers": bootstrap,
        "logger": _CHATTER,
        "log.connection.close": False,
        "error_cb": lambda error: _CHATTER.debug("%s", error.str()),
        "reconnect.backoff.max.ms": 2000,
    }


def metadata(client: Any, bootstrap: str) -> dict[str, Any]:
    """The topics of a broker, by name. Raises :class:`BrokerAway` where it does not answer."""
    try:
        return dict(client.list_topics(timeout=ANSWER_SECONDS).topics)
    except KafkaException as error:
        raise BrokerAway(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from error


def span(consumer: Consumer, bootstrap: str, place: Place) -> tuple[int, int]:
    """First offset of a partition and the one after its last.

    It may be a moment without a leader, as after its creation. Raises :class:`BrokerAway`.
    """
    until = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(*place), timeout=ANSWER_SECONDS)
        except KafkaException as error:
            if time.monotonic() > until:
                raise BrokerAway(f"Kafka at {bootstrap}: {place[0]} {place[1]}: {error.args[0].str()}") from error
            time.sleep(0.1)
        else:
            return int(low), int(high)


def record_of(message: Any) -> Record:
    """What a consumer gave, as a record."""
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        headers_of(message),
        message.value(),
    )


def headers_of(message: Any) -> Headers:
    """The headers of what a consumer gave. Where a name among them is not UTF-8, none is to be had.

    The client then returns null pointers along with an error. Only a call by way of the C API has that looked for and
    raises: a plain one, once the interpreter has specialized it, hands them out, and touching them ends the process.
    """
    try:
        return [(name, value or b"") for name, value in _HEADERS(message) or []]
    except SystemError:
        return [(UNREADABLE_HEADERS, b"")]
