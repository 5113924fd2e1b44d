"""Chains as the auditor writes them, without a broker."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from confluent_kafka import TopicPartition
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateways.audit.account import Account
from gateways.audit.chain import Chain
from gateways.audit.fault import Fault
from gateways.audit.head import Heads
from gateways.audit.keys import Signer, Verifier
from gateways.audit.source import Source
from gateways.audit.verification import TrailInspection
from gateways.kafka import Place, Record
from schemas.audit import Origin
from schemas.topics import AUDIT_TRAIL

AT: Final = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
SIGNER: Final = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER: Final = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
VERIFIER: Final = Verifier([SIGNER.public])


def told(number: int, what: str = "assemble: 1 events sent") -> Account:
    return Account(
        time=AT,
        type="sinsok.StepTaken.v1",
        event_id=None,
        study=f"{number:064x}",
        who="assemble",
        what=what,
        where=Origin(topic="triage.steps", partition=number % 12, offset=number),
        digest=f"sha256:{number:064x}",
    )


def on_topic(key: str, value: bytes, offset: int, partition: int = 1) -> Record:
    return Record(AUDIT_TRAIL.name, partition, offset, 0, key.encode(), [], value)


@dataclass
class Written:
    """A chain of ``records`` events with a checkpoint after every ``each``, on a partition of its own."""

    name: str
    records: int = 120
    each: int = 10
    partition: int = 1
    chain: Chain = field(init=False)
    values: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chain = Chain.begin(self.name)
        self.values.append(self.chain.checkpoint(SIGNER, AT).value)
        for number in range(self.records):
            self.values.append(self.chain.append(told(number, f"{self.name} {number}")).value)
            if len(self.chain.unsigned) == self.each:
                self.values.append(self.chain.checkpoint(SIGNER, AT).value)

    def on_topic(self, values: Sequence[bytes] | None = None) -> list[Record]:
        return [
            on_topic(self.name, value, 2 * at, self.partition)
            for at, value in enumerate(self.values if values is None else values)
        ]


def faults(folder: Path, chains: Sequence[Written], records: Sequence[Record]) -> list[Fault]:
    """What is found where these chains were written and these records stand."""
    return inspected(folder, chains, records, remember=False).finish()


def inspected(
    folder: Path, chains: Sequence[Written], records: Sequence[Record], *, remember: bool = True
) -> TrailInspection:
    """An inspection that has taken the records."""
    heads = Heads(folder)
    for one in chains:
        heads.write(one.chain.head(one.partition, 0), SIGNER)
    inspection = TrailInspection([one.name for one in chains], heads, VERIFIER, 10, remember=remember)
    for record in records:
        inspection.take(record)
    return inspection


class Consumer:
    """Partitions of event topics, and how far the broker says that they are audited; -1 where it has forgotten."""

    def __init__(self, committed: dict[Place, int]) -> None:
        self.offsets = committed
        self.assigned: dict[Place, int] = {}

    def list_topics(self, timeout: float) -> Any:
        topics: dict[str, Any] = {}
        for topic, number in self.offsets:
            topics.setdefault(topic, type("Topic", (), {"partitions": {}})).partitions[number] = None
        return type("Cluster", (), {"topics": topics})

    def committed(self, places: list[TopicPartition], _timeout: float) -> list[TopicPartition]:
        return [TopicPartition(one.topic, one.partition, self.offsets[one.topic, one.partition]) for one in places]

    def get_watermark_offsets(self, _place: TopicPartition, _timeout: float) -> tuple[int, int]:
        return 3, 100

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = {(one.topic, one.partition): one.offset for one in places}

    def consumer_group_metadata(self) -> None:
        return None

    def consume(self, _most: int, timeout: float) -> list[object]:
        assert timeout < 1
        return []

    def close(self) -> None:
        self.assigned = {}


def source(consumer: Consumer) -> Source:
    """Reads from it."""
    return Source(cast(Any, consumer), "nowhere", [topic for topic, _ in consumer.offsets])
