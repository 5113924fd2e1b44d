"""The topics a broker has, and their settings, where those of the declared ones must be put right."""

import logging
from collections.abc import Iterable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from gateways.kafka import ANSWER_SECONDS
from schemas.failures import Unavailable
from schemas.topics import Topic


def names(bootstrap: str) -> frozenset[str]:
    """Names of the topics on a broker, without those Kafka keeps for itself.

    Raises :class:`schemas.failures.Unavailable` where the broker does not answer.
    """
    try:
        topics = _admin(bootstrap).list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise Unavailable(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from error
    return frozenset(name for name in topics if not name.startswith("__"))


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
    admin = _admin(bootstrap)  # held, for a client that is gone gives up its requests
    answers = admin.incremental_alter_configs(resources, request_timeout=ANSWER_SECONDS)
    for resource, answer in answers.items():
        try:
            answer.result()
        except KafkaException as error:
            reason = error.args[0].str()
            raise Unavailable(f"Kafka at {bootstrap} did not configure {resource.name}: {reason}") from error


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "logger": logging.getLogger("librdkafka")})
