"""The notifier as a whole, while nobody answers it: what it says of itself, and what it does every day."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from gateways.alerts import notifier
from gateways.alerts.courier import Courier, Way
from gateways.alerts.ledger import Ledger
from gateways.alerts.notifier import Notifier
from gateways.delivery.breaker import Breaker
from gateways.kafka import producer
from tests.stack import wait_until
from tests.unit.gateways.alerts.examples import Obedient, wording

Start = Callable[[], Notifier]


class Reachable(Obedient):
    def reach(self) -> bool:
        return True


@pytest.fixture
def way() -> Way:
    return Way("smtp", Reachable(), Breaker(0.01, 0.01))


@pytest.fixture
def start(tmp_path: Path, way: Way) -> Iterator[Start]:
    running: list[Notifier] = []

    def couriers(ledger: Ledger) -> list[Courier]:
        return [Courier("suwon", "kim", ledger, wording(), [way])]

    def refused() -> None:
        raise KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "not allowed to read"))

    def begin() -> Notifier:
        source, sink = refused, (lambda: producer("127.0.0.1:1"))
        ours = Notifier(90, tmp_path, ["suwon"], {}, couriers, source, sink)  # type: ignore[arg-type]
        ours.start()
        running.append(ours)
        return ours

    yield begin
    for ours in running:
        ours.stop()


def test_a_notifier_that_may_not_read_is_not_ready(start: Start) -> None:
    ours = start()

    def deaf() -> None:
        (line,) = ours.health()
        assert "not allowed to read" in line

    wait_until(deaf, seconds=120)
    assert ours.deaths() == []


def test_it_forgets_every_day_and_asks_channels_that_are_away(
    start: Start, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[float] = []
    monkeypatch.setattr(notifier, "_WATCH_S", 0.01)
    monkeypatch.setattr(notifier, "_DAY_S", 0.05)
    monkeypatch.setattr(Ledger, "forget", lambda _, before: forgotten.append(before) or 0)  # type: ignore[func-returns-value]
    way.breaker.failed()
    start()

    def done() -> None:
        assert len(forgotten) > 2
        assert way.breaker.closed

    wait_until(done, seconds=120)
