"""Letters and Kafka: one is fetched by its id, and goes back to the topic that it came from."""

import time
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from gateways import kafka
from gateways.kafka import ANSWER_SECONDS, TAKEN_SECONDS, Record
from gateways.letters.letter import Place
from schemas.envelope import Headers
from schemas.failures import BrokerAway, Refused
from schemas.topics import DEAD_LETTERS, MAX_EVENT_BYTES

_MARGIN_BYTES: Final = 64 * 1024
"""The producer weighs a record before it is compressed, with headers; the broker, which decides, afterwards."""
_ANY: Final = -1


def fetch(bootstrap: str, place: Place) -> Record | None:
    """The letter at a place; None where the broker has none there (any more).

    Takes seconds at the most. Raises :class:`BrokerAway` where the broker does not answer.
    """
    partition = (DEAD_LETTERS.name, place.partition)
    with kafka.reader(bootstrap, **{"auto.offset.reset": "error"}) as consumer:
        known = kafka.metadata(consumer, bootstrap)
        if DEAD_LETTERS.name not in known or place.partition not in known[DEAD_LETTERS.name].partitions:
            return None
        low, high = kafka.span(consumer, bootstrap, partition)
        if not low <= place.offset < high:
            return None
        consumer.assign([TopicPartition(*partition, place.offset)])
        return _first(consumer, bootstrap, place)


def _first(consumer: Consumer, bootstrap: str, place: Place) -> Record | None:
    """What comes first, where that is what was asked for."""
    until = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < until:
        message = consumer.poll(0.2)
        error = message.error() if message is not None else None
        if message is not None and error is None:
            return kafka.record_of(message) if message.offset() == place.offset else None
        if error is None or error.retriable() or error.code() == KafkaError._ALL_BROKERS_DOWN:
            continue
        if error.code() in (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET):
            return None
        raise BrokerAway(f"Kafka at {bootstrap}: {error.str()}")
    raise BrokerAway(f"Kafka at {bootstrap} did not give letter {place} within {ANSWER_SECONDS:.0f} s")


class PostOffice:
    """Where letters are fetched and sent back. The broker need not be there until somebody wants something."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def fetch(self, place: Place) -> Record | None:
        """See :func:`fetch`."""
        return fetch(self._bootstrap, place)

    def outbound(self) -> "Post":
        """A connection of its own: one that has failed is of no use to the next."""
        return Post(self._bootstrap)


class Post:
    """Sends records and says when the broker has them."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        settings: dict[str, Any] = {
            "message.max.bytes": MAX_EVENT_BYTES + _MARGIN_BYTES,
            # One at a time, and a person waits for it: nothing can overtake one that is given up.
            "message.timeout.ms": int(1000 * TAKEN_SECONDS),
        }
        self.producer: Producer = kafka.producer(bootstrap, **settings)

    def has(self, topic: str) -> bool:
        """Whether the broker has a topic. Raises :class:`BrokerAway`."""
        return topic in kafka.metadata(self.producer, self._bootstrap)

    def send(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Write a record, and return once the broker has it on all its replicas.

        Its key decides the partition, as for every writer; ``partition`` where it has none. Raises
        :class:`BrokerAway` where that is not known in time (it may be there), :class:`Refused` where the
        broker will not have it.
        """
        answers: list[KafkaError | None] = []
        place = _ANY if key is not None else partition
        try:
            self.producer.produce(
                topic, value, key, place, on_delivery=lambda error, _: answers.append(error), headers=headers
            )
        except KafkaException as error:
            raise Refused(f"{topic}: {error.args[0].str()}") from error
        self.producer.flush(TAKEN_SECONDS + ANSWER_SECONDS)
        failure = answers[0] if answers else KafkaError(KafkaError._TIMED_OUT)
        if failure is None:
            return
        if failure.code() in _FOR_GOOD:
            raise Refused(f"{topic}: {failure.str()}")
        raise BrokerAway(f"Kafka at {self._bootstrap} did not confirm a record for {topic}: {failure.str()}")


_FOR_GOOD: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
    }
)
