"""An alert goes up the chain until a person takes it, pages nobody twice, and says why it cannot do something."""

from datetime import timedelta
from typing import Any

import pytest

from schemas.base import Event
from schemas.events import AlertEvent, AlertWithdrawn, DeadlinePassed, Priority
from schemas.paging import (
    AlertAcknowledged,
    AlertClosed,
    AlertDeferred,
    AlertDelivered,
    AlertDismissed,
    AlertEscalated,
    AlertHandedOn,
    AlertPaged,
    AlertRefused,
    AlertSeen,
    AlertUndelivered,
    PageReason,
)
from streams.escalate import GRACE, RETRY, OpenAlert, Stage, escalate
from streams.on_call import Chain, Hours, Paging
from streams.site import SiteRules, Sites
from tests.unit.streams.examples import at
from tests.unit.streams.life import KEEP_S, Life, kinds, raised, sites

SAID: dict[type[AlertEvent], dict[str, Any]] = {
    AlertDelivered: {"attempt": 1, "recipient": "first", "channel": "mail", "answer": "250 2.0.0 accepted"},
    AlertUndelivered: {"attempt": 1, "recipient": "first", "reason": "mail: 550 no such user"},
    AlertDeferred: {"attempt": 1, "until": at(3600), "reason": "pages of this shift"},
    AlertHandedOn: {"attempt": 1, "by": "dr.kim"},
    AlertSeen: {"by": "dr.kim"},
    AlertAcknowledged: {"by": "dr.kim"},
    AlertDismissed: {"by": "dr.kim", "reason": "calcification"},
    AlertWithdrawn: {"reason": "revision 2 took the finding back"},
}
"""What an event says where a test does not care."""


class Alert(Life):
    """An alert that was raised."""

    def __init__(self, rules: Sites | None = None, **changes: Any) -> None:
        super().__init__(rules or sites(), raised(**changes))
        self.hear(self.alert)

    def tell(self, kind: type[AlertEvent], after: float, **said: Any) -> tuple[Event, ...]:
        return super().tell(kind, after, **{**SAID[kind], **said})

    @property
    def stage(self) -> Stage | None:
        return self.row and self.row.stage


def urgent(**paging: Any) -> Alert:
    return Alert(sites(**paging), priority="urgent")


def test_a_new_alert_pages_the_first_of_the_chain() -> None:
    alert = Alert()
    assert kinds(alert.sent) == ["AlertPaged"]
    page = alert.page
    assert (page.attempt, page.step, page.chain, page.recipients) == (1, 0, "always", ("first",))
    assert (page.why, page.time, page.deliver_by, page.answer_by) == ("raised", at(0), at(60), at(600))
    assert (page.priority, page.findings, page.reason) == ("stat", alert.alert.findings, alert.alert.reason)
    assert page.key == str(alert.alert.alert_id)


def test_an_alert_that_is_delivered_again_pages_nobody_again() -> None:
    alert = Alert()
    before = alert.row
    assert alert.hear(alert.alert) == ()
    assert alert.row == before


def test_its_own_events_change_nothing() -> None:
    """It writes to the topic that it reads; what it reads may be from long before."""
    alert = urgent(quiet=(Hours(begin="12:00", end="13:00"),))
    for _ in range(4):
        alert.wait()
    alert.tell(AlertDelivered, 12000, attempt=alert.page.attempt)
    alert.tell(AlertHandedOn, 12001, attempt=alert.page.attempt)
    alert.tell(AlertAcknowledged, 12002)
    alert.tell(AlertDismissed, 12003)
    alert.tell(AlertAcknowledged, 12004, by="dr.lee")
    assert set(kinds(alert.sent)) == {"AlertPaged", "AlertDeferred", "AlertEscalated", "AlertClosed", "AlertRefused"}
    for own in list(alert.sent):
        before = alert.row
        assert alert.hear(own) == ()
        assert alert.row == before


