"""What a person hears of topics that are not read: nothing that keeps them unread may look like quiet."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import Counter

from gateways.inbox import Inbox
from gateways.metrics import UNREAD_SECONDS
from schemas.envelope import encode
from tests.stack import wait_until
from tests.unit.gateways.alerts.examples import paged

UNDECODABLE = Counter("test_undecodable", "Of a test")


class Record:
    def __init__(self) -> None:
        self._message = encode(paged())

    def error(self) -> None:
        return None

    def headers(self) -> Any:
        return self._message.headers

    def value(self) -> bytes:
        return self._message.value


class Reader:
    """A consumer that does as it is told: ``polled`` answers each poll, ``partitions`` are those it was given."""

    def __init__(self) -> None:
        self.partitions = ["alerts.suwon/0"]
        self.polled: Callable[[], Record | None] = lambda: None
        self.polls = self.commits = 0

    def subscribe(self, topics: list[str]) -> None:
        pass

    def poll(self, timeout_s: float) -> Record | None:
        time.sleep(0.001)
        self.polls += 1
        return self.polled()

    def consume(self, number: int, timeout: float) -> list[Record]:
        return []

    def assignment(self) -> list[str]:
        return self.partitions

    def commit(self, asynchronous: bool) -> None:
        self.commits += 1
        self.polled = lambda: None

    def close(self) -> None:
        pass


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Office:
    def __init__(self) -> None:
        self.reader, self.clock, self.full = Reader(), Clock(), False
        connect: Any = lambda: self.reader  # noqa: E731
        self.inbox = Inbox(connect, ["a"], self.take, what="alerts", undecodable=UNDECODABLE, clock=self.clock)

    def take(self, events: object) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")

    def polls(self, more: int) -> None:
        """Wait until it has polled so often again."""
        enough = self.reader.polls + more

        def polled() -> None:
            assert self.reader.polls >= enough

        wait_until(polled, seconds=120, every_s=0.01)

    def says(self, *complaint: str) -> None:
        def said() -> None:
            assert [line.partition("UTC: ")[2] for line in self.inbox.complaints()] == list(complaint)

        wait_until(said, seconds=120, every_s=0.01)


@pytest.fixture
def office() -> Iterator[Office]:
    office = Office()
    office.inbox.start()
    yield office
    office.inbox.stop()


def failing(code: int) -> Callable[[], Record | None]:
    def poll() -> None:
        raise KafkaException(KafkaError(code, "the broker says no"))

    return poll


def test_while_there_is_nothing_to_read_all_is_well(office: Office) -> None:
    office.clock.now = 3600.0
    office.says()


def test_a_start_has_its_time_and_then_without_partitions_it_is_deaf(office: Office) -> None:
    office.reader.partitions = []
    office.clock.now = 20.0
    office.polls(20)
    office.says()
    office.clock.now = 31.0
    office.says("Kafka does not answer, or another reader has the partitions")
    office.inbox.measure()
    assert UNREAD_SECONDS.labels("alerts")._value.get() == 31.0
    office.reader.partitions = ["alerts.suwon/0"]
    office.says()


@pytest.mark.parametrize("code", [KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.FENCED_INSTANCE_ID])
def test_what_kafka_refuses_is_said_at_once(office: Office, code: int) -> None:
    office.reader.polled = failing(code)
    office.polls(1)
    (line,) = office.inbox.complaints()
    assert line.startswith("alerts not read since ")
    assert "the broker says no" in line


def test_what_cannot_be_noted_is_said_until_it_is_noted(office: Office) -> None:
    def on_its_way() -> Record | None:
        """A reader that has just come has its partitions before the first record."""
        return Record() if office.reader.polls % 4 == 0 else None

    office.full = True
    office.reader.polled = on_its_way
    office.says("database or disk is full")
    office.clock.now = 50.0
    office.polls(6)
    office.says("database or disk is full")
    office.inbox.measure()
    assert UNREAD_SECONDS.labels("alerts")._value.get() == 50.0
    office.full = False
    office.says()
    assert office.reader.commits == 1
