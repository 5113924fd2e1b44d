"""What the broker may let go of: records that are old enough, stand in the archive, and were read by all their readers.

The topics are kept for ever as far as the broker is concerned; this is the only one who drops anything.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final

import structlog
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from gateways.archive.store import SegmentStore
from gateways.kafka import ANSWER_SECONDS, Place
from schemas.audit import INSTALLATION, Origin, RecordsDropped
from schemas.base import utc
from schemas.failures import Unavailable, Unreadable

log = structlog.get_logger()
_DAY_S: Final = timedelta(days=1).total_seconds()


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

    def apply(self, places: Iterable[Place], now: float) -> list[str]:
        """Drop what may go of these partitions; ``now`` is in seconds since the epoch.

        What is old enough and may not go is returned, one line each. Raises :class:`Unavailable`.
        """
        complaints: list[str] = []
        read: dict[Place, list[tuple[int, str]]] | None = None
        for place, low in self._begins(places).items():
            end = self._old_enough(place, low, now)
            if end <= low:
                continue
            read = self._committed() if read is None else read
            slowest, group = min(read.get(place, []), default=(end, ""))
            if slowest < end:
                complaints.append(
                    f"{_named(place)}: records before {end} are old enough to go, and group {group} has read only those"
                    f" before {slowest}"
                )
            end, damage = self._sound(place, low, min(end, slowest))
            complaints += damage
            if end > low:
                self._drop(place, end, now)
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

    def _sound(self, place: Place, low: int, end: int) -> tuple[int, list[str]]:
        """As far as the segments, read once more, are whole; and what is wrong with the first that is not."""
        for segment in self._store.segments(place, low):
            if segment.first >= end:
                break
            try:
                segment.verify()
            except Unreadable as error:
                return segment.first, [f"{_named(place)}: nothing from {segment.first} on may go: {error}"]
        return end, []

    def _drop(self, place: Place, end: int, now: float) -> None:
        # Said before it is done: what a crash leaves undone is done a few minutes later. The other way round, records
        # would be gone of which nobody was told.
        before = Origin(topic=place[0], partition=place[1], offset=end)
        self._announce(RecordsDropped(time=utc(now), site=INSTALLATION, by="archiver", before=before))
        self._delete(place, end)
        log.info("records dropped from the broker", topic=place[0], partition=place[1], before=end)

    def _delete(self, place: Place, end: int) -> None:
        target = TopicPartition(*place, end)
        try:
            self._admin.delete_records([target], request_timeout=ANSWER_SECONDS)[target].result()
        except KafkaException as error:
            raise Unavailable(f"Kafka did not drop records of {_named(place)}: {error.args[0].str()}") from error


def _named(place: Place) -> str:
    return f"{place[0]}/{place[1]}"
