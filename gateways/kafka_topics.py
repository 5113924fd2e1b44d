"""The topics of a broker: which there are, where they are not as declared, and mending that. Never deletes.

Clients are held in variables until their answers are there: one that is gone gives up its requests.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from gateways import kafka
from gateways.kafka import ANSWER_SECONDS, metadata
from schemas.failures import Unavailable
from schemas.topics import Topic


@dataclass(frozen=True)
class TopicDifference:
    """Where the broker's topic is not as declared. ``actual`` is None where it does not exist there."""

    topic: str
    what: str
    declared: str
    actual: str | None


def names(bootstrap: str) -> frozenset[str]:
    """Names of the topics on a broker, without those Kafka keeps for itself.

    Raises :class:`schemas.failures.Unavailable` where the broker does not answer.
    """
    topics = metadata(kafka.admin(bootstrap), bootstrap)
    return frozenset(name for name in topics if not name.startswith("__"))


def ids(admin: AdminClient, topics: Collection[str]) -> dict[str, str]:
    """The id of each of these topics: one that is deleted and made anew has another.

    Raises :class:`schemas.failures.Unavailable` where the broker does not answer, or has not all of them.
    """
    if not topics:
        return {}
    try:
        answers = admin.describe_topics(TopicCollection(list(topics)), request_timeout=ANSWER_SECONDS)
        return {name: str(answer.result().topic_id) for name, answer in answers.items()}
    except KafkaException as error:
        raise Unavailable(f"Kafka does not say which topics it has: {error.args[0].str()}") from error


def configure(bootstrap: str, topics: Iterable[Topic]) -> None:
    """Give existing topics their declared settings; other settings and the partitions stay as they are.

    Raises :class:`schemas.failures.Unavailable` where the broker refuses or does not answer.
    """
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            topic.name,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in topic.settings.items()
            ],
        )
        for topic in topics
    ]
    if not resources:
        return
    admin = kafka.admin(bootstrap)
    answers = admin.incremental_alter_configs(resources, request_timeout=ANSWER_SECONDS)
    for resource, answer in answers.items():
        try:
            answer.result()
        except KafkaException as error:
            reason = error.args[0].str()
            raise Unavailable(f"Kafka at {bootstrap} did not configure {resource.name}: {reason}") from error


def differences(bootstrap: str, declared: Iterable[Topic]) -> list[TopicDifference]:
    """Where the broker's topics are not as declared: absent, other partition counts, other settings.

    Raises :class:`Unavailable` where the broker does not answer.
    """
    admin = kafka.admin(bootstrap)
    known = metadata(admin, bootstrap)
    found = []
    for topic in declared:
        if topic.name not in known:
            found.append(TopicDifference(topic.name, "topic", f"{topic.partitions} partitions", None))
            continue
        partitions = len(known[topic.name].partitions)
        if partitions != topic.partitions:
            found.append(TopicDifference(topic.name, "partitions", str(topic.partitions), str(partitions)))
        actual = _settings(admin, bootstrap, topic.name)
        found += [
            TopicDifference(topic.name, name, value, actual.get(name))
            for name, value in topic.settings.items()
            if actual.get(name) != value
        ]
    return found


def create(bootstrap: str, declared: Iterable[Topic], replication_factor: int = -1) -> list[str]:
    """Create the declared topics that are absent and return their names; existing ones are left as they are.

    ``replication_factor`` -1 leaves it to the broker. Raises :class:`Unavailable` where the broker refuses.
    """
    admin = kafka.admin(bootstrap)
    known = metadata(admin, bootstrap)
    absent = [topic for topic in declared if topic.name not in known]
    if not absent:
        return []
    requests = [NewTopic(t.name, t.partitions, replication_factor, config=t.settings) for t in absent]
    for name, answer in admin.create_topics(requests, operation_timeout=ANSWER_SECONDS).items():
        try:
            answer.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Unavailable(f"Kafka at {bootstrap} did not create {name}: {error.args[0].str()}") from error
    return [topic.name for topic in absent]


def _settings(admin: AdminClient, bootstrap: str, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        entries = admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()
    except KafkaException as error:
        raise Unavailable(f"Kafka at {bootstrap}: {topic}: {error.args[0].str()}") from error
    return {name: entry.value for name, entry in entries.items()}
