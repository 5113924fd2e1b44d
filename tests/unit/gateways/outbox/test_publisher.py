import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from gateways.outbox import publisher as outbox
from gateways.outbox.database import OutboxDatabase
from gateways.outbox.publisher import OutboxPublisher
from schemas.envelope import Message


class Broker:
    """Takes messages, unless it is away (they wait) or refuses (they fail)."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.away = False
        self.refusals = 0
        self.limit = 1000
        self.poison = b"poison"
        self.connections = 0

    def connect(self) -> "FakeProducer":
        self.connections += 1
        return FakeProducer(self)


class FakeProducer:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queue: list[tuple[bytes, Callable]] = []

    def produce(self, topic: str, key: bytes, value: bytes, headers: object, on_delivery: Callable) -> None:
        if len(value) > self._broker.limit:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        self._queue.append((value, on_delivery))

    def flush(self, timeout: float) -> int:
        if self._broker.away:
            time.sleep(0.01)
            return len(self._queue)
        poisoned = any(value == self._broker.poison for value, _ in self._queue)  # a batch is refused as a whole
        for value, on_delivery in self._queue:
            if poisoned:
                on_delivery(KafkaError(KafkaError.INVALID_RECORD), None)
            elif self._broker.refusals:
                self._broker.refusals -= 1
                on_delivery(KafkaError(KafkaError._MSG_TIMED_OUT), None)
            else:
                self._broker.taken.append(value)
                on_delivery(None, None)
        self._queue.clear()
        return 0

    def purge(self) -> None:
        self._queue.clear()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[OutboxDatabase]:
    journal = OutboxDatabase(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def publisher(journal: OutboxDatabase, broker: Broker, monkeypatch) -> Iterator[OutboxPublisher]:
    monkeypatch.setattr(outbox, "_LONGEST_PAUSE_S", 0.01)
    publisher = OutboxPublisher(journal, broker.connect)
    yield publisher
    if publisher.alive:
        publisher.stop(0)


def post(journal: OutboxDatabase, *values: bytes) -> None:
    with journal.transaction():
        for value in values:
            journal.post("t", Message(b"k", [("ce_id", b"1"), ("ce_time", b"12:00:00")], value), time.time())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def empty(journal: OutboxDatabase) -> bool:
    return journal.outbox_state() == (0, None)


def test_events_go_out_in_order_and_leave_the_journal(journal, broker, publisher):
    post(journal, b"1", b"2")
    publisher.start()
    post(journal, b"3")
    until(lambda: empty(journal))
    assert broker.taken == [b"1", b"2", b"3"]


def test_headers_survive_the_journal(journal):
    post(journal, b"1")
    (row,) = journal.outbox(10)
    assert row.message.headers == [("ce_id", b"1"), ("ce_time", b"12:00:00")]


def test_events_wait_while_the_broker_is_away(journal, broker, publisher):
    broker.away = True
    publisher.start()
    post(journal, b"1", b"2")
    until(lambda: broker.connections == 1)
    assert journal.outbox_state()[0] == 2
    broker.away = False
    until(lambda: empty(journal))
    assert broker.taken == [b"1", b"2"]


def test_what_the_broker_refused_is_sent_again_by_a_new_producer(journal, broker, publisher):
    broker.refusals = 2
    post(journal, b"1", b"2", b"3")
    publisher.start()
    until(lambda: empty(journal))
    assert set(broker.taken) == {b"1", b"2", b"3"}
    assert broker.connections == 2


def test_a_stop_with_the_broker_away_ends_and_keeps_the_events(journal, broker, publisher):
    broker.away = True
    publisher.start()
    post(journal, b"1")
    publisher.stop(grace_s=0.05)
    assert not publisher.alive
    assert journal.outbox_state()[0] == 1


@pytest.mark.parametrize("never", [b"x" * 1001, b"poison"])
def test_what_the_broker_will_never_take_is_kept_aside_and_holds_up_nothing(journal, broker, publisher, never):
    post(journal, b"1", never, b"2")
    publisher.start()
    until(lambda: empty(journal))
    post(journal, b"3")
    until(lambda: empty(journal))
    assert broker.taken == [b"1", b"2", b"3"]
    assert journal.rejected() == 1
    assert broker.connections == 1


def test_what_is_kept_aside_is_kept_whole(journal, tmp_path):
    post(journal, b"1", b"2")
    first, _ = journal.outbox(10)
    journal.reject(first.id, "too large")
    assert [row.message.value for row in journal.outbox(10)] == [b"2"]
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        assert db.execute("SELECT topic, key, value, reason FROM rejected").fetchall() == [
            ("t", b"k", b"1", "too large")
        ]
    db.close()
