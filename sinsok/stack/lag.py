"""How far the stream processes are behind: committed offsets against the ends of their topics, asked of the broker."""

from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

GROUPS = {f"streams-{hop}": f"sinsok-{hop}" for hop in ("assemble", "infer", "alert")}
"""Consumer group of each stream process."""


def consumer_lag(bootstrap_servers: str, groups: Iterable[str], *, timeout_s: float = 5.0) -> dict[str, int]:
    """Records not yet committed, by group; where a broker is away, nothing.

    What a group reads is asked of its commits. In the other partitions of those topics it has all to do; a group that
    never committed anywhere has no entry.
    """
    lag: dict[str, int] = {}
    for group in groups:
        # It asks in the group's name and never joins it: nothing is subscribed.
        consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group, "log_level": 0})
        try:
            topics = consumer.list_topics(timeout=timeout_s).topics
            places = [TopicPartition(topic, number) for topic in topics for number in topics[topic].partitions]
            committed = [place for place in consumer.committed(places, timeout=timeout_s) if place.offset >= 0]
            if committed:
                lag[group] = sum(
                    consumer.get_watermark_offsets(place, timeout=timeout_s)[1] - place.offset for place in committed
                )
        except KafkaException:
            continue
        finally:
            consumer.close()
    return lag