# --- delivered or not ----------------------------------------------------------------------------------------------


def test_a_page_that_arrived_has_time_to_be_answered() -> None:
    alert = Alert()
    assert alert.tell(AlertDelivered, 3) == ()
    assert alert.row is not None
    assert alert.row.deadline == at(600)
    escalated, page = alert.wait()
    assert isinstance(escalated, AlertEscalated)
    assert isinstance(page, AlertPaged)
    assert (page.attempt, page.step, page.recipients, page.why) == (2, 1, ("second", "third"), "unanswered")
    assert (escalated.attempt, escalated.step, escalated.why) == (2, 1, "unanswered")
    assert (page.deliver_by, page.answer_by) == (at(660), at(1200)), "counted from the page"


def test_a_page_of_which_nothing_is_said_comes_once_more_and_then_goes_on() -> None:
    """Kafka, this hop or the notifier was away: nobody knows whether the first was told."""
    alert = Alert()
    [page] = alert.wait()
    assert isinstance(page, AlertPaged)
    assert (page.attempt, page.step, page.recipients, page.why) == (2, 0, ("first",), "repeated")
    assert (page.time, page.deliver_by) == (at(60) + GRACE, at(120) + GRACE), "there is time again to deliver it"
    escalated, page = alert.wait()
    assert isinstance(escalated, AlertEscalated)
    assert isinstance(page, AlertPaged)
    assert (page.attempt, page.step, page.why, page.time) == (3, 1, "undelivered", at(120) + 2 * GRACE)
    [page] = alert.wait()
    assert isinstance(page, AlertPaged)
    assert (page.step, page.why) == (1, "repeated"), "each step has its own second page"


def test_a_page_that_was_too_old_when_it_was_read_is_not_the_first_persons_last() -> None:
    alert = Alert()
    [page] = alert.tell(AlertUndelivered, 600, tried=False)
    assert isinstance(page, AlertPaged)
    assert (page.attempt, page.step, page.why, page.deliver_by) == (2, 0, "repeated", at(660))
    assert kinds(alert.tell(AlertUndelivered, 700, attempt=2, tried=False)) == ["AlertEscalated", "AlertPaged"]
    assert (alert.page.attempt, alert.page.step, alert.page.why) == (3, 1, "undelivered")
    assert alert.tell(AlertUndelivered, 800, attempt=3, recipient="second", tried=False) == ()
    alert.tell(AlertUndelivered, 800, attempt=3, recipient="third", tried=False)
    assert (alert.page.attempt, alert.page.step, alert.page.why) == (4, 1, "repeated")


def test_a_page_that_somebody_tried_goes_on_though_others_were_not_tried() -> None:
    for heard in ((False, True), (True, False)):
        alert = Alert()
        alert.tell(AlertUndelivered, 1)
        for recipient, tried in zip(("second", "third"), heard, strict=True):
            alert.tell(AlertUndelivered, 70, attempt=2, recipient=recipient, tried=tried)
        assert (alert.page.attempt, alert.page.step, alert.page.why) == (3, 2, "undelivered")


@pytest.mark.parametrize("tried", [True, False])
def test_where_one_of_two_was_heard_of_the_time_to_deliver_decides(tried: bool) -> None:
    alert = Alert()
    alert.tell(AlertUndelivered, 1)
    assert alert.tell(AlertUndelivered, 5, attempt=2, recipient="second", tried=tried) == ()
    alert.wait()
    assert (alert.page.step, alert.page.why) == ((2, "undelivered") if tried else (1, "repeated"))


def test_at_a_hand_over_the_new_shift_has_a_first_and_a_second_page_of_its_own() -> None:
    day = Chain(name="day", begin="08:00", end="12:01", steps=(("d1",), ("d2",)))
    night = Chain(name="night", steps=(("n1",), ("n2",)))
    alert = Alert(sites(chains=(day, night)))  # raised at 12:00 in Seoul
    asked = [(alert.page.recipients, alert.page.why)]
    for _ in range(3):
        alert.wait()
        asked.append((alert.page.recipients, alert.page.why))
    assert asked == [
        (("d1",), "raised"),
        (("n1",), "undelivered"),
        (("n1",), "repeated"),
        (("n2",), "undelivered"),
    ]


