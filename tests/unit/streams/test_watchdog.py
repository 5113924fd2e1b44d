"""Who stands still with work waiting is stuck; who is idle, moving, excused or new is not."""

from streams.watchdog import Partition, Position, Watchdog

HERE = Partition("triage.studies", 3)


def test_standing_still_with_lag_is_noticed_after_the_limit() -> None:
    dog = Watchdog(10)
    assert dog.look(0, {HERE: Position(5, 9)}) == {}
    assert dog.look(9, {HERE: Position(5, 11)}) == {}
    assert dog.look(10, {HERE: Position(5, 12)}) == {HERE: 10}


def test_any_commit_starts_the_time_again() -> None:
    dog = Watchdog(10)
    dog.look(0, {HERE: Position(5, 9)})
    dog.look(8, {HERE: Position(6, 9)})
    assert dog.look(17, {HERE: Position(6, 9)}) == {}
    assert dog.look(18, {HERE: Position(6, 9)}) == {HERE: 10}


def test_an_idle_partition_is_never_stuck() -> None:
    dog = Watchdog(10)
    dog.look(0, {HERE: Position(9, 9)})
    dog.look(1000, {HERE: Position(9, 9)})
    assert dog.look(1005, {HERE: Position(9, 10)}) == {}, "the time starts when there is work"


def test_waiting_for_a_port_is_excused() -> None:
    dog = Watchdog(10)
    dog.look(0, {HERE: Position(5, 9)})
    assert dog.look(50, {HERE: Position(5, 9)}, excused={HERE}) == {}
    assert dog.look(59, {HERE: Position(5, 9)}) == {}
    assert dog.look(60, {HERE: Position(5, 9)}) == {HERE: 10}


def test_a_partition_that_was_elsewhere_starts_afresh() -> None:
    dog = Watchdog(10)
    dog.look(0, {HERE: Position(5, 9)})
    dog.look(5, {})
    assert dog.look(12, {HERE: Position(5, 9)}) == {}


def test_an_outage_is_held_against_nobody() -> None:
    dog = Watchdog(10)
    dog.look(0, {HERE: Position(5, 9)})
    dog.forget()
    assert dog.look(100, {HERE: Position(5, 9)}) == {}


def test_lag_is_never_negative() -> None:
    assert Position(12, 9).lag == 0
