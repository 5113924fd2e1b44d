"""The Kafka gateway on a real broker."""

from datetime import UTC, datetime
from itertools import islice
from uuid import uuid4

import pytest
from aiokafka.partitioner import murmur2

from gateways import kafka as gateway
from gateways import kafka_topics
from schemas.envelope import decode
from schemas.events import DeadlinePassed
from schemas.failures import Unavailable
from schemas.topics import Topic

pytestmark = pytest.mark.integration


@pytest.fixture
def topic(kafka: str) -> Topic:
    topic = Topic(f"test.{uuid4().hex}", (DeadlinePassed,), "a test")
    assert kafka_topics.create(kafka, [topic]) == [topic.name]
    return topic


def event(number: int) -> DeadlinePassed:
    now = datetime.now(UTC)
    return DeadlinePassed(time=now, site="suwon", study_uid=f"1.2.{number}", hop="assemble", deadline=now)


def test_what_is_published_is_read_back_and_reading_ends_at_the_present_end(kafka, topic):
    producer = gateway.producer(kafka)
    sent = [event(number) for number in range(30)]
    for one in sent:
        gateway.publish(producer, topic.name, one)
    records = list(gateway.read(kafka, [topic.name]))
    assert {decode(record.headers, record.value).event_id for record in records} == {one.event_id for one in sent}
    assert list(gateway.read(kafka, [topic.name], start="end")) == []


def test_keys_are_placed_as_java_and_faust_place_them(kafka, topic):
    producer = gateway.producer(kafka)
    for number in range(50):
        gateway.publish(producer, topic.name, event(number))
    for record in gateway.read(kafka, [topic.name]):
        assert record.partition == (murmur2(record.key) & 0x7FFFFFFF) % topic.partitions


def test_following_goes_on_past_the_end(kafka, topic):
    producer = gateway.producer(kafka)
    gateway.publish(producer, topic.name, event(1))
    following = gateway.read(kafka, [topic.name], follow=True)
    (first,) = islice(following, 1)
    gateway.publish(producer, topic.name, event(2))
    (second,) = islice(following, 1)
    following.close()
    assert first.key != second.key


def test_a_topic_that_is_not_there_is_named(kafka):
    with pytest.raises(Unavailable, match=r"has no topic nobodys\.topic"):
        list(gateway.read(kafka, ["nobodys.topic"]))


def test_differences_name_what_is_absent_and_what_is_otherwise(kafka, topic):
    assert kafka_topics.differences(kafka, [topic]) == []
    wanted = Topic(topic.name, (), "", partitions=24, config={"retention.ms": "1"})
    absent = Topic("test.absent", (), "")
    found = kafka_topics.differences(kafka, [wanted, absent])
    assert {(difference.topic, difference.what) for difference in found} == {
        (topic.name, "partitions"),
        (topic.name, "retention.ms"),
        ("test.absent", "topic"),
    }


def test_creating_again_changes_nothing(kafka, topic):
    assert kafka_topics.create(kafka, [topic]) == []
