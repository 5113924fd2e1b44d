"""Channel after channel, until one has it: what is tried when, and what is said of it."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateways import metrics
from gateways.alerts.channel import Kind, Message, Shut
from gateways.alerts.courier import Courier, Way
from gateways.alerts.ledger import Ledger, State
from gateways.alerts.wording import Wording
from gateways.delivery.breaker import Breaker
from schemas.base import Event
from schemas.envelope import decode
from schemas.events import Priority
from schemas.failures import Refused, Unavailable
from schemas.paging import AlertDelivered, AlertPaged, AlertUndelivered
from tests.unit.gateways.alerts.examples import BEGAN, Obedient, paged, states, withdrawn, wording
from tests.unit.streams.examples import at

AWAY, NO, SHUT = Unavailable("HTTP 503"), Refused("HTTP 400"), Shut("HTTP 401")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


class Clock:
    """Stands still until it is set."""

    now = BEGAN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def courier(ledger: Ledger, clock: Clock, *channels: Obedient) -> Courier:
    ways = [Way(f"way-{number}", channel, Breaker(1.0, 30.0, clock)) for number, channel in enumerate(channels, 1)]
    return Courier("suwon", "kim", ledger, wording(), ways, clock)


def owe(ledger: Ledger, *pages: AlertPaged) -> None:
    with ledger.transaction():
        for page in pages:
            ledger.owe(page, "kim", BEGAN, None)


def said(ledger: Ledger) -> Sequence[Event]:
    return [decode(row.message.headers, row.message.value) for row in ledger.outbox(100)]


def test_the_preferred_channel_has_it(ledger: Ledger, clock: Clock) -> None:
    first, second = Obedient("HTTP 202"), Obedient()
    page = paged()
    owe(ledger, page)
    ours = courier(ledger, clock, first, second)
    assert ours.work()
    assert not ours.work()
    (event,) = said(ledger)
    assert isinstance(event, AlertDelivered)
    assert (event.alert_id, event.attempt, event.recipient) == (page.alert_id, 1, "kim")
    assert (event.channel, event.answer) == ("way-1", "HTTP 202")
    assert [message.key for message in first.sent] == [f"{page.alert_id}/1/kim"]
    assert second.sent == []


@pytest.mark.parametrize("failure", [AWAY, NO, SHUT, ValueError("a fault of ours")])
def test_the_next_channel_is_used_at_once(ledger: Ledger, clock: Clock, failure: Exception) -> None:
    first, second = Obedient(failure), Obedient()
    owe(ledger, paged())
    courier(ledger, clock, first, second).work()
    (event,) = said(ledger)
    assert isinstance(event, AlertDelivered)
    assert event.channel == "way-2"


def test_a_channel_that_is_away_is_left_alone_and_asked_again_later(ledger: Ledger, clock: Clock) -> None:
    first, second = Obedient(AWAY), Obedient()
    owe(ledger, paged(1), paged(2), paged(3))
    ours = courier(ledger, clock, first, second)
    ours.work()
    ours.work()
    assert (len(first.sent), len(second.sent)) == (1, 2)
    clock.now += 2.0
    ours.work()
    assert (len(first.sent), len(second.sent)) == (2, 2)
    assert ours.complaints() == []


def test_a_refusal_is_of_the_page_and_not_of_the_channel(ledger: Ledger, clock: Clock) -> None:
    first, second = Obedient(NO), Obedient()
    owe(ledger, paged(1), paged(2))
    ours = courier(ledger, clock, first, second)
    ours.work()
    ours.work()
    assert (len(first.sent), len(second.sent)) == (2, 1)


def test_that_a_channel_refused_the_last_message_is_said_until_it_takes_one(ledger: Ledger, clock: Clock) -> None:
    owe(ledger, paged(1), paged(2))
    ours = courier(ledger, clock, Obedient(NO), Obedient())
    ours.work()
    assert ours.complaints() == ["suwon/kim: way-1 refused the last message: HTTP 400"]
    ours.work()
    assert ours.complaints() == []


def test_a_channel_that_lets_nothing_in_is_away_and_said_though_another_one_answers(
    ledger: Ledger, clock: Clock
) -> None:
    first, second = Obedient(SHUT), Obedient()
    owe(ledger, paged(1), paged(2), paged(3))
    ours = courier(ledger, clock, first, second)
    ours.work()
    ours.work()
    assert (len(first.sent), len(second.sent)) == (1, 2)
    assert ours.complaints() == ["suwon/kim: way-1 lets no message in: HTTP 401"]
    assert away(ours) == [1.0, 0.0]
    clock.now += 2.0
    ours.work()
    assert (ours.complaints(), away(ours)) == ([], [0.0, 0.0])


def away(courier: Courier) -> list[float]:
    """What the gauge says of its channels."""
    courier.measure()
    return [metrics.CHANNEL_AWAY.labels(f"suwon/kim/{way.name}")._value.get() for way in courier.ways]


class Reachable(Obedient):
    """Can be asked without a message; ``there`` says whether it answers."""

    there = False

    def reach(self) -> bool:
        self.reached += 1
        if not self.there:
            raise AWAY
        return True


def test_a_channel_that_is_away_is_asked_without_a_message_where_it_can_be(ledger: Ledger, clock: Clock) -> None:
    hook, server = Obedient(AWAY), Reachable(AWAY)
    owe(ledger, paged())
    ours = courier(ledger, clock, hook, server)
    assert not ours.probe()
    ours.work()
    assert not ours.probe(), "a pause is kept"
    clock.now += 1.0
    assert ours.probe()
    assert not ours.probe(), "the next pause is longer"
    assert (server.reached, away(ours)) == (1, [1.0, 1.0])
    server.there = True
    clock.now += 2.0
    assert ours.probe()
    assert (server.reached, away(ours)) == (2, [1.0, 0.0])
    assert not ours.probe()
    assert (len(hook.sent), len(server.sent)) == (1, 1)


def test_where_every_channel_refuses_it_is_undelivered_at_once(ledger: Ledger, clock: Clock) -> None:
    owe(ledger, paged())
    courier(ledger, clock, Obedient(NO), Obedient(Refused("550 5.1.1"))).work()
    (event,) = said(ledger)
    assert isinstance(event, AlertUndelivered)
    assert event.reason == "way-1: HTTP 400; way-2: 550 5.1.1"


def test_it_is_tried_again_until_it_has_to_be_delivered_and_then_given_up(ledger: Ledger, clock: Clock) -> None:
    page = paged()
    channel = Obedient(*[AWAY] * 20)
    owe(ledger, page)
    ours = courier(ledger, clock, channel)
    while not said(ledger):
        due = ledger.next_due_at("suwon", "kim")
        assert due is not None
        assert due <= page.deliver_by.timestamp()
        clock.now = max(clock.now, due)
        ours.work()
    (event,) = said(ledger)
    assert isinstance(event, AlertUndelivered)
    assert event.reason == "not delivered in time; way-1: HTTP 503"
    assert ours.complaints() == ["suwon/kim cannot be reached: way-1: HTTP 503"]
    tries = len(channel.sent)
    clock.now += 60.0
    ours.work()
    assert len(channel.sent) == tries
    assert {message.key for message in channel.sent} == {f"{page.alert_id}/1/kim"}


def test_a_refused_channel_is_not_tried_again_with_the_one_that_was_away(ledger: Ledger, clock: Clock) -> None:
    first, second = Obedient(NO), Obedient(AWAY)
    owe(ledger, paged())
    ours = courier(ledger, clock, first, second)
    ours.work()
    clock.now += 2.0
    ours.work()
    assert (len(first.sent), len(second.sent)) == (1, 2)
    assert isinstance(said(ledger)[0], AlertDelivered)


def test_a_page_that_comes_too_late_is_not_sent(ledger: Ledger, clock: Clock) -> None:
    channel = Obedient()
    owe(ledger, paged())
    clock.now += 60.0
    courier(ledger, clock, channel).work()
    assert channel.sent == []
    (event,) = said(ledger)
    assert isinstance(event, AlertUndelivered)
    assert (event.reason, event.tried) == ("not delivered in time", False)


def test_that_a_page_was_tried_in_vain_is_said(ledger: Ledger, clock: Clock) -> None:
    owe(ledger, paged())
    ours = courier(ledger, clock, Obedient(AWAY))
    ours.work()
    clock.now += 60.0
    ours.work()
    (event,) = said(ledger)
    assert isinstance(event, AlertUndelivered)
    assert event.tried


def test_an_alert_that_ends_while_a_channel_hangs_goes_to_no_other(ledger: Ledger, clock: Clock) -> None:
    class Hanging(Obedient):
        def send(self, message: Message) -> str:
            with ledger.transaction():
                ledger.end_alert(withdrawn(), BEGAN)
            raise AWAY

    second = Obedient()
    owe(ledger, paged())
    assert courier(ledger, clock, Hanging(), second).work()
    assert (second.sent, said(ledger)) == ([], [])
    assert list(states(ledger).values()) == [State.OVER]


@pytest.mark.parametrize(
    ("column", "spoilt", "event"),
    [
        ("event", b"no JSON", False),
        ("event", b"\xff", False),
        ("event", b"[]", False),
        ("event", b'{"study_uid": "2.25.1", "revision": 1, "of": "another version"}', True),
        ("failures", "no JSON", True),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_row_that_cannot_be_read_holds_up_no_other(
    ledger: Ledger, clock: Clock, column: str, spoilt: bytes | str, event: bool, late: bool
) -> None:
    channel = Obedient()
    owe(ledger, paged(1), paged(2, deliver_by=at(600)))
    with ledger.transaction():
        ledger._db.execute(f"UPDATE owed SET {column} = ? WHERE id = 1", (spoilt,))
    ours = courier(ledger, clock, channel)
    clock.now += 60.0 * late
    while ours.work():
        pass
    assert list(states(ledger).values()) == [State.UNDELIVERED, State.DELIVERED]
    undelivered = [one for one in said(ledger) if isinstance(one, AlertUndelivered)]
    assert [(one.alert_id, one.attempt, one.recipient) for one in undelivered] == (
        [(paged(1).alert_id, 1, "kim")] if event else []
    )
    assert [message.alert_id for message in channel.sent] == [paged(2).alert_id]


def test_what_cannot_be_worded_is_said_to_be_undelivered_and_a_full_disk_ends_nothing(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    owe(ledger, paged())
    ours = courier(ledger, clock, Obedient())

    def fails(*_: object) -> None:
        raise failure

    monkeypatch.setattr(Wording, "page", fails)
    failure: Exception = sqlite3.OperationalError("database or disk is full")
    with pytest.raises(sqlite3.OperationalError):
        ours.work()
    assert list(states(ledger).values()) == [State.WAITING]
    failure = ZeroDivisionError()
    assert ours.work()
    (event,) = said(ledger)
    assert isinstance(event, AlertUndelivered)
    assert (event.reason, event.tried) == ("it cannot be told, a fault of ours: ZeroDivisionError", True)


def test_the_most_urgent_goes_first(ledger: Ledger, clock: Clock) -> None:
    channel = Obedient()
    owe(ledger, paged(1, priority=Priority.URGENT), paged(2), paged(3))
    ours = courier(ledger, clock, channel)
    while ours.work():
        pass
    assert [str(message.facts["priority"]) for message in channel.sent] == ["stat", "stat", "urgent"]


def test_a_crash_before_the_answer_was_noted_sends_the_same_message_again(
    ledger: Ledger, clock: Clock, tmp_path: Path
) -> None:
    class Dying(Obedient):
        def send(self, message: Message) -> str:
            super().send(message)
            raise KeyboardInterrupt

    before, after = Dying(), Obedient()
    owe(ledger, paged())
    with pytest.raises(KeyboardInterrupt):
        courier(ledger, clock, before).work()
    again = Ledger(tmp_path / "ledger.sqlite")  # the first is not closed
    courier(again, clock, after).work()
    assert len(said(again)) == 1
    again.close()
    assert before.sent == after.sent


def test_a_withdrawal_follows_in_the_same_thread_and_is_no_event(ledger: Ledger, clock: Clock) -> None:
    channel = Obedient("HTTP 200", AWAY)
    owe(ledger, paged())
    ours = courier(ledger, clock, channel)
    ours.work()
    with ledger.transaction():
        ledger.withdraw(withdrawn(), clock.now)
    ours.work()
    clock.now += 2.0
    ours.work()
    page, first, second = channel.sent
    assert first == second
    assert first.kind is Kind.WITHDRAWAL
    assert first.thread == page.thread
    assert first.title.startswith("Withdrawn")
    assert [event.TYPE for event in said(ledger)] == ["sinsok.AlertDelivered.v1"]
    assert set(states(ledger).values()) == {State.DELIVERED}


def test_a_digest_whose_alerts_are_over_is_dropped(ledger: Ledger, clock: Clock) -> None:
    channel = Obedient()
    with ledger.transaction():
        ledger.defer(paged(1), BEGAN, BEGAN + 60.0, "too many")
        ledger.defer(paged(2), BEGAN, BEGAN + 120.0, "too many")
        ledger.withdraw(withdrawn(1), BEGAN)
    ours = courier(ledger, clock, channel)
    clock.now = BEGAN + 61.0
    assert ours.work()
    assert channel.sent == []
    clock.now = BEGAN + 121.0
    assert ours.work()
    (digest,) = channel.sent
    assert digest.title == "1 AI alerts were held back"