def test_a_page_that_reached_nobody_goes_on_at_once() -> None:
    alert = Alert()
    assert kinds(alert.tell(AlertUndelivered, 2)) == ["AlertEscalated", "AlertPaged"]
    assert (alert.page.attempt, alert.page.why, alert.page.time) == (2, "undelivered", at(2))
    assert alert.tell(AlertUndelivered, 3, attempt=2, recipient="second") == ()
    assert alert.tell(AlertUndelivered, 3, attempt=2, recipient="second") == (), "said twice by one"
    assert kinds(alert.tell(AlertUndelivered, 4, attempt=2, recipient="third")) == ["AlertEscalated", "AlertPaged"]
    assert (alert.page.attempt, alert.page.step) == (3, 2)


def test_one_recipient_who_has_it_is_enough_to_wait_for_an_answer() -> None:
    for order in ((AlertDelivered, AlertUndelivered), (AlertUndelivered, AlertDelivered)):
        alert = Alert()
        alert.tell(AlertUndelivered, 60)
        for kind, recipient in zip(order, ("second", "third"), strict=True):
            assert alert.tell(kind, 65, attempt=2, recipient=recipient) == ()
        assert alert.row is not None
        assert alert.row.deadline == alert.page.answer_by
        alert.wait()
        assert alert.page.why is PageReason.UNANSWERED


def test_who_could_not_be_reached_by_an_older_page_may_be_reached_by_this_one() -> None:
    steps = (("first",), ("first", "second"), ("third",))
    alert = Alert(sites(chains=(Chain(name="always", steps=steps),)))
    alert.tell(AlertUndelivered, 1)
    assert alert.tell(AlertUndelivered, 2, attempt=2, recipient="second") == ()
    assert kinds(alert.tell(AlertUndelivered, 3, attempt=2)) == ["AlertEscalated", "AlertPaged"]


def test_where_a_whole_chain_cannot_be_delivered_pages_do_not_chase_each_other() -> None:
    """The mail server is away: one round at once, then one page for each time to deliver."""
    alert = Alert(sites(chains=(Chain(name="always", steps=(("first",), ("second",))),)))
    assert kinds(alert.tell(AlertUndelivered, 1)) == ["AlertEscalated", "AlertPaged"]
    assert alert.tell(AlertUndelivered, 2, attempt=2, recipient="second") == ()
    assert alert.row is not None
    assert alert.row.deadline == at(61) + GRACE
    alert.wait()
    assert (alert.page.attempt, alert.page.recipients, alert.page.why) == (3, ("first",), "undelivered")


def test_what_is_heard_of_an_older_page_changes_nothing() -> None:
    alert = Alert()
    alert.wait()
    before = alert.row
    for kind in (AlertDelivered, AlertUndelivered, AlertDeferred, AlertHandedOn):
        assert alert.tell(kind, 70) == ()
        assert alert.row == before


# --- on and on -----------------------------------------------------------------------------------------------------


def test_it_goes_on_until_somebody_takes_it_and_the_chain_begins_anew() -> None:
    alert = Alert()
    for _ in range(6):
        alert.tell(AlertDelivered, 1, attempt=alert.page.attempt)
        assert kinds(alert.wait()) == ["AlertEscalated", "AlertPaged"]
    pages = [event for event in alert.sent if isinstance(event, AlertPaged)]
    assert [page.attempt for page in pages] == [1, 2, 3, 4, 5, 6, 7]
    assert [page.step for page in pages] == [0, 1, 2, 0, 1, 2, 0]
    assert len({page.event_id for page in pages}) == 7


