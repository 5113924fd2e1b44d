"""How far the stream processes are behind: committed offsets against the ends of their topics, asked of the broker."""

from collections.abc import Iterable, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.topics import DEADLINES, DICOM_SERIES, RESULTS, STUDIES, Topic, alerts
from sinsok.stack.processes import HOPS

GROUPS: Final = {f"streams-{hop}": f"sinsok-{hop}" for hop in HOPS}
"""Consumer group of each stream process."""


def reads(sites: Iterable[str]) -> dict[str, tuple[Topic, ...]]:
    """What each consumer group reads; a test holds it against the pipeline."""
    return {
        "sinsok-assemble": (DICOM_SERIES, DEADLINES),
        "sinsok-infer": (STUDIES,),
        "sinsok-confirm": (STUDIES,),
        "sinsok-alert": (RESULTS, DEADLINES),
        "sinsok-escalate": (*(alerts(site) for site in sorted(sites)), DEADLINES),
    }


def consumer_lag(
    bootstrap_servers: str, groups: Mapping[str, Iterable[Topic]], *, timeout_s: float = 5.0
) -> dict[str, int]:
    """Records not yet committed, by group. A group whose topics are missing, or a broker that is away, has no entry.

    Where a group never committed, all that is there waits for it.
    """
    lag: dict[str, int] = {}
    for group, topics in groups.items():
        # It asks in the group's name and never joins it: nothing is subscribed.
        consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group, "log_level": 0})
        try:
            there = consumer.list_topics(timeout=timeout_s).topics
            places = [
                TopicPartition(topic.name, number)
                for topic in topics
                if topic.name in there
                for number in there[topic.name].partitions
            ]
            if places:
                committed = consumer.committed(places, timeout=timeout_s)
                lag[group] = sum(_behind(consumer, place, timeout_s) for place in committed)
        except KafkaException:
            continue
        finally:
            consumer.close()
    return lag


def _behind(consumer: Consumer, committed: TopicPartition, timeout_s: float) -> int:
    start, end = consumer.get_watermark_offsets(committed, timeout=timeout_s)
    return max(int(end) - max(int(committed.offset), int(start)), 0)
