"""How long nothing was heard, and when that is an alarm."""

from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.watch.settings import Quiet, WatchSettings
from gateways.watch.silence import Silence, expected_s, silences, too_long
from schemas.alarms import AlarmKind
from tests.unit.streams.examples import at

SEOUL = ZoneInfo("Asia/Seoul")
NIGHT = Quiet(begin=time(22), end=time(7))
WEEKEND = Quiet(begin=time(0), end=time(0), days=("sat", "sun"))


def seoul(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-{text}").replace(tzinfo=SEOUL)


@pytest.mark.parametrize(
    ("since", "now", "hours"),
    [
        ("04T20:00", "04T21:00", 1.0),
        ("04T21:00", "05T03:00", 1.0),
        ("04T23:00", "05T06:59", 0.0),
        ("04T23:00", "05T08:00", 1.0),
        ("04T12:00", "06T12:00", 30.0),
        ("06T21:00", "09T09:00", 3.0),  # a whole weekend
    ],
)
def test_hours_in_which_silence_is_normal_do_not_count(since: str, now: str, hours: float) -> None:
    assert expected_s(seoul(since), seoul(now), [NIGHT, WEEKEND], SEOUL) == pytest.approx(3600 * hours)


@given(begin=st.floats(0, 1e6), length=st.floats(0, 1e6), more=st.floats(0, 1e6))
def test_it_never_runs_backwards_and_never_faster_than_time(begin: float, length: float, more: float) -> None:
    quiet = [NIGHT, WEEKEND, Quiet(begin=time(6), end=time(8))]
    shorter = expected_s(at(begin), at(begin + length), quiet, SEOUL)
    longer = expected_s(at(begin), at(begin + length + more), quiet, SEOUL)
    assert 0 <= shorter <= longer + 1e-3
    assert longer - shorter <= more + 1e-3


def found(heard: dict[tuple[str, str], datetime], now: datetime, **settings: Any) -> dict[tuple[str, str], Silence]:
    watch = WatchSettings(**settings)
    return {(one.site, one.scanner): one for one in silences(heard, ["suwon", "icheon"], watch, at(0), now, SEOUL)}


def test_a_site_is_as_silent_as_the_scanner_that_spoke_last() -> None:
    heard = {("suwon", "CT1"): at(100), ("suwon", "CT2"): at(900), ("elsewhere", "CT1"): at(950)}
    one = found(heard, at(1000), site_silent_after_s=50, sites={"suwon": 99})
    assert set(one) == {("suwon", ""), ("icheon", "")}, "no scanner is watched unless it is said"
    assert one["suwon", ""] == Silence("suwon", "", at(900), heard=True, seconds=100, limit_s=99)
    assert one["icheon", ""] == Silence("icheon", "", at(0), heard=False, seconds=1000, limit_s=50)
    alarms = {alarm.key.subject: alarm for alarm in too_long(one.values())}
    assert {alarm.key.kind for alarm in alarms.values()} == {AlarmKind.SITE_SILENT}
    assert (alarms["suwon"].since, alarms["icheon"].since) == (at(900), at(0))
    assert "suwon: no image since 2026-03-01 03:15:00 UTC" in alarms["suwon"].detail
    assert "icheon: never an image; watched since 2026-03-01 03:00:00 UTC" in alarms["icheon"].detail


def test_a_scanner_is_watched_once_it_was_seen_or_is_named() -> None:
    heard = {("suwon", "CT1"): at(100), ("suwon", "MR"): at(100)}
    named = found(heard, at(1000), scanners={"suwon/CT1": 800, "icheon/CT9": 950})
    watched = {where for where in named if where[1]}
    assert watched == {("suwon", "CT1"), ("icheon", "CT9")}
    assert not named["icheon", "CT9"].heard
    assert [alarm.key.subject for alarm in too_long(named.values())] == ["icheon/CT9", "suwon/CT1"]
    every = found(heard, at(1000), scanner_silent_after_s=800, scanners={"suwon/MR": float("inf")})
    assert [alarm.key.subject for alarm in too_long(every.values())] == ["suwon/CT1"], "inf: never an alarm"


def test_exactly_as_long_as_allowed_is_no_alarm() -> None:
    assert not [*too_long(found({("suwon", "CT1"): at(0)}, at(7200)).values())]