def test_at_a_hand_over_the_new_shift_is_asked_from_its_first_step() -> None:
    day = Chain(name="day", begin="08:00", end="12:15", steps=(("d1",), ("d2",), ("d3",)))
    night = Chain(name="night", steps=(("n1",), ("n2",)))
    alert = Alert(sites(chains=(day, night)))  # raised at 12:00 in Seoul
    asked = [alert.page.recipients]
    for _ in range(4):
        alert.tell(AlertDelivered, 1, attempt=alert.page.attempt)
        alert.wait()
        asked.append(alert.page.recipients)
    assert asked == [("d1",), ("d2",), ("n1",), ("n2",), ("n1",)]


def test_a_person_may_ask_for_the_next_one() -> None:
    alert = Alert()
    alert.tell(AlertDelivered, 3)
    handed_on = alert.about(AlertHandedOn, 10, by="dr.kim", attempt=1)
    assert kinds(alert.hear(handed_on)) == ["AlertEscalated", "AlertPaged"]
    assert (alert.page.attempt, alert.page.step, alert.page.why, alert.page.time) == (2, 1, "escalated", at(10))
    assert alert.hear(handed_on) == (), "it came again"
    assert alert.tell(AlertHandedOn, 11, by="dr.lee") == (), "two people asked for the same"
    assert kinds(alert.tell(AlertHandedOn, 12, by="dr.lee", attempt=2)) == ["AlertEscalated", "AlertPaged"]


def test_who_took_it_by_mistake_may_hand_it_on() -> None:
    alert = Alert()
    alert.tell(AlertDelivered, 3)
    taken = alert.about(AlertAcknowledged, 10, by="dr.kim")
    alert.hear(taken)
    handed_on = alert.about(AlertHandedOn, 20, by="dr.kim", attempt=1)
    assert kinds(alert.hear(handed_on)) == ["AlertEscalated", "AlertPaged"]
    assert (alert.page.attempt, alert.page.step, alert.page.why) == (2, 1, "escalated")
    assert (alert.stage, alert.row and alert.row.taken_by) == (Stage.PAGED, ())
    before = alert.row
    assert alert.hear(taken) == (), "it came again"
    assert alert.hear(handed_on) == ()
    assert alert.row == before
    again = alert.about(AlertAcknowledged, 30, by="dr.kim")
    assert again.event_id != taken.event_id
    alert.hear(again)
    assert (alert.stage, alert.row and alert.row.taken_by) == (Stage.TAKEN, ("dr.kim",))


def test_who_hands_it_on_does_so_for_all_who_had_taken_it() -> None:
    alert = Alert()
    both = [alert.about(AlertAcknowledged, 10 + number, by=by) for number, by in enumerate(("dr.kim", "dr.lee"))]
    for taken in both:
        alert.hear(taken)
    alert.tell(AlertHandedOn, 20)
    before = alert.row
    assert [alert.hear(taken) for taken in both] == [(), ()]
    assert alert.row == before
    assert alert.stage is Stage.PAGED


def test_what_was_taken_while_it_waited_is_handed_on_to_who_was_not_asked_yet() -> None:
    alert = urgent(quiet=(Hours(begin="11:00", end="13:00"),))
    alert.tell(AlertAcknowledged, 5)
    alert.tell(AlertHandedOn, 10)
    assert (alert.page.attempt, alert.page.step, alert.page.why) == (2, 0, "escalated")


def test_who_has_seen_it_has_not_taken_it() -> None:
    alert = Alert()
    alert.tell(AlertDelivered, 3)
    assert alert.tell(AlertSeen, 4) == ()
    seen = alert.row
    assert seen is not None
    assert (seen.seen_by, seen.deadline) == (("dr.kim",), at(600))
    assert alert.tell(AlertSeen, 5) == ()
    assert alert.row == seen
    assert kinds(alert.wait()) == ["AlertEscalated", "AlertPaged"]


