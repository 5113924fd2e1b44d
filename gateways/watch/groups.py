"""Consumer groups, as the broker has them: who reads, how far they are, and how far the topics reach."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from gateways.kafka import ANSWER_SECONDS, admin
from schemas.failures import Unavailable

_CHANGELOG: Final = "-changelog"
"""Tables are restored from such topics (schemas/topics.py): a group is assigned them and commits nothing there."""


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True)
class Group:
    """A consumer group at a moment. Offsets are those of the next record."""

    members: int
    committed: Mapping[Place, int]
    ends: Mapping[Place, int]

    @property
    def waiting(self) -> int:
        """Records that it has not committed."""
        return sum(end - self.committed[place] for place, end in self.ends.items())

    def has_reached(self, ends: Mapping[Place, int]) -> bool:
        """Whether it has committed up to these; what it no longer reads counts as done."""
        return all(self.committed.get(place, end) >= end for place, end in ends.items())


class Groups:
    """Asks the broker. It joins no group and changes nothing."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._admin = admin(bootstrap)

    def look(self, names: Iterable[str]) -> dict[str, Group]:
        """How the groups are. One that does not exist has no members and has nothing to read.

        What a group reads is what it is assigned and what it has committed. Raises :class:`Unavailable` where the
        broker does not answer.
        """
        names = list(names)
        try:
            described = _results(self._admin.describe_consumer_groups(names, request_timeout=ANSWER_SECONDS))
            read = {name: self._committed(name) for name in names}
            for name, group in described.items():
                assigned = {Place(one.topic, one.partition) for one in _assigned(group)}
                read[name] = dict.fromkeys(assigned, -1) | read[name]
            places = {place for committed in read.values() for place in committed}
            starts, ends = self._offsets(places, OffsetSpec.earliest()), self._offsets(places, OffsetSpec.latest())
        except KafkaException as error:
            # One that has seen a broker die in a bad moment may time out for ever; a new one does not.
            self._admin = admin(self._bootstrap)
            raise Unavailable(f"Kafka at {self._bootstrap} does not tell of groups: {error.args[0].str()}") from error
        return {
            name: Group(
                len(described[name].members),
                # What was deleted before the group came to it is not waiting for it.
                {place: min(max(offset, starts[place]), ends[place]) for place, offset in committed.items()},
                {place: ends[place] for place in committed},
            )
            for name, committed in read.items()
        }

    def _committed(self, name: str) -> dict[Place, int]:
        asked = self._admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(name)], request_timeout=ANSWER_SECONDS
        )
        found = _results(asked)[name].topic_partitions
        return {Place(one.topic, one.partition): int(one.offset) for one in found if not one.topic.endswith(_CHANGELOG)}

    def _offsets(self, places: Iterable[Place], which: OffsetSpec) -> dict[Place, int]:
        wanted = {TopicPartition(*place): which for place in places}
        if not wanted:
            return {}
        found = self._admin.list_offsets(wanted, request_timeout=ANSWER_SECONDS)
        return {Place(one.topic, one.partition): int(answer.result().offset) for one, answer in found.items()}


def _assigned(group: Any) -> list[Any]:
    return [
        one
        for member in group.members
        if member.assignment is not None
        for one in member.assignment.topic_partitions
        if not one.topic.endswith(_CHANGELOG)
    ]


def _results(answers: Mapping[str, "Future[Any]"]) -> dict[str, Any]:
    return {name: answer.result() for name, answer in answers.items()}
