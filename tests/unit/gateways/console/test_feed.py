"""From where the topics are read, and what is made of topics that are not there."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_END, TopicPartition

from gateways.console import feed
from gateways.console.feed import Feed
from schemas.failures import Unavailable
from tests.unit.gateways.console.house import House, at


class Broker:
    """A consumer's view of topics with one partition each; somebody writes whenever it is asked for times."""

    def __init__(self, **ends: int) -> None:
        self.ends = ends

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions={0: None}) for topic in self.ends})

    def get_watermark_offsets(self, place: TopicPartition, timeout: float) -> tuple[int, int]:
        return 0, self.ends[place.topic]

    def offsets_for_times(self, wanted: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        found = [TopicPartition(one.topic, 0, OFFSET_END if one.topic.startswith("quiet") else 3) for one in wanted]
        self.ends = {topic: end + 1 for topic, end in self.ends.items()}
        return found


def reader(house: House, *topics: str) -> Feed:
    return Feed("broker", topics, lambda: at(-60), house.view, lambda: None)


def places(one: Feed, broker: Broker) -> dict[str, int]:
    return {place.topic: place.offset for place in one._places(broker)}  # type: ignore[arg-type]


def test_a_partition_that_was_quiet_is_read_from_its_end_as_it_was(house: House) -> None:
    """What is written between asking and reading is behind that."""
    one = reader(house, "quiet", "busy")
    assert places(one, Broker(quiet=7, busy=9)) == {"quiet": 7, "busy": 3}
    assert places(one, Broker(quiet=99, busy=99)) == {"quiet": 7, "busy": 3}, "and read on from there"


def test_one_topic_that_is_not_there_does_not_keep_from_reading_the_others(house: House) -> None:
    one = reader(house, "busy", "alerts.anseong")
    assert places(one, Broker(busy=9)) == {"busy": 3}
    assert one.absent == ("alerts.anseong",)
    assert places(one, Broker(busy=9, **{"alerts.anseong": 4})) == {"busy": 3, "alerts.anseong": 3}
    assert one.absent == ()
    with pytest.raises(Unavailable, match="none of the topics"):
        places(reader(house, "busy"), Broker())


def test_a_topic_that_comes_later_is_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader looks for it from time to time, and begins anew with it."""

    class Consumer(Broker):
        def assign(self, given: list[TopicPartition]) -> None:
            assigned.append({place.topic for place in given})
            self.ends["late"] = 4

        def consume(self, count: int, timeout: float) -> list[Any]:
            if len(assigned) == 2:
                one._stop.set()
            return []

        def close(self) -> None:
            pass

    assigned: list[set[str]] = []
    broker = Consumer(busy=9)
    monkeypatch.setattr(feed, "Consumer", lambda _: broker)
    monkeypatch.setattr(feed, "_ASK_AFTER_S", 0.0)
    one = reader(house, "busy", "late")
    one.start()
    one._thread.join(5)
    assert assigned == [{"busy"}, {"busy", "late"}]
    assert one.away_since is None
