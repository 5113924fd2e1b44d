"""Lag, read from the broker by a client of its own: what watches a worker must not depend on the worker's machinery."""

from collections.abc import Collection

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.watchdog import Partition, Position


class BrokerAwayError(RuntimeError):
    """The broker did not answer in time."""


class GroupLag:
    """Positions of a consumer group. Reads only: it never joins the group."""

    def __init__(self, bootstrap_servers: str, group: str, *, timeout_s: float = 5.0) -> None:
        self._timeout_s = timeout_s
        self._client = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": group,
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )

    def read(self, partitions: Collection[Partition]) -> dict[Partition, Position]:
        """How far the group is in these partitions; the broker is asked even if there are none.

        Raises :class:`BrokerAwayError`.
        """
        wanted = [TopicPartition(*partition) for partition in partitions]
        try:
            self._client.list_topics(timeout=self._timeout_s)
            committed = self._client.committed(wanted, timeout=self._timeout_s) if wanted else []
            return {Partition(tp.topic, tp.partition): self._position(tp) for tp in committed}
        except KafkaException as error:
            raise BrokerAwayError(error.args[0].str()) from None

    def _position(self, committed: TopicPartition) -> Position:
        if committed.error is not None:
            raise KafkaException(committed.error)
        start, end = self._client.get_watermark_offsets(committed, timeout=self._timeout_s)
        # What was deleted before the group came to it is not lag. Where nobody has committed yet, all there is is.
        return Position(max(committed.offset, start), end)

    def close(self) -> None:
        """Close the client."""
        self._client.close()
