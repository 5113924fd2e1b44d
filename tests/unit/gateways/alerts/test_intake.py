"""What is noted of events: pages once, budgets, and that what is over does not go out."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from gateways.alerts.budget import Budget
from gateways.alerts.channel import Kind
from gateways.alerts.intake import Intake
from gateways.alerts.ledger import Ledger, State
from schemas.base import Event
from schemas.envelope import decode
from schemas.events import AlertWithdrawn, Priority
from schemas.identity import derived_id
from schemas.paging import (
    AlertAcknowledged,
    AlertClosed,
    AlertDeferred,
    AlertDismissed,
    AlertHandedOn,
    AlertPaged,
    AlertUndelivered,
    PageReason,
)
from tests.unit.gateways.alerts.examples import BEGAN, paged, states, withdrawn
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
        {"suwon": {"kim", "lee", "park"}},
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
    assert states(ledger) == {f"{page.alert_id}/1/kim": State.WAITING, f"{page.alert_id}/1/lee": State.WAITING}
    take(ledger, paged(attempt=2))
    assert len(states(ledger)) == 3


def test_a_page_that_ended_is_not_opened_by_reading_it_again(ledger: Ledger) -> None:
    take(ledger, paged())
    owed = ledger.due("suwon", "kim", BEGAN)
    assert owed is not None
    ledger.arrived(owed, "webhook", "HTTP 200", BEGAN)
    take(ledger, paged())
    assert list(states(ledger).values()) == [State.DELIVERED]
    assert len(said(ledger)) == 1


def test_a_recipient_who_is_not_configured_is_said_to_be_undelivered_and_the_others_are_told(ledger: Ledger) -> None:
    page = paged(recipients=("kim", "nobody"))
    take(ledger, page)
    (event,) = said(ledger)
    assert isinstance(event, AlertUndelivered)
    assert (event.recipient, event.attempt, event.reason) == ("nobody", 1, "no such recipient is configured")
    assert ledger.due("suwon", "kim", BEGAN) is not None


ABOUT: Any = {"time": at(1), "site": "suwon", "study_uid": STUDY, "alert_id": derived_id("alert", 1), "revision": 1}
ENDINGS = {
    "withdrawn": withdrawn(),
    "acknowledged": AlertAcknowledged(**ABOUT, by="lee"),
    "dismissed": AlertDismissed(**ABOUT, by="lee", reason="old"),
    "closed": AlertClosed(**ABOUT, reason="acknowledged"),
}


def handed_on(attempt: int = 1) -> AlertHandedOn:
    return AlertHandedOn(**ABOUT, by="lee", attempt=attempt)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_over_before_it_was_sent_is_not_sent(ledger: Ledger, ending: str) -> None:
    take(ledger, paged(), paged(2), ENDINGS[ending])
    assert list(states(ledger).values()) == [State.OVER, State.WAITING]
    assert said(ledger) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_page_behind_the_end_of_its_alert_is_not_sent(ledger: Ledger, ending: str) -> None:
    take(ledger, ENDINGS[ending], paged(attempt=2))
    assert list(states(ledger).values()) == [State.OVER]


def test_nor_is_it_held_back_for_the_digest(ledger: Ledger) -> None:
    take(ledger, ENDINGS["acknowledged"], urgent(2), urgent(3), urgent(1))
    assert list(states(ledger).values()) == [State.WAITING, State.WAITING, State.OVER]
    assert said(ledger) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_who_took_an_alert_may_hand_it_on_and_nobody_else_opens_it_again(ledger: Ledger, ending: str) -> None:
    take(ledger, paged(), ENDINGS[ending], handed_on(), paged(attempt=2))
    lifted = ending == "acknowledged"
    assert list(states(ledger).values()) == [State.OVER, State.WAITING if lifted else State.OVER]


def test_a_page_behind_a_hand_on_outlives_that_all_is_read_again(ledger: Ledger) -> None:
    events = paged(), ENDINGS["acknowledged"], handed_on(), paged(attempt=2)
    for _ in range(2):
        take(ledger, *events)
        assert list(states(ledger).values()) == [State.OVER, State.WAITING]


def test_an_acknowledgement_that_comes_late_hides_no_end(ledger: Ledger) -> None:
    take(ledger, ENDINGS["closed"], ENDINGS["acknowledged"], handed_on(), paged(attempt=2))
    assert list(states(ledger).values()) == [State.OVER]


def test_who_may_have_been_told_hears_of_the_withdrawal_once(ledger: Ledger) -> None:
    take(ledger, paged(recipients=("kim", "lee")))
    owed = ledger.due("suwon", "kim", BEGAN)
    assert owed is not None
    assert ledger.trying(owed)
    assert take(ledger, withdrawn(), withdrawn()) == [("suwon", "kim")]
    assert take(ledger, withdrawn()) == []
    assert [key for key, state in states(ledger).items() if state is State.WAITING] == [
        f"{derived_id('alert', 1)}/withdrawn/kim"
    ]
    assert not ledger.trying(owed)


def test_an_answer_that_comes_after_the_withdrawal_is_still_true(ledger: Ledger) -> None:
    take(ledger, paged())
    owed = ledger.due("suwon", "kim", BEGAN)
    assert owed is not None
    ledger.trying(owed)
    take(ledger, withdrawn())
    ledger.undelivered(owed, "late", BEGAN)
    assert said(ledger) == []
    ledger.arrived(owed, "webhook", "HTTP 200", BEGAN)
    assert [event.TYPE for event in said(ledger)] == ["sinsok.AlertDelivered.v1"]


def told(ledger: Ledger, page: AlertPaged) -> None:
    """The page reaches its recipient."""
    take(ledger, page)
    (recipient,) = page.recipients
    owed = ledger.due("suwon", recipient, BEGAN)
    assert owed is not None
    ledger.trying(owed)
    ledger.arrived(owed, "webhook", "HTTP 200", BEGAN)


def test_where_another_alert_took_over_nobody_hears_of_the_withdrawal(ledger: Ledger) -> None:
    told(ledger, paged())
    assert take(ledger, withdrawn(replaced_by=derived_id("alert", 2))) == []


TAKEN_OVER = (withdrawn(1, replaced_by=derived_id("alert", 2)), withdrawn(2, replaced_by=derived_id("alert", 3)))


@pytest.mark.parametrize("order", list(permutations((*TAKEN_OVER, withdrawn(3)))))
def test_who_was_told_of_what_was_taken_over_hears_of_the_last_withdrawal(
    ledger: Ledger, order: tuple[AlertWithdrawn, ...]
) -> None:
    for page in (
        paged(1),
        paged(2, recipients=("lee",)),
        paged(3, recipients=("lee",)),
        paged(4, recipients=("park",)),
    ):
        told(ledger, page)
    heard = [who for event in order for who in take(ledger, event, AlertClosed(**ABOUT, reason="withdrawn"))]
    assert sorted(set(heard)) == [("suwon", "kim"), ("suwon", "lee")]
    waiting = {key for key, state in states(ledger).items() if state is State.WAITING}
    assert waiting == {f"{derived_id('alert', 3)}/withdrawn/{name}" for name in ("kim", "lee")}


def test_pages_beyond_the_budget_of_a_chain_and_day_wait_for_the_digest(ledger: Ledger) -> None:
    take(ledger, urgent(1), urgent(2), urgent(3), urgent(4, chain="day"), paged(5))
    assert list(states(ledger).values()) == [
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
    assert set(states(ledger).values()) == {State.WAITING}


def test_an_alert_under_way_is_not_held_back(ledger: Ledger) -> None:
    take(ledger, urgent(1), urgent(2), urgent(3))
    (event,) = said(ledger)
    assert isinstance(event, AlertDeferred)
    for attempt, why in enumerate(set(PageReason) - {PageReason.RAISED}, start=2):
        take(ledger, urgent(3, attempt=attempt, why=why))
    assert len(said(ledger)) == 1


@pytest.mark.parametrize("state", [State.OVER, State.UNDELIVERED])
def test_a_page_that_never_left_leaves_its_place_in_the_budget(ledger: Ledger, state: State) -> None:
    take(ledger, urgent(1))
    if state is State.OVER:
        take(ledger, ENDINGS["acknowledged"])
    else:
        owed = ledger.due("suwon", "kim", BEGAN)
        assert owed is not None
        ledger.undelivered(owed, "late", BEGAN)
    take(ledger, urgent(2), urgent(3), urgent(4))
    deferred = [event.alert_id for event in said(ledger) if isinstance(event, AlertDeferred)]
    assert deferred == [derived_id("alert", 4)]


def test_a_digest_tells_of_what_is_still_open(ledger: Ledger) -> None:
    take(ledger, urgent(1), urgent(2), urgent(3), urgent(4), urgent(5))
    take(ledger, withdrawn(4))
    due = datetime(2026, 3, 1, 9, 0, tzinfo=UTC).timestamp()
    for alert in (1, 2):
        owed = ledger.due("suwon", "kim", BEGAN)
        assert owed is not None
        ledger.arrived(owed, "webhook", str(alert), BEGAN)
    assert ledger.due("suwon", "kim", due - 1) is None
    digest = ledger.due("suwon", "kim", due)
    assert digest is not None
    assert [page.alert_id for page in ledger.deferred(digest)] == [derived_id("alert", 3), derived_id("alert", 5)]
    assert ledger.trying(digest)
    assert take(ledger, withdrawn(3)) == [("suwon", "kim")]


def test_a_digest_goes_without_what_cannot_be_read(ledger: Ledger) -> None:
    take(ledger, urgent(1), urgent(2), urgent(3), urgent(4))
    with ledger.transaction():
        ledger._db.execute("UPDATE owed SET event = '{}' WHERE alert_id = ?", (str(derived_id("alert", 3)),))
    digest = ledger.due("suwon", "kim", datetime(2026, 3, 1, 9, 0, tzinfo=UTC).timestamp())
    while digest is not None and digest.kind is not Kind.DIGEST:
        ledger.drop(digest, BEGAN)
        digest = ledger.due("suwon", "kim", datetime(2026, 3, 1, 9, 0, tzinfo=UTC).timestamp())
    assert digest is not None
    assert [page.alert_id for page in ledger.deferred(digest)] == [derived_id("alert", 4)]


def test_what_ended_long_ago_is_forgotten(ledger: Ledger) -> None:
    take(ledger, paged(1), paged(2), withdrawn(1))
    assert ledger.forget(BEGAN + 1) == 1
    assert list(states(ledger).values()) == [State.WAITING]
    assert ledger.forget(BEGAN + 61) == 1


@pytest.mark.parametrize(
    ("after", "next_at"),
    [("06:59", "2026-03-01 07:00"), ("07:00", "2026-03-01 18:00"), ("18:00", "2026-03-02 07:00")],
)
def test_the_next_digest_is_in_the_time_of_the_site(after: str, next_at: str) -> None:
    local = datetime.fromisoformat(f"2026-03-01 {after}+09:00")
    assert BUDGET.next_digest(local) == datetime.fromisoformat(f"{next_at}+09:00")