def test_a_deadline_that_was_overtaken_changes_nothing() -> None:
    alert = Alert()
    undelivered = alert.passed()
    alert.tell(AlertDelivered, 59)
    before = alert.row
    assert alert.hear(undelivered) == ()
    assert alert.row == before
    unanswered = alert.passed()
    assert alert.hear(unanswered)
    assert alert.hear(unanswered) == ()


# --- what waits ----------------------------------------------------------------------------------------------------


def test_in_quiet_hours_what_is_not_critical_waits_for_their_end() -> None:
    alert = urgent(quiet=(Hours(begin="11:00", end="13:00"),))
    [deferred] = alert.sent
    assert isinstance(deferred, AlertDeferred)
    assert (deferred.attempt, deferred.until, deferred.reason) == (1, at(3600), "quiet hours")
    [page] = alert.wait()
    assert isinstance(page, AlertPaged)
    assert (page.attempt, page.step, page.why) == (2, 0, "deferred"), "a deferral is an attempt"
    assert kinds(Alert(sites(quiet=(Hours(begin="11:00", end="13:00"),))).sent) == ["AlertPaged"], "stat is critical"


def test_an_escalation_waits_for_the_end_of_quiet_hours_too_and_then_goes_on() -> None:
    alert = urgent(quiet=(Hours(begin="13:00", end="16:00"),))
    alert.tell(AlertDelivered, 3)
    [deferred] = alert.wait()
    assert isinstance(deferred, AlertDeferred)
    assert (deferred.attempt, deferred.until) == (2, at(4 * 3600))
    [page] = alert.wait()
    assert isinstance(page, AlertPaged)
    assert (page.attempt, page.step, page.why) == (3, 1, "deferred")


def test_who_asks_for_the_next_one_in_quiet_hours_gets_him() -> None:
    alert = urgent(quiet=(Hours(begin="11:00", end="13:00"),))
    assert kinds(alert.tell(AlertHandedOn, 5)) == ["AlertEscalated", "AlertPaged"]
    assert (alert.page.attempt, alert.page.step) == (2, 0), "nobody was asked yet"


@pytest.mark.parametrize("tried", [True, False])
def test_what_a_person_asked_for_is_not_deferred_where_the_next_one_cannot_be_reached(tried: bool) -> None:
    alert = urgent(quiet=(Hours(begin="11:00", end="13:00"),))
    alert.tell(AlertHandedOn, 5)
    alert.tell(AlertUndelivered, 6, attempt=2, tried=tried)
    assert (alert.page.attempt, alert.page.why) == (3, "undelivered" if tried else "repeated")
    alert.tell(AlertDelivered, 7, attempt=3, recipient=alert.page.recipients[0])
    alert.tell(AlertAcknowledged, 8)
    alert.tell(AlertHandedOn, 9, attempt=3)
    alert.tell(AlertUndelivered, 10, attempt=4, recipient=alert.page.recipients[0])
    alert.wait()
    assert sum(isinstance(event, AlertDeferred) for event in alert.sent) == 1, "the first"


def test_nor_does_a_notifier_hold_it_back() -> None:
    alert = urgent()
    alert.tell(AlertHandedOn, 5)
    alert.tell(AlertUndelivered, 6, attempt=2, recipient="second")
    alert.tell(AlertUndelivered, 6, attempt=2, recipient="third")
    [page] = alert.tell(AlertDeferred, 7, attempt=3)
    assert isinstance(page, AlertPaged)
    assert (page.attempt, page.step, page.why) == (4, 2, "repeated")
    before = alert.row
    assert alert.tell(AlertDeferred, 8, attempt=4) == (), "or the two would chase each other"
    assert alert.row == before


