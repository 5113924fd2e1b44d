"""Which alarms begin and which are over, look after look."""

from datetime import timedelta

from gateways.watch.condition import REPEAT, Condition, Key, Standing, settle
from schemas.alarms import AlarmCleared, AlarmKind, AlarmRaised
from tests.unit.streams.examples import at

SILENT = Key("suwon", AlarmKind.SITE_SILENT, "suwon")
LAG = Key("sinsok", AlarmKind.LAG, "sinsok-infer")
EVERY = tuple(AlarmKind)


def silent(since: float = 0.0, **changes: object) -> Condition:
    return Condition(**{"key": SILENT, "since": at(since), "detail": "no image", "renews": True} | changes)  # type: ignore[arg-type]


def test_it_is_raised_once_and_cleared_once() -> None:
    standing, events = settle({}, [silent()], EVERY, (), at(10))
    (raised,) = events
    assert isinstance(raised, AlarmRaised)
    assert (raised.site, raised.kind, raised.subject, raised.since, raised.time) == (*SILENT, at(0), at(10))
    standing, events = settle(standing, [silent()], EVERY, (), at(20))
    assert events == []
    standing, events = settle(standing, [], EVERY, (), at(30))
    (cleared,) = events
    assert isinstance(cleared, AlarmCleared)
    assert (cleared.since, standing) == (at(0), {})


def test_who_starts_anew_says_the_same_event() -> None:
    """Without its memory the watcher raises what is the same event for everybody who knows it."""
    first, again = (settle({}, [silent()], EVERY, (), at(seconds)).events[0] for seconds in (10, 500))
    assert first.event_id == again.event_id


def test_another_silence_is_another_alarm() -> None:
    standing, _ = settle({}, [silent(0)], EVERY, (), at(10))
    standing, events = settle(standing, [silent(100)], EVERY, (), at(5000))
    assert [(type(event), event.since) for event in events] == [(AlarmCleared, at(0)), (AlarmRaised, at(100))]
    assert standing[SILENT].since == at(100)


def test_one_that_does_not_renew_keeps_its_beginning() -> None:
    standing, _ = settle({}, [Condition(LAG, at(0), "behind")], EVERY, (), at(10))
    standing, events = settle(standing, [Condition(LAG, at(60), "more behind")], EVERY, (), at(70))
    assert (events, standing[LAG].since, standing[LAG].detail) == ([], at(0), "more behind")


def test_nobody_is_told_before_it_has_lasted() -> None:
    nobody = Condition(LAG, at(0), "nobody reads", after_s=120)
    standing, events = settle({}, [nobody], EVERY, (), at(0))
    assert events == []
    later = Condition(LAG, at(119), "nobody reads", after_s=120)
    standing, events = settle(standing, [later], EVERY, (), at(119))
    assert events == []
    assert settle(standing, [], EVERY, (), at(119)) == ({}, [])
    standing, events = settle(standing, [later], EVERY, (), at(120))
    assert [(type(event), event.since) for event in events] == [(AlarmRaised, at(0))]


def test_what_was_not_looked_at_stands_as_it_stood() -> None:
    standing, _ = settle({}, [silent(), Condition(LAG, at(0), "behind")], EVERY, (), at(10))
    assert settle(standing, [], (), (), at(20)) == (standing, [])
    after, events = settle(standing, [], EVERY, (LAG,), at(20))
    assert (set(after), [type(event) for event in events]) == ({LAG}, [AlarmCleared])


def test_a_standing_alarm_is_said_again_every_day_as_the_same_event() -> None:
    standing, (first,) = settle({}, [silent()], EVERY, (), at(10))
    _, none = settle(standing, [silent()], EVERY, (), at(10) + REPEAT - timedelta(seconds=1))
    standing, (again,) = settle(standing, [silent(detail="still none")], EVERY, (), at(10) + REPEAT)
    assert none == []
    assert isinstance(again, AlarmRaised)
    assert (again.event_id, again.detail) == (first.event_id, "still none")
    assert standing[SILENT] == Standing(at(0), "still none", at(10) + REPEAT)
