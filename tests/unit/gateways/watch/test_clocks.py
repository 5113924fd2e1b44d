"""Clocks against ours: what is certain, and what the way there may explain."""

from collections.abc import Iterator

import pytest

from gateways.health import HealthServer
from gateways.watch.clocks import Clock, Clocks, read, skewed
from schemas.alarms import AlarmKind
from tests.unit.streams.examples import at


def test_half_of_the_round_trip_is_uncertain() -> None:
    assert read("console", 105.0, 100.0, 104.0) == Clock("console", 3.0, 2.0)
    assert read("console", 95.0, 100.0, 100.0) == Clock("console", -5.0, 0.0)


def test_only_what_is_certain_is_an_alarm() -> None:
    told = [
        Clock("near", 1.9, 0.0),
        Clock("slow answer", 4.0, 2.0),
        Clock("ahead", 2.5, 0.1),
        Clock("behind", -7.0, 0.5),
    ]
    found = {alarm.key.subject: alarm for alarm in skewed(told, 2.0, at(0))}
    assert set(found) == {"ahead", "behind"}
    assert found["ahead"].key.kind is AlarmKind.CLOCK_SKEW
    assert "the clock of ahead is 2.5 s ahead of the watcher's" in found["ahead"].detail
    assert "the clock of behind is 7.0 s behind the watcher's" in found["behind"].detail


@pytest.fixture
def server() -> Iterator[HealthServer]:
    with HealthServer("127.0.0.1", 0, alive=list, ready=list) as server:
        yield server


def test_every_process_tells_its_clock(server: HealthServer) -> None:
    asked = Clocks({"console": server.address, "notifier": "127.0.0.1:1"})
    told = asked.look()
    assert told["notifier"] is None
    assert told["console"] is not None
    assert abs(told["console"].ahead_s) <= told["console"].uncertain_s + 0.001
    asked.close()


def test_nobody_to_ask() -> None:
    assert Clocks({}).look() == {}
