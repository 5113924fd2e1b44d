import time

import pytest

from gateways.delivery.breaker import Breaker


def test_pauses_double_up_to_the_longest_and_begin_again_after_an_answer() -> None:
    now = 100.0
    breaker = Breaker(first_s=1.0, longest_s=5.0, clock=lambda: now)
    assert (breaker.closed, breaker.pause_s) == (True, 0.0)
    assert [breaker.failed() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert (breaker.closed, breaker.pause_s) == (False, 5.0)
    now = 103.0
    assert breaker.pause_s == 2.0
    now = 200.0
    assert (breaker.closed, breaker.pause_s) == (False, 0.0)
    breaker.answered()
    assert (breaker.closed, breaker.pause_s) == (True, 0.0)
    assert breaker.failed() == 1.0


def test_a_clock_that_is_set_back_prolongs_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = Breaker(first_s=1.0, longest_s=5.0)
    breaker.failed()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert breaker.pause_s <= 1.0


def test_a_year_of_failures_overflows_nothing() -> None:
    breaker = Breaker(first_s=1.0, longest_s=60.0, failures=500_000)
    assert breaker.failed() == 60.0