def test_a_page_that_is_repeated_waits_for_the_end_of_quiet_hours_too() -> None:
    alert = urgent(quiet=(Hours(begin="12:05", end="13:00"),))
    assert kinds(alert.wait()) == ["AlertDeferred"]
    alert.wait()
    assert (alert.page.step, alert.page.why) == (0, "deferred")
    alert.wait()
    assert (alert.page.step, alert.page.why) == (1, "undelivered"), "silent twice"


def test_quiet_hours_that_go_on_defer_again() -> None:
    alert = urgent(quiet=(Hours(begin="11:00", end="13:00"), Hours(begin="13:00", end="14:00")))
    assert kinds(alert.wait()) == ["AlertDeferred"]
    assert kinds(alert.wait()) == ["AlertPaged"]
    assert alert.page.attempt == 3


def test_a_notifier_may_defer_a_page_that_is_one_too_many_for_a_shift() -> None:
    alert = urgent()
    assert alert.tell(AlertDeferred, 1) == ()
    [page] = alert.wait()
    assert isinstance(page, AlertPaged)
    assert (page.time, page.attempt, page.step, page.why) == (at(3600), 2, 0, "deferred"), "who was not told is asked"
    before = alert.row
    assert alert.tell(AlertDeferred, 3601) == (), "of the page before"
    assert alert.row == before


def test_a_page_that_was_deferred_while_somebody_had_the_alert_waits_for_whom_it_was_for() -> None:
    alert = urgent()
    alert.tell(AlertAcknowledged, 1)
    assert alert.tell(AlertDeferred, 2) == ()
    _, page = alert.tell(AlertHandedOn, 3)
    assert isinstance(page, AlertPaged)
    assert (page.attempt, page.step, page.recipients) == (2, 0, ("first",)), "nobody had told them"


def test_an_answer_by_a_clock_that_is_behind_decides_nothing_in_the_past() -> None:
    alert = urgent(quiet=(Hours(begin="11:00", end="13:00"),))
    alert.wait()
    begun = alert.page.time
    _, page = alert.tell(AlertUndelivered, (begun - at(0)).total_seconds() - 90, attempt=alert.page.attempt)
    assert isinstance(page, AlertPaged), "the quiet hours of a minute and a half ago are over"
    assert page.time == begun


@pytest.mark.parametrize("priority", ["stat", "urgent"])
def test_neither_what_is_critical_nor_what_arrived_is_deferred(priority: str) -> None:
    alert = Alert(priority=priority)
    if priority == "urgent":
        alert.tell(AlertDelivered, 1)
    before = alert.row
    assert alert.tell(AlertDeferred, 2) == ()
    assert alert.row == before


# --- taken, dismissed, withdrawn -----------------------------------------------------------------------------------


@pytest.mark.parametrize("delivered", [True, False])
def test_an_acknowledged_alert_pages_nobody_and_is_closed_when_it_is_forgotten(delivered: bool) -> None:
    alert = Alert()
    if delivered:
        alert.tell(AlertDelivered, 3)
    overtaken = alert.passed()
    acknowledged = alert.about(AlertAcknowledged, 20, by="dr.kim")
    assert alert.hear(acknowledged) == ()
    assert alert.hear(acknowledged) == ()
    assert alert.hear(overtaken) == ()
    assert alert.tell(AlertUndelivered, 21) == ()
    assert alert.row is not None
    assert alert.row.deadline == at(20 + KEEP_S)
    [closed] = alert.wait()
    assert isinstance(closed, AlertClosed)
    assert (closed.reason, closed.by, closed.time) == ("acknowledged", "dr.kim", at(20 + KEEP_S))
    assert alert.row is None


def test_a_second_person_may_acknowledge_it_too() -> None:
    alert = Alert()
    alert.tell(AlertAcknowledged, 20)
    assert alert.tell(AlertAcknowledged, 30, by="dr.lee") == ()
    assert alert.row is not None
    assert (alert.row.taken_by, alert.row.deadline) == (("dr.kim", "dr.lee"), at(20 + KEEP_S))


