"""Running test hops as processes against a real broker, and asking the broker what came of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.base import Event
from schemas.envelope import encode
from schemas.topics import DEAD_LETTERS, DEADLINES, STEPS, STUDIES, Topic, alerts, changelog, topic_of
from streams.settings import StreamSettings
from tests.stack import wait_until

T = TypeVar("T")
CHECKOUT = Path(__file__).parents[2]


class Record(NamedTuple):
    """What stands on a topic."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    partition: int = -1

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.value or b"null")


def make_topics(bootstrap: str, topics: Iterable[Topic]) -> None:
    """Create topics as they are declared; those that are there already stay."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    there = admin.list_topics(timeout=120).topics
    new = [NewTopic(t.name, t.partitions, 1, config=t.settings) for t in topics if t.name not in there]
    for created in (admin.create_topics(new) if new else {}).values():
        created.result()


def make_test_topics(bootstrap: str, site: str) -> None:
    """Every topic the test hops of a site need."""
    states = changelog(f"sinsok-collect-{site}", "studies")
    make_topics(bootstrap, (STUDIES, DEADLINES, STEPS, DEAD_LETTERS, alerts(site), states))


class Sender:
    """Sends events and bytes as the gateways do: idempotent, with Java's partitioner."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "message.max.bytes": 8_000_000,
                "log_level": 0,
            }
        )

    def send(self, *events: Event) -> None:
        """Return when the broker has them."""
        self.queue(*events)
        self.flush()

    def queue(self, *events: Event) -> None:
        for event in events:
            message = encode(event)
            self._producer.produce(topic_of(event), message.value, message.key, headers=message.headers)
        self._producer.poll(0)

    def send_bytes(self, topic: str, record: Record, partition: int = -1) -> None:
        self._producer.produce(topic, record.value, record.key, partition, headers=list(record.headers))

    def flush(self) -> None:
        assert self._producer.flush(60) == 0


def read_all(bootstrap: str, topic: str) -> list[Record]:
    """All that stands on a topic now."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    try:
        partitions = consumer.list_topics(topic, timeout=120).topics[topic].partitions
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=120)[1] for p in partitions}
        consumer.assign([TopicPartition(topic, p, 0) for p in ends])
        left = {p for p, end in ends.items() if end > 0}
        records = []
        while left:
            message = consumer.poll(5)
            assert message is not None, f"{topic} did not reach its end"
            assert message.error() is None, message.error()
            records.append(Record(message.key(), message.value(), tuple(message.headers() or ()), message.partition()))
            if message.offset() + 1 >= ends[message.partition()]:
                left.discard(message.partition())
        return records
    except KafkaException as error:
        raise AssertionError(f"{topic} cannot be read yet: {error}") from None
    finally:
        consumer.close()


def answers(bootstrap: str, site: str, said: str) -> list[tuple[str, int]]:
    """Study and number of every answer of a site's test hops."""
    events = [record.event for record in read_all(bootstrap, alerts(site).name)]
    return [(event["study_uid"], event["revision"]) for event in events if event["reason"] == said]


class ShellProcess:
    """A test hop in a process of its own."""

    def __init__(self, hop: str, site: str, bootstrap: str, datadir: Path, *flags: str, **settings: Any) -> None:
        datadir.mkdir(parents=True, exist_ok=True)
        self.datadir = datadir
        self.log = datadir / "worker.log"
        quick = {"session_timeout_s": 6.0, "grace_s": 20.0, "retry_first_s": 0.1, "retry_cap_s": 0.5} | settings
        chosen = StreamSettings(bootstrap_servers=bootstrap, datadir=datadir, **quick)
        self._command = [sys.executable, "-m", "tests.integration.hops", hop, site, *flags]
        self._command += ["--settings", chosen.model_dump_json()]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, cwd=CHECKOUT, env=dict(os.environ), stdout=output, stderr=output
            )
        return self

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = 180) -> int:
        """The exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def joined(self) -> None:
        """Complain while no partition has been assigned to the process."""
        assert any("partitions assigned" in line for line in self.said()), f"{self.log} has not joined"

    def health(self) -> str:
        """The complaints of the process, one a line."""
        return (self.datadir / "health").read_text()

    def said(self) -> Sequence[str]:
        return self.log.read_text(errors="replace").splitlines()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def eventually(check: Callable[[], T], seconds: float = 300) -> T:
    """Repeat until it no longer raises AssertionError; its last complaint after so many seconds."""
    return wait_until(check, seconds=seconds, every_s=0.3)
