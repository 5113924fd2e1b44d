"""A thread that no fault ends."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways import worker
from gateways.alerts.courier import Courier as AlertCourier
from gateways.alerts.courier import Way
from gateways.alerts.ledger import Ledger as AlertLedger
from gateways.delivery.breaker import Breaker
from gateways.delivery.courier import Courier
from gateways.delivery.ledger import Ledger
from schemas.failures import Unavailable
from tests.stack import wait_until
from tests.unit.gateways.alerts.examples import Obedient, wording


class Restless(Courier):
    """Its destination is away, and it cannot even let go of it."""

    def work(self, now: float) -> bool:
        raise Unavailable("away")

    def rest(self) -> None:
        if not self.stopping:
            raise OSError


class Idle(Courier):
    """Has nothing to do."""

    def work(self, now: float) -> bool:
        return False

    def rest(self) -> None:
        pass


class Failing:
    """A ledger whose disk fails."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, *_: object) -> None:
        if self.left:
            self.left -= 1
            raise sqlite3.OperationalError("disk I/O error")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_FAULT_PAUSE_S", 0.01)


@pytest.fixture(params=["delivery", "alerts"])
def courier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[worker.Worker, Failing]]:
    """One with nothing to do, whose ledger fails when it asks how long."""
    failing, breaker = Failing(3), Breaker(0.01, 0.01)
    ledger = AlertLedger(tmp_path / "a") if request.param == "alerts" else Ledger(tmp_path / "d")
    ledger.next_due_at = failing  # type: ignore[method-assign]
    ours: worker.Worker = (
        AlertCourier("suwon", "kim", ledger, wording(), [Way("webhook", Obedient(), breaker)])
        if isinstance(ledger, AlertLedger)
        else Idle("suwon/pacs", ledger, breaker)
    )
    yield ours, failing
    ledger.close()


def test_a_disk_that_fails_when_nothing_is_due_does_not_end_it(courier: tuple[worker.Worker, Failing]) -> None:
    ours, failing = courier
    ours.start()

    def failed() -> None:
        assert failing.left == 0

    wait_until(failed, seconds=120, every_s=0.01)
    assert ours.alive
    ours.stop()
    assert not ours.alive


def test_nor_does_a_connection_that_cannot_be_let_go(tmp_path: Path) -> None:
    breaker = Breaker(0.01, 0.01)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ours = Restless("suwon/pacs", ledger, breaker)
    ours.start()

    def asked_again() -> None:
        assert breaker.failures > 2

    wait_until(asked_again, seconds=120, every_s=0.01)
    assert ours.alive
    ours.stop()
    ledger.close()