def test_who_asks_for_the_next_one_hears_that_it_was_taken() -> None:
    alert = Alert()
    alert.tell(AlertAcknowledged, 20)
    before = alert.row
    [refused] = alert.tell(AlertHandedOn, 21, by="dr.lee")
    assert isinstance(refused, AlertRefused)
    assert (refused.asked, refused.by, refused.reason) == (AlertHandedOn.TYPE, "dr.lee", "dr.kim has taken it")
    assert alert.row == before
    alert.tell(AlertDismissed, 22)
    [again] = alert.tell(AlertHandedOn, 21, by="dr.lee")
    assert again.event_id == refused.event_id, "what was asked once is refused once, whatever was done since"


@pytest.mark.parametrize("taken", [True, False])
def test_a_dismissal_closes_it_whether_it_was_taken_or_not(taken: bool) -> None:
    alert = Alert()
    if taken:
        alert.tell(AlertAcknowledged, 10)
    dismissed = alert.about(AlertDismissed, 20, by="dr.lee", reason="calcification")
    [closed] = alert.hear(dismissed)
    assert isinstance(closed, AlertClosed)
    assert (closed.reason, closed.by) == ("dismissed", "dr.lee"), "the words of a person are not passed on"
    assert alert.hear(dismissed) == ()
    assert alert.row is not None
    assert alert.row.deadline == at(20 + KEEP_S)
    assert alert.wait() == ()
    assert alert.row is None


@pytest.mark.parametrize("taken", [True, False])
def test_a_withdrawal_closes_it(taken: bool) -> None:
    alert = Alert()
    if taken:
        alert.tell(AlertAcknowledged, 10)
    [closed] = alert.tell(AlertWithdrawn, 20)
    assert isinstance(closed, AlertClosed)
    assert (closed.reason, closed.by) == ("withdrawn: revision 2 took the finding back", None)
    assert alert.tell(AlertWithdrawn, 20) == ()
    assert alert.wait() == ()
    assert alert.row is None


def test_a_more_urgent_alert_goes_its_own_way_and_the_old_one_is_closed() -> None:
    old = urgent()
    new = Alert(number=2, replaces=old.alert.alert_id)
    [closed] = old.tell(AlertWithdrawn, 5, reason="a more urgent alert took over", replaced_by=new.alert.alert_id)
    assert isinstance(closed, AlertClosed)
    assert kinds(new.sent) == ["AlertPaged"]
    assert new.page.priority is Priority.STAT


@pytest.mark.parametrize("act", [AlertAcknowledged, AlertDismissed, AlertHandedOn])
@pytest.mark.parametrize(
    ("ending", "why"),
    [
        (AlertWithdrawn, "it was withdrawn: revision 2 took the finding back"),
        (AlertDismissed, "it was dismissed by dr.kim"),
    ],
)
def test_what_comes_too_late_is_refused_in_plain_words(
    act: type[AlertEvent], ending: type[AlertEvent], why: str
) -> None:
    alert = Alert()
    alert.tell(ending, 20)
    before = alert.row
    late = alert.about(act, 30, **{**SAID[act], "by": "dr.lee"})
    [refused] = alert.hear(late)
    assert isinstance(refused, AlertRefused)
    assert (refused.asked, refused.by, refused.reason, refused.time) == (act.TYPE, "dr.lee", why, at(30))
    assert alert.hear(late) == (refused,), "the same event again"
    assert alert.row == before


def test_what_was_done_in_time_is_not_refused_when_it_comes_again() -> None:
    alert = Alert()
    alert.tell(AlertHandedOn, 5)
    alert.tell(AlertAcknowledged, 10)
    alert.tell(AlertWithdrawn, 20)
    assert alert.tell(AlertHandedOn, 5) == ()
    assert alert.tell(AlertAcknowledged, 10) == ()


