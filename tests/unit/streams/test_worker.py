"""The watchdog of a worker: whom it excuses, and what it says before it ends the process."""

import itertools
import time
from types import SimpleNamespace

import pytest

from streams import worker
from streams.settings import StreamSettings
from streams.watchdog import Partition, Position
from streams.worker import HopWorker

WAITING, BUSY, STILL = (Partition("triage.studies", number) for number in (1, 2, 3))


class Ended(BaseException):
    """What stands in for the end of the process."""


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> HopWorker:
    """A worker without a broker, whose process ends with :class:`Ended`."""

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(worker.os, "_exit", end)
    one = HopWorker.__new__(HopWorker)
    one.settings = StreamSettings(stalled_after_s=90, watch_s=5)
    one.hop = SimpleNamespace(name="infer")
    one._answered_at = lambda: 0.0
    one.agent = SimpleNamespace(waits={WAITING: (0.0, "away")}, busy={BUSY}, finished_at=time.monotonic())
    return one


def test_whoever_waits_for_its_turn_is_excused_while_the_process_gets_on(watched: HopWorker) -> None:
    assert watched._excused() == {WAITING, BUSY}
    watched.agent.finished_at -= 100
    assert watched._excused() == {WAITING}


def test_one_event_of_many_readings_is_excused_while_they_are_answered(watched: HopWorker) -> None:
    watched.agent.finished_at -= 1000
    watched._answered_at = lambda: time.monotonic() - 50
    assert watched._excused() == {WAITING, BUSY}


def test_it_complains_long_before_it_ends_the_process(watched: HopWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(0.0, 5.0)
    clock = [next(seconds)]
    heard: list[tuple[float, list[str]]] = []

    def sleep(_: float) -> None:
        heard.append((clock[0], watched._complaints))
        clock[0] = next(seconds)

    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    monkeypatch.setattr(
        worker, "GroupLag", lambda *_: SimpleNamespace(read=lambda _: {STILL: Position(committed=5, end=9)})
    )
    watched.agent = SimpleNamespace(waits={}, busy=set(), finished_at=0.0, steady=lambda: True)
    watched._watched = frozenset({STILL.topic})
    watched._complaints = []
    watched._assigned = lambda: [STILL]
    with pytest.raises(Ended) as end:
        watched._guarded_watch()
    assert end.value.args == (1,)
    complained = [at for at, complaints in heard if complaints]
    assert complained[0] < clock[0] - 45
    assert "stood still" in heard[-1][1][0]


def test_a_watchdog_that_fails_ends_the_process(watched: HopWorker) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    watched._watch = fail
    with pytest.raises(Ended):
        watched._guarded_watch()
