"""The records to be audited: of all event topics, each once, from where the trail ends."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from gateways.kafka import ANSWER_SECONDS, Place, Record, metadata, record_of

_LINGER_S: Final = 0.2
"""Records that come within this time share a transaction."""
_REMIND_S: Final = 600.0
"""How often all offsets are told: the broker forgets those of a quiet partition (``offsets.retention.minutes``)."""


@dataclass(frozen=True)
class Lost:
    """Records from an offset up to another (exclusive) that are not on their topic any more."""

    topic: str
    partition: int
    begin: int
    end: int


class Source:
    """Reads with positions of its own, which are committed together with what was made of the records."""

    def __init__(self, consumer: Consumer, bootstrap: str, topics: Sequence[str]) -> None:
        self._consumer = consumer
        self._bootstrap = bootstrap
        self._topics = topics
        self._committed: dict[Place, int] = {}
        self._reached: dict[Place, int] = {}
        self._read: dict[Place, int] = {}
        self._reminded_at = time.monotonic()
        self._reminding = False

    def committed(self) -> dict[Place, int | None]:
        """How far each partition is audited, as the broker has it; None where it does not know.

        Raises :class:`schemas.failures.Unavailable` and ``KafkaException``.
        """
        known = metadata(self._consumer, self._bootstrap)
        places = [(topic, number) for topic in self._topics if topic in known for number in known[topic].partitions]
        answers = self._consumer.committed([TopicPartition(*place) for place in places], ANSWER_SECONDS)
        return {(one.topic, one.partition): None if one.offset < 0 else int(one.offset) for one in answers}

    @property
    def places(self) -> frozenset[Place]:
        """What is read since :meth:`begin`."""
        return frozenset(self._reached)

    def first(self, place: Place) -> int:
        """The first offset that is on a partition."""
        return int(self._consumer.get_watermark_offsets(TopicPartition(*place), ANSWER_SECONDS)[0])

    def begin(self, committed: dict[Place, int], found: dict[Place, int]) -> None:
        """Read from here. What was ``found`` otherwise the broker is told with the next :meth:`positions`."""
        self._committed, self._reached = dict(committed), committed | found
        self.again()

    def again(self) -> None:
        """Read anew what was read since the last :meth:`settled`."""
        self._read = dict(self._reached)
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._read.items()])

    def settled(self) -> None:
        """What was read so far is audited."""
        self._committed, self._reached = dict(self._read), dict(self._read)
        if self._reminding:
            self._reminded_at, self._reminding = time.monotonic(), False

    def positions(self) -> list[TopicPartition]:
        """What is to be committed with the records read: what has moved, and now and then all."""
        self._reminding = time.monotonic() - self._reminded_at >= _REMIND_S
        told = {
            place: offset
            for place, offset in self._read.items()
            if self._reminding or self._committed.get(place) != offset
        }
        return [TopicPartition(*place, offset) for place, offset in told.items()]

    def group(self) -> object:
        """In whose name positions are committed."""
        return self._consumer.consumer_group_metadata()

    def take(self, most: int) -> Iterator[Record | Lost]:
        """What has come within a moment, at most so much of it. Raises ``KafkaException``."""
        for message in self._consumer.consume(most, timeout=_LINGER_S):
            error = message.error()
            if error is not None:
                if not error.retriable() and error.code() not in (
                    KafkaError._PARTITION_EOF,
                    KafkaError._ALL_BROKERS_DOWN,
                ):
                    raise KafkaException(error)
                continue
            record = record_of(message)
            place = (record.topic, record.partition)
            if record.offset > self._read[place]:
                # Markers of transactions take offsets too; what lies before the first record that is left is gone.
                first = min(self.first(place), record.offset)
                if first > self._read[place]:
                    yield Lost(*place, self._read[place], first)
            self._read[place] = record.offset + 1
            yield record

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
