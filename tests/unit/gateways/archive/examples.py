"""Records, and a broker that has some of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from gateways.kafka import Place, Record

TOPIC = "triage.results"


def record(offset: int, *, partition: int = 0, at_ms: int | None = None, value: bytes | None = b"{}") -> Record:
    """A record; without ``at_ms`` one second after the one before it."""
    at_ms = offset * 1000 if at_ms is None else at_ms
    return Record(TOPIC, partition, offset, at_ms, b"key", [("ce_type", b"t"), ("ce_type", b"t")], value)


def run(first: int, end: int) -> list[Record]:
    return [record(offset) for offset in range(first, end)]


@dataclass(frozen=True)
class Message:
    """A record as librdkafka gives it."""

    record: Record

    def __getattr__(self, name: str) -> Any:
        return lambda: getattr(self.record, name)

    def timestamp(self) -> tuple[int, int]:
        return 1, self.record.timestamp_ms

    def error(self) -> None:
        return None


@dataclass(frozen=True)
class Trouble:
    """What librdkafka says instead of a record."""

    place: Place
    code: int
    at: int = 0

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.at

    def error(self) -> KafkaError:
        return KafkaError(self.code)


@dataclass
class Broker:
    """The topics as they stand: for each partition where it begins, and its records. ``made`` is a consumer of it."""

    logs: dict[Place, list[Record]]
    lows: dict[Place, int] = field(default_factory=dict)
    ends: dict[Place, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._waiting: list[Message | Trouble] = []

    def made(self, settings: dict[str, Any]) -> "Broker":
        assert settings["auto.offset.reset"] == "error", "what the broker has let go of must not be passed over"
        return self

    def list_topics(self, timeout: float) -> Any:
        @dataclass
        class Metadata:
            topics: dict[str, Any]

        @dataclass
        class Topic:
            partitions: list[int]

        names = {topic for topic, _ in self.logs}
        return Metadata({name: Topic(sorted(n for topic, n in self.logs if topic == name)) for name in names})

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        return self._span((partition.topic, partition.partition))

    def offsets_for_times(self, asked: Iterable[TopicPartition], timeout: float) -> list[TopicPartition]:
        def first(one: TopicPartition) -> int:
            place = (one.topic, one.partition)
            low, _ = self._span(place)
            later = [r.offset for r in self.logs[place] if r.offset >= low and r.timestamp_ms >= one.offset]
            return min(later, default=-1)

        return [TopicPartition(one.topic, one.partition, first(one)) for one in asked]

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._waiting = []
        for one in partitions:
            place = (one.topic, one.partition)
            low, high = self._span(place)
            if not low <= one.offset <= high:
                self._waiting.append(Trouble(place, KafkaError._AUTO_OFFSET_RESET))
                continue
            self._waiting += [Message(record) for record in self.logs[place] if record.offset >= one.offset]
            self._waiting.append(Trouble(place, KafkaError._PARTITION_EOF, high))

    def poll(self, timeout: float) -> Message | Trouble | None:
        return self._waiting.pop(0) if self._waiting else None

    def close(self) -> None:
        pass

    def _span(self, place: Place) -> tuple[int, int]:
        high = self.ends.get(place, self.logs[place][-1].offset + 1 if self.logs[place] else 0)
        return self.lows.get(place, 0), high
