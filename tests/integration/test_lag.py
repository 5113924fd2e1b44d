"""Consumer lag as ``sinsok status`` shows it, on a real broker."""

import pytest
from confluent_kafka import Consumer, TopicPartition

from gateways.kafka import producer
from gateways.kafka_topics import create
from schemas.topics import Topic
from sinsok.stack.lag import consumer_lag

pytestmark = pytest.mark.integration

TOPIC = Topic("stack.lag", (), "lag under test", partitions=2)


def commit(bootstrap: str, group: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(TOPIC.name, 0, offset)], asynchronous=False)
    consumer.close()


def test_lag_is_what_was_written_and_not_committed(kafka: str) -> None:
    create(kafka, [TOPIC])
    writer = producer(kafka)
    for number in range(5):
        writer.produce(TOPIC.name, f"{number}", partition=0)
    assert writer.flush(10) == 0
    commit(kafka, "lag-behind", 2)
    commit(kafka, "lag-done", 5)

    reads = dict.fromkeys(("lag-behind", "lag-done", "lag-never"), (TOPIC,))
    assert consumer_lag(kafka, reads) == {"lag-behind": 3, "lag-done": 0, "lag-never": 5}


def test_a_broker_that_is_away_has_no_lag() -> None:
    assert consumer_lag("127.0.0.1:1", {"sinsok-infer": (TOPIC,)}, timeout_s=0.5) == {}
