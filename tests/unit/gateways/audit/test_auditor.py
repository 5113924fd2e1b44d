"""The writer as a process: what it does where its clients hang, and where topics come."""

import os
from pathlib import Path
from threading import Event
from typing import Any, Final

import pytest

from gateways.audit import auditor as module
from gateways.audit.auditor import Auditor
from gateways.audit.settings import AuditSettings
from gateways.audit.source import Source
from gateways.audit.transaction import Calls, Transactions
from gateways.kafka import Place
from tests.unit.gateways.audit.examples import Consumer

STEPS: Final[Place] = ("triage.steps", 0)


class Sink:
    """A transactional producer of which one call hangs until ``released``."""

    def __init__(self, hanging: str) -> None:
        self.released = Event()
        self._hanging = hanging

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.released.wait(10) if name == self._hanging else None


class Trail:
    """Takes up, and meanwhile a topic may come; then it appends nothing."""

    def __init__(self, consumer: Consumer, coming: dict[Place, int]) -> None:
        self.unnoted = frozenset[str]()
        self.asked = 0
        self.begun: list[frozenset[Place]] = []
        self._consumer, self._coming = consumer, coming

    def take_up(self, _bootstrap: str, source: Source) -> None:
        source.begin(dict.fromkeys(source.committed(), 0), {})
        self.begun.append(source.places)
        self._consumer.offsets |= self._coming

    def append(self, *_: object) -> None:
        """Nothing has come; it is not asked for ever."""
        self.asked += 1
        assert self.asked < 20

    def note(self, _names: object) -> None:
        """No head waits."""


def auditor(folder: Path, consumer: Consumer, sink: object = None) -> Auditor:
    topics = ["triage.steps", "triage.results"]
    made: Any = Auditor
    return made(
        AuditSettings(),
        folder / "audit",
        folder / "keys" / "audit.pem",
        "nowhere",
        topics,
        ["suwon"],
        lambda *_: "",
        list,
        lambda: consumer,
        lambda: sink,
    )


@pytest.mark.parametrize("hanging", ["init_transactions", "close"])
def test_a_call_that_does_not_come_back_ends_the_process(tmp_path, monkeypatch, hanging):
    """Whichever it is: before the first transaction, or at the end of the last."""
    told: list[int] = []
    exited = Event()
    sink, consumer = Sink(hanging), Consumer({STEPS: 0})
    monkeypatch.setattr(module, "_HUNG_S", 0.05)
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    monkeypatch.setattr(os, "_exit", lambda code: (told.append(code), exited.set()))
    ours = auditor(tmp_path, consumer, sink)
    if hanging == "close":
        monkeypatch.setattr(consumer, "close", sink.close)
        monkeypatch.setattr(consumer, "list_topics", lambda timeout: 1 / 0)
        ours._trail = Trail(consumer, {})  # type: ignore[assignment]

    ours.start()
    assert exited.wait(10)
    assert told == [1]
    sink.released.set()
    ours.stop()


def test_the_time_of_a_call_is_its_own_and_not_that_of_the_broker_that_is_away():
    calls, sink = Calls(), Sink("commit_transaction")
    transactions = Transactions(sink, calls)  # type: ignore[arg-type]

    transactions.open()
    assert calls.lasted_s() == 0
    with pytest.raises(ZeroDivisionError):
        calls.call(lambda: 1 // 0)
    assert calls.lasted_s() == 0


def test_a_topic_that_comes_while_the_chains_are_taken_up_is_read_too(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_S", 0.0)
    consumer, come = Consumer({STEPS: 0}), ("triage.results", 0)
    ours = auditor(tmp_path, consumer)
    trail = Trail(consumer, {come: 0})
    ours._trail = trail  # type: ignore[assignment]

    ours._work()
    consumer.offsets[STEPS] = 0
    ours._stopping.set()
    ours._work()

    assert trail.begun == [{STEPS}, {STEPS, come}]