@pytest.mark.parametrize("act", [AlertAcknowledged, AlertDismissed, AlertHandedOn])
def test_what_is_asked_of_an_unknown_alert_is_refused(act: type[AlertEvent]) -> None:
    alert = Life(sites(), raised())
    [refused] = alert.tell(act, 30, **SAID[act])
    assert isinstance(refused, AlertRefused)
    assert refused.alert_id == alert.alert.alert_id
    assert refused.reason == "no such alert is known: it was closed long ago, or never raised"
    assert alert.row is None


def test_to_look_is_never_refused() -> None:
    alert = Life(sites(), raised())
    assert alert.tell(AlertSeen, 1, by="dr.kim") == ()
    alert.hear(alert.alert)
    alert.tell(AlertWithdrawn, 2, reason="gone")
    before = alert.row
    assert alert.tell(AlertSeen, 3, by="dr.kim") == ()
    assert alert.row == before


@pytest.mark.parametrize("kind", [AlertDelivered, AlertUndelivered, AlertDeferred, AlertWithdrawn])
def test_what_is_heard_of_an_unknown_alert_is_nothing(kind: type[AlertEvent]) -> None:
    alert = Life(sites(), raised())
    assert alert.tell(kind, 30, **SAID[kind]) == ()
    assert alert.row is None


# --- nobody is on call ---------------------------------------------------------------------------------------------


def test_where_nobody_is_on_call_the_alert_is_open_all_the_same() -> None:
    alert = Alert(sites(chains=()))
    assert alert.sent == []
    assert (alert.stage, alert.row and alert.row.attempt) == (Stage.WAITING, 0)
    assert alert.tell(AlertAcknowledged, 10) == ()
    assert alert.stage is Stage.TAKEN


def test_where_nobody_ever_is_on_call_the_alert_comes_to_an_end() -> None:
    alert = Alert(sites(chains=()))
    waits = 0
    while alert.row is not None:
        alert.wait()
        waits += 1
    [closed] = alert.sent
    assert isinstance(closed, AlertClosed)
    assert (closed.reason, closed.by) == ("nobody was on call", None)
    assert timedelta(seconds=KEEP_S) <= closed.time - alert.alert.time <= 2 * timedelta(seconds=KEEP_S)
    assert waits < 12, "a site that pages nobody has a clock that rests"


def test_when_the_site_gets_a_chain_what_is_still_open_is_paged() -> None:
    alert = Alert(sites(chains=()))
    alert.rules = sites()
    assert kinds(alert.wait()) == ["AlertPaged"]
    assert (alert.page.attempt, alert.page.why, alert.page.time) == (1, "raised", at(RETRY.total_seconds()))


def test_an_alert_of_which_a_page_went_out_never_stops_for_want_of_a_chain() -> None:
    alert = Alert()
    alert.rules = sites(chains=())
    for _ in range(int(2 * KEEP_S / RETRY.total_seconds())):
        before = alert.row
        assert before is not None
        assert before.deadline is not None
        assert alert.wait() == ()
        assert alert.row is not None
        assert alert.row.deadline == before.deadline + RETRY
    alert.rules = sites()
    assert kinds(alert.wait()) == ["AlertPaged"]
    assert (alert.page.attempt, alert.page.step, alert.page.why) == (2, 0, "repeated")


def test_a_site_that_is_not_configured_any_more_has_no_chains() -> None:
    elsewhere = Sites({"icheon": SiteRules(paging=Paging())})
    step = escalate(elsewhere, raised(), None)
    assert step.events == ()
    assert step.state is not None
    assert step.state.deadline is not None


def test_the_row_is_of_the_alert_and_its_deadline_too() -> None:
    alert = Alert()
    assert isinstance(alert.row, OpenAlert)
    assert alert.row.of_alert == alert.alert.alert_id
    over = alert.passed()
    assert over.key == alert.alert.key
    study = DeadlinePassed(**over.model_dump(exclude={"event_id", "alert_id"}))
    assert study.key != over.key
    assert study.event_id != over.event_id
