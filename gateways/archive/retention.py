"""What the broker may let go of: records that are old enough, stand in the archive, and were read by all their readers.

The topics are kept for ever as far as the broker is concerned; this is the only one who drops anything.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Final

import structlog
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from gateways import kafka_topics
from gateways.archive.store import WHAT_TO_DO, SegmentStore
from gateways.kafka import ANSWER_SECONDS, Place
from schemas.audit import INSTALLATION, Origin, RecordsDropped
from schemas.base import utc
from schemas.failures import Unavailable, Unreadable

log = structlog.get_logger()
_DAY_S: Final = timedelta(days=1).total_seconds()
_LONGEST_S: Final = 10.0
"""A pass reads segments for so long: nothing is archived meanwhile. The next goes on."""


class Retention:
    """Lets the broker drop what is older than ``days`` of each topic. ``announce`` publishes an event."""

    def __init__(
        self,
        admin: AdminClient,
        store: SegmentStore,
        days: Mapping[str, float],
        announce: Callable[[RecordsDropped], None],
    ) -> None:
        self._admin = admin
        self._store = store
        self._days = days
        self._announce = announce
        self._said: dict[Place, int] = {}

    def apply(self, places: Iterable[Place], now: float) -> list[str]:
        """Drop what may go of these partitions; ``now`` is in seconds since the epoch.

        What is old enough and may not go is returned, one line each. Raises :class:`Unavailable` where that holds for
        everything.
        """
        begins = self._begins(places)
        old = {place: end for place, low in begins.items() if (end := self._old_enough(place, low, now)) > low}
        if not old:
            return []
        read, ids = self._committed(), self._topic_ids({topic for topic, _ in old})
        complaints: list[str] = []
        until = time.monotonic() + _LONGEST_S
        for place, end in old.items():
            low = begins[place]
            slowest, group = min(read.get(place, []), default=(end, ""))
            if slowest < end:
                complaints.append(
                    f"{_named(place)}: records before {end} are old enough to go, and group {group} has read only those"
                    f" before {slowest}"
                )
            sound, faults = self._sound(place, ids[place[0]], low, min(end, slowest), until)
            complaints += faults
            if sound > low:
                complaints += self._drop(place, sound, now)
            if time.monotonic() >= until:
                break
        return complaints

    def _begins(self, places: Iterable[Place]) -> dict[Place, int]:
        """First offsets on the broker. One request for all: a consumer that is fetching would wait for each."""
        asked = {TopicPartition(*place): OffsetSpec.earliest() for place in places}
        if not asked:
            return {}
        try:
            answers = self._admin.list_offsets(asked, request_timeout=ANSWER_SECONDS)
            return {(one.topic, one.partition): int(answer.result().offset) for one, answer in answers.items()}
        except KafkaException as error:
            raise Unavailable(f"Kafka does not say where topics begin: {error.args[0].str()}") from error

    def _old_enough(self, place: Place, low: int, now: float) -> int:
        """The offset before which all records are archived and old enough to go."""
        horizon_ms = (now - self._days[place[0]] * _DAY_S) * 1000
        end = low
        for segment in self._store.segments(place, low):
            if segment.first > end or segment.latest_ms >= horizon_ms:
                break
            end = segment.next
        return end

    def _committed(self) -> dict[Place, list[tuple[int, str]]]:
        """How far each consumer group of the cluster has come, by partition."""
        read: dict[Place, list[tuple[int, str]]] = {}
        try:
            groups = self._admin.list_consumer_groups(request_timeout=ANSWER_SECONDS).result()
            if groups.errors:
                raise groups.errors[0]
            for name in (group.group_id for group in groups.valid):
                asked = self._admin.list_consumer_group_offsets(
                    [ConsumerGroupTopicPartitions(name)], request_timeout=ANSWER_SECONDS
                )
                for one in asked[name].result().topic_partitions:
                    if one.offset >= 0:
                        read.setdefault((one.topic, one.partition), []).append((one.offset, name))
        except KafkaException as error:
            raise Unavailable(
                f"Kafka does not say what its consumer groups have read: {error.args[0].str()}"
            ) from error
        return read

    def _topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        return kafka_topics.ids(self._admin, topics)

    def _sound(self, place: Place, topic_id: str, low: int, end: int, until: float) -> tuple[int, list[str]]:
        """As far as the segments, read once more, are whole; and what is wrong with the first that is not.

        At least one is read, and none is begun when the monotonic clock has come to ``until``.
        """
        sound = low
        try:
            beginning = self._store.beginning(place)
            if beginning is None or beginning.topic_id != topic_id:
                return low, [f"{_named(place)}: nothing may go, the archive is not known to be of this topic"]
            for segment in self._store.segments(place, low):
                if segment.first >= end:
                    break
                segment.verify()
                sound = min(segment.next, end)
                if time.monotonic() >= until:
                    break
        except (Unreadable, Unavailable) as error:
            return sound, [f"{_named(place)}: nothing from {sound} on may go: {error}; {WHAT_TO_DO}"]
        return sound, []

    def _drop(self, place: Place, end: int, now: float) -> list[str]:
        """Have the broker drop what stands before ``end``; one line where it refuses."""
        # Said before it is done: what a crash leaves undone is done a few minutes later. The other way round, records
        # would be gone of which nobody was told.
        if self._said.get(place) != end:  # what is refused is tried again and again
            before = Origin(topic=place[0], partition=place[1], offset=end)
            self._announce(RecordsDropped(time=utc(now), site=INSTALLATION, by="archiver", before=before))
            self._said[place] = end
        try:
            self._delete(place, end)
        except Unavailable as error:
            return [str(error)]
        log.info("records dropped from the broker", topic=place[0], partition=place[1], before=end)
        return []

    def _delete(self, place: Place, end: int) -> None:
        target = TopicPartition(*place, end)
        try:
            self._admin.delete_records([target], request_timeout=ANSWER_SECONDS)[target].result()
        except KafkaException as error:
            raise Unavailable(f"Kafka did not drop records of {_named(place)}: {error.args[0].str()}") from error


def _named(place: Place) -> str:
    return f"{place[0]}/{place[1]}"
