"""What is noted of events: pages once, budgets, and that what is over does not go out."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from gateways.alerts.budget import Budget
from gateways.alerts.intake import Intake
from gateways.alerts.ledger import Ledger, State
from schemas.base import Event
from schemas.envelope import decode
from schemas.events import Priority
from schemas.identity import derived_id
from schemas.paging import AlertAcknowledged, AlertDeferred, AlertDismissed, AlertPaged, AlertUndelivered, PageReason
from tests.unit.gateways.alerts.examples import BEGAN, paged, withdrawn
from tests.unit.streams.examples import STUDY, at

BUDGET = Budget(2, frozenset({Priority.STAT}), "Asia/Seoul", (time(7), time(18)))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def take(ledger: Ledger, *events: Event, now: float = BEGAN, budget: Budget = BUDGET) -> list[tuple[str, str]]:
    """Whom it wakes."""
    woken: list[tuple[str, str]] = []

    def connect() -> None:
        raise AssertionError

    intake = Intake(
        ledger,
        connect,
        {"suwon": {"kim", "lee"}},
        {"suwon": budget},
        lambda *one: woken.append(one),  # type: ignore[arg-type]
    )
    intake.take(events, now)
    return sorted(woken)


def said(ledger: Ledger) -> list[Event]:
    return [decode(row.message.headers, row.message.value) for row in ledger.outbox(100)]


def urgent(alert: int, **changes: object) -> AlertPaged:
    return paged(alert, priority=Priority.URGENT, **changes)


def test_a_page_is_owed_once_to_each_recipient_however_often_it_is_read(ledger: Ledger) -> None:
    page = paged(recipients=("kim", "lee"))
    assert take(ledger, page, page) == [("suwon", "kim"), ("suwon", "lee")]
    assert take(ledger, page) == []
    assert ledger.states() == {f"{page.alert_id}/1/kim": State.WAITING, f"{page.alert_id}/1/lee": State.WAITING}
    take(ledger, paged(attempt=2))
    assert len(ledger.states()) == 3


def test_a_page_that_ended_is_not_opened_by_reading_it_again(ledger: Ledger) -> None:
    take(ledger, paged())
    owed = ledger.due("suwon", "kim", BEGAN)
    assert owed is not None
    ledger.arrived(owed, "kim", "webhook", "HTTP 200", BEGAN)
    take(ledger, paged())
    assert list(ledger.states().values()) == [State.DELIVERED]
    assert len(said(ledger)) == 1


def test_a_recipient_who_is_not_configured_is_said_to_be_undelivered_and_the_others_are_told(ledger: Ledger) -> None:
    page = paged(recipients=("kim", "nobody"))
    take(ledger, page)
    (event,) = said(ledger)
    assert isinstance(event, AlertUndelivered)
    assert (event.recipient, event.attempt, event.reason) == ("nobody", 1, "no such recipient is configured")
    assert ledger.due("suwon", "kim", BEGAN) is not None


@pytest.mark.parametrize("ending", ["withdrawn", "acknowledged", "dismissed"])
def test_what_is_over_before_it_was_sent_is_not_sent(ledger: Ledger, ending: str) -> None:
    about = {"time": at(1), "site": "suwon", "study_uid": STUDY, "alert_id": derived_id("alert", 1), "revision": 1}
    events = {
        "withdrawn": withdrawn(),
        "acknowledged": AlertAcknowledged(**about, by="lee"),  # type: ignore[arg-type]
        "dismissed": AlertDismissed(**about, by="lee", reason="old"),  # type: ignore[arg-type]
    }
    take(ledger, paged(), paged(2), events[ending])
    assert list(ledger.states().values()) == [State.OVER, State.WAITING]
    assert said(ledger) == []


def test_a_page_behind_its_withdrawal_is_not_sent(ledger: Ledger) -> None:
    take(ledger, withdrawn(), paged(attempt=2))
    assert list(ledger.states().values()) == [State.OVER]


def test_who_may_have_been_told_hears_of_the_withdrawal_once(ledger: Ledger) -> None:
    take(ledger, paged(recipients=("kim", "lee")))
    owed = ledger.due("suwon", "kim", BEGAN)
    assert owed is not None
    assert ledger.trying(owed)
    assert take(ledger, withdrawn(), withdrawn()) == [("suwon", "kim")]
    assert take(ledger, withdrawn()) == []
    assert [key for key, state in ledger.states().items() if state is State.WAITING] == [
        f"{derived_id('alert', 1)}/withdrawn/kim"
    ]
    assert not ledger.trying(owed)


def test_an_answer_that_comes_after_the_withdrawal_is_still_true(ledger: Ledger) -> None:
    take(ledger, paged())
    owed = ledger.due("suwon", "kim", BEGAN)
    assert owed is not None
    ledger.trying(owed)
    take(ledger, withdrawn())
    ledger.undelivered(owed, "kim", "late", BEGAN)
    assert said(ledger) == []
    ledger.arrived(owed, "kim", "webhook", "HTTP 200", BEGAN)
    assert [event.TYPE for event in said(ledger)] == ["sinsok.AlertDelivered.v1"]


def test_where_another_alert_took_over_nobody_hears_of_the_withdrawal(ledger: Ledger) -> None:
    take(ledger, paged())
    owed = ledger.due("suwon", "kim", BEGAN)
    assert owed is not None
    ledger.trying(owed)
    assert take(ledger, withdrawn(replaced_by=derived_id("alert", 2))) == []


def test_pages_beyond_the_budget_of_a_chain_and_day_wait_for_the_digest(ledger: Ledger) -> None:
    take(ledger, urgent(1), urgent(2), urgent(3), urgent(4, chain="day"), paged(5))
    assert list(ledger.states().values()) == [
        State.WAITING,
        State.WAITING,
        State.DEFERRED,
        State.WAITING,  # the digest
        State.WAITING,
        State.WAITING,
    ]
    (event,) = said(ledger)
    assert isinstance(event, AlertDeferred)
    assert event.attempt == 1
    assert event.until == datetime(2026, 3, 1, 9, 0, tzinfo=UTC)  # noon in Seoul: the next is at 18:00
    take(ledger, urgent(3))
    assert len(said(ledger)) == 1


def test_another_local_day_has_another_budget(ledger: Ledger) -> None:
    late = datetime(2026, 3, 1, 14, 59, tzinfo=UTC)
    take(ledger, urgent(1, time=late), urgent(2, time=late), urgent(3, time=late + timedelta(minutes=1)))
    assert set(ledger.states().values()) == {State.WAITING}


def test_an_alert_is_held_back_once_and_what_a_person_handed_on_never(ledger: Ledger) -> None:
    take(ledger, urgent(1), urgent(2), urgent(3))
    take(ledger, urgent(3, attempt=2, why=PageReason.DEFERRED), urgent(4, attempt=2, why=PageReason.ESCALATED))
    assert len(said(ledger)) == 1


def test_a_digest_tells_of_what_is_still_open(ledger: Ledger) -> None:
    take(ledger, urgent(1), urgent(2), urgent(3), urgent(4), urgent(5))
    take(ledger, withdrawn(4))
    due = datetime(2026, 3, 1, 9, 0, tzinfo=UTC).timestamp()
    for alert in (1, 2):
        owed = ledger.due("suwon", "kim", BEGAN)
        assert owed is not None
        ledger.arrived(owed, "kim", "webhook", str(alert), BEGAN)
    assert ledger.due("suwon", "kim", due - 1) is None
    digest = ledger.due("suwon", "kim", due)
    assert digest is not None
    assert [page.alert_id for page in ledger.deferred(digest)] == [derived_id("alert", 3), derived_id("alert", 5)]
    assert ledger.trying(digest)
    assert take(ledger, withdrawn(3)) == [("suwon", "kim")]


def test_what_ended_long_ago_is_forgotten(ledger: Ledger) -> None:
    take(ledger, paged(1), paged(2), withdrawn(1))
    assert ledger.forget(BEGAN + 1) == 1
    assert list(ledger.states().values()) == [State.WAITING]
    assert ledger.forget(BEGAN + 61) == 1


@pytest.mark.parametrize(
    ("after", "next_at"),
    [("06:59", "2026-03-01 07:00"), ("07:00", "2026-03-01 18:00"), ("18:00", "2026-03-02 07:00")],
)
def test_the_next_digest_is_in_the_time_of_the_site(after: str, next_at: str) -> None:
    local = datetime.fromisoformat(f"2026-03-01 {after}+09:00")
    assert BUDGET.next_digest(local) == datetime.fromisoformat(f"{next_at}+09:00")
