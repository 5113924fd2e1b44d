from gateways.delivery.breaker import Breaker


def test_pauses_double_up_to_the_longest_and_begin_again_after_an_answer() -> None:
    breaker = Breaker(first_s=1.0, longest_s=5.0)
    assert breaker.closed
    assert [breaker.failed(100.0) - 100.0 for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert not breaker.closed
    breaker.answered()
    assert breaker.closed
    assert breaker.open_until == 0.0
    assert breaker.failed(100.0) == 101.0


def test_a_year_of_failures_overflows_nothing() -> None:
    breaker = Breaker(first_s=1.0, longest_s=60.0, failures=500_000)
    assert breaker.failed(0.0) == 60.0
