"""Whatever happens to alerts, in any order, twice, and over restarts: none is lost, nobody is skipped or paged twice.

The machine keeps its own account of each alert, from the events alone, and holds every step of the hop against it.
"""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from schemas.base import Event
from schemas.events import AlertEvent, AlertRaised, AlertWithdrawn
from schemas.paging import (
    AlertAcknowledged,
    AlertClosed,
    AlertDeferred,
    AlertDelivered,
    AlertDismissed,
    AlertHandedOn,
    AlertPaged,
    AlertRefused,
    AlertSeen,
    AlertUndelivered,
    PageReason,
)
from streams.escalate import GRACE, escalate
from streams.on_call import Chain, Hours
from streams.site import Sites
from tests.unit.streams.examples import at
from tests.unit.streams.life import CHAIN, Life, raised, sites

DAY = Chain(name="day", begin="08:00", end="18:00", steps=(("day",), ("day", "day-2"), ("day-3",)))
NIGHT = Chain(name="night", steps=(("night",),))
QUIET = Hours(begin="22:00", end="07:00")
QUIETS = [
    (),
    (QUIET,),
    (QUIET, Hours(begin="07:00", end="09:00")),
    (Hours(days=["mon", "tue", "wed", "thu", "fri", "sat"]),),
    (Hours(begin="12:01", end="12:00"),),
    (QUIET, Hours(begin="07:00", end="22:00", days=["sat", "sun"], holidays=False), Hours(begin="23:00", end="06:00")),
]
PEOPLE = st.sampled_from(["dr.kim", "dr.lee"])
Step = tuple[str, int]


class Account(Life):
    """What the events so far say of an alert, kept without the hop's row."""

    def __init__(self, rules: Sites, alert: AlertRaised) -> None:
        super().__init__(rules, alert)
        self.heard: list[Event] = []
        self.newest: AlertPaged | None = None
        self.deferred: AlertDeferred | None = None
        self.attempts = 0
        self.reached = False
        self.unreached: set[str] = set()
        self.tried = False
        self.asked_for_next = False
        self.asked_on = False
        self.may_go_on = False
        self.silent: list[Step] = []
        """Of pages that nobody tried, or of which nothing was said."""
        self.taken_by: set[str] = set()
        self.gave_back: dict[str, datetime] = {}
        self.ended = False

    @property
    def open(self) -> bool:
        return bool(self.heard) and not self.taken_by and not self.ended

    def happens(self, event: Event) -> None:
        """Hear an event for the first time."""
        self._note(event)
        sent = self.hear(event)
        self.heard.append(event)
        for one in sent:
            self._check(one, event)

    def holds_when_all_comes_again(self) -> None:
        """Whatever was heard may be heard again, and what was sent is read from the topic."""
        known = {one.event_id for one in self.sent}
        for event in (*self.heard, *self.sent):
            step = escalate(self.rules, event, self.row)
            if self.row is not None:
                assert step.state == self.row
                assert {one.event_id for one in step.events} <= known
            elif not isinstance(event, AlertRaised):  # the broker gives nothing again that was done days ago
                assert step.state is None
                assert all(isinstance(one, AlertRefused) for one in step.events)

    def _note(self, event: Event) -> None:
        newest = self.newest.attempt if self.newest else 0
        match event:
            case AlertDelivered() if event.attempt == newest and not self.deferred:
                self.reached = True
            case AlertUndelivered() if event.attempt == newest:
                self.unreached.add(event.recipient)
                self.tried |= event.tried
            case AlertDeferred() if event.attempt == newest and self.alert.priority != "stat" and not self.reached:
                self.deferred = None if self.asked_on else event
            case AlertHandedOn() if event.attempt == self.attempts and not self.ended and not self._gave_back(event):
                if not self.taken_by or event.by in self.taken_by:
                    self.asked_for_next = self.asked_on = True
                    self.gave_back |= dict.fromkeys(self.taken_by, event.time)
                    self.taken_by = set()
            case AlertAcknowledged() if not self.ended and not self._gave_back(event):
                self.taken_by.add(event.by)
            case AlertDismissed() | AlertWithdrawn():
                self.ended = True

    def _gave_back(self, act: AlertAcknowledged | AlertHandedOn) -> bool:
        """Whether somebody who had taken the alert did it before it was handed on: that is over."""
        return act.by in self.gave_back and act.time <= self.gave_back[act.by]

    def _check(self, sent: Event, because: Event) -> None:
        if isinstance(sent, AlertClosed):
            assert self.ended or self.taken_by, "what nobody took is not closed"
            assert sum(isinstance(one, AlertClosed) for one in self.sent) == 1
            self.ended = True
        if not isinstance(sent, AlertPaged | AlertDeferred):
            return
        assert self.open, "nobody is paged for what was taken or has ended"
        assert sent.attempt == self.attempts + 1, "an attempt is made once"
        assert self._due(because), "nobody is paged while a page may still be answered"
        self._account_for_newest()
        self.attempts, self.asked_for_next = sent.attempt, False
        if isinstance(sent, AlertDeferred):
            assert self.alert.priority != "stat", "what is critical is never deferred"
            assert not self.asked_on, "nor what a person asked for"
            self.deferred = sent
        else:
            self._check_step(sent)
            self.newest, self.deferred, self.may_go_on = sent, None, False
            self.reached, self.unreached, self.tried = False, set(), False

    def _account_for_newest(self) -> None:
        """What became of the newest page, now that another follows or is put off."""
        if self.newest is None or self.deferred is not None:
            return
        step = (self.newest.chain, self.newest.step)
        if not (self.reached or self.tried or self.asked_for_next):
            self.silent.append(step)
        twice = self.silent[-2:] == [step, step]
        self.may_go_on |= self.reached or self.tried or self.asked_for_next or twice

    def _check_step(self, page: AlertPaged) -> None:
        if self.newest is None:
            assert page.step == 0, "the first is asked first"
            return
        before = self.newest
        same = (page.chain, page.step, page.recipients) == (before.chain, before.step, before.recipients)
        if page.why is PageReason.REPEATED:
            assert same, "the same people"
            assert before.why is not PageReason.REPEATED, "twice at the most"
            assert not self.tried, "what was tried in vain is not"
        if not same and page.chain == before.chain:
            assert self.may_go_on, "nobody is skipped whom nobody tried to reach"
        if page.chain != before.chain:
            assert page.step == 0, "a new shift is asked from its first step"

    def _due(self, because: Event) -> bool:
        if self.attempts == 0:
            return isinstance(because, AlertRaised)
        if self.asked_for_next:
            return True
        if self.deferred is not None:
            return because.time >= self.deferred.until
        assert self.newest is not None
        if self.reached:
            return because.time >= self.newest.answer_by
        if isinstance(because, AlertDeferred):
            return self.asked_on
        return because.time >= self.newest.deliver_by + GRACE or self.unreached >= set(self.newest.recipients)


class Alerts(RuleBasedStateMachine):
    """Alerts of a site, and all that may happen to them."""

    alerts = Bundle("alerts")

    @initialize(
        chains=st.sampled_from([(CHAIN,), (DAY, NIGHT), (NIGHT,)]),
        quiet=st.sampled_from(QUIETS),
        begins=st.integers(0, 24 * 3600),
    )
    def configure(self, chains: tuple[Chain, ...], quiet: tuple[Hours, ...], begins: int) -> None:
        self.rules = sites(chains=chains, quiet=quiet)
        self.now = at(begins)
        self.accounts: list[Account] = []

    def happens(self, alert: Account, kind: type[AlertEvent], late: float = 0.0, **said: Any) -> None:
        alert.happens(alert.about(kind, (self.now - at(0)).total_seconds() - late, **said))

    @rule(target=alerts, priority=st.sampled_from(["stat", "urgent"]), late=st.sampled_from([0.0, 3.0, 900.0]))
    def is_raised(self, priority: str, late: float, **changes: Any) -> Account:
        """It may have been raised long before the hop reads it."""
        number, time = len(self.accounts) + 1, self.now - timedelta(seconds=late)
        self.accounts.append(Account(self.rules, raised(number, priority=priority, time=time, **changes)))
        self.accounts[-1].happens(self.accounts[-1].alert)
        return self.accounts[-1]

    @rule(target=alerts, old=alerts)
    def becomes_more_urgent(self, old: Account) -> Account:
        """Another alert takes over: it is raised, then the old one is withdrawn."""
        new = self.is_raised("stat", 0.0, revision=2, replaces=old.alert.alert_id)
        self.happens(old, AlertWithdrawn, reason="took over", replaced_by=new.alert.alert_id)
        return new

    @rule(seconds=st.sampled_from([1, 30, 300, 3600]))
    def time_goes_by(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(alert=alerts, late=st.sampled_from([0.0, 0.5, 90.0]))
    def deadline_passes(self, alert: Account, late: float) -> None:
        if alert.row is not None:
            assert alert.row.deadline is not None
            self.now = max(self.now, alert.row.deadline) + timedelta(seconds=late)
            alert.happens(alert.passed(self.now))

    @rule(alert=alerts, data=st.data())
    def is_delivered(self, alert: Account, data: st.DataObject) -> None:
        self.is_heard_of(alert, data, AlertDelivered, channel="mail", answer="250 2.0.0 accepted")

    @rule(alert=alerts, data=st.data(), late=st.sampled_from([0.0, 0.0, 90.0]))
    def is_not_delivered(self, alert: Account, data: st.DataObject, late: float) -> None:
        self.is_heard_of(alert, data, AlertUndelivered, late=late, reason="mail: 550 no such user")

    @rule(alert=alerts)
    def expires_untried(self, alert: Account) -> None:
        """The notifier was away until the time of the newest page was over."""
        if (page := alert.newest) is not None and alert.attempts == page.attempt:
            self.now = max(self.now, page.deliver_by)
            for recipient in page.recipients:
                self.happens(
                    alert, AlertUndelivered, attempt=page.attempt, recipient=recipient, reason="expired", tried=False
                )

    @rule(alert=alerts, deadlines=st.integers(1, 4))
    def is_silent(self, alert: Account, deadlines: int) -> None:
        """No notifier says anything."""
        for _ in range(deadlines):
            self.deadline_passes(alert, 0.5)

    def is_heard_of(self, alert: Account, data: st.DataObject, kind: type[AlertEvent], **said: Any) -> None:
        """A notifier says what became of a page: of the newest mostly, or late, of an older one."""
        if alert.newest is not None:
            pages = [one for one in alert.sent if isinstance(one, AlertPaged)]
            page = data.draw(st.sampled_from([*pages, *[alert.newest] * 2 * len(pages)]))
            self.happens(
                alert, kind, attempt=page.attempt, recipient=data.draw(st.sampled_from(page.recipients)), **said
            )

    @rule(alert=alerts, seconds=st.sampled_from([60, 6 * 3600]))
    def is_one_too_many(self, alert: Account, seconds: int) -> None:
        """A notifier defers a page instead of sending it."""
        if alert.newest is not None and not alert.reached and alert.deferred is None:
            until = self.now + timedelta(seconds=seconds)
            self.happens(alert, AlertDeferred, attempt=alert.newest.attempt, until=until, reason="one too many")

    @rule(alert=alerts, by=PEOPLE)
    def is_seen(self, alert: Account, by: str) -> None:
        self.happens(alert, AlertSeen, by=by)

    @rule(alert=alerts, by=PEOPLE, how=st.sampled_from([AlertAcknowledged, AlertDismissed, AlertWithdrawn]))
    def comes_to_an_end(self, alert: Account, by: str, how: type[AlertEvent]) -> None:
        said = {AlertAcknowledged: {"by": by}, AlertDismissed: {"by": by, "reason": "not a finding"}}
        self.happens(alert, how, **said.get(how, {"reason": "gone"}))

    @rule(alert=alerts, by=PEOPLE, behind=st.sampled_from([0, 0, 0, 1]))
    def is_handed_on(self, alert: Account, by: str, behind: int) -> None:
        self.happens(alert, AlertHandedOn, by=by, attempt=max(1, alert.attempts - behind))

    @rule(alert=alerts, by=PEOPLE, seconds=st.sampled_from([0, 5]))
    def is_taken_by_mistake(self, alert: Account, by: str, seconds: int) -> None:
        self.happens(alert, AlertAcknowledged, by=by)
        self.now += timedelta(seconds=seconds)
        self.happens(alert, AlertHandedOn, by=by, attempt=max(1, alert.attempts))

    @invariant()
    def nothing_is_done_twice(self) -> None:
        for alert in self.accounts:
            alert.holds_when_all_comes_again()

    @invariant()
    def no_alert_is_lost(self) -> None:
        for alert in self.accounts:
            if alert.open:
                assert alert.row is not None
                assert alert.row.deadline is not None

    @invariant()
    def no_attempt_is_paged_twice(self) -> None:
        for alert in self.accounts:
            attempts = [one.attempt for one in alert.sent if isinstance(one, AlertPaged | AlertDeferred)]
            assert attempts == list(range(1, len(attempts) + 1))

    @invariant()
    def left_alone_it_pages_again(self) -> None:
        """Until somebody takes it. Quiet hours, and a shift that has had enough, only put it off."""
        for alert in self.accounts:
            if alert.open:
                assert any(isinstance(one, AlertPaged) for one in left_alone(alert).sent)

    @invariant()
    def what_is_over_is_forgotten_in_the_end(self) -> None:
        for alert in self.accounts:
            if alert.row is not None and not alert.open:
                assert left_alone(alert).row is None


def left_alone(alert: Account, deadlines: int = 10) -> Life:
    """What becomes of an alert when nothing happens but that deadlines pass, until it is paged or forgotten."""
    copy = Life(alert.rules, alert.alert)
    copy.row = alert.row
    while copy.row is not None and deadlines and not any(isinstance(one, AlertPaged) for one in copy.sent):
        copy.wait()
        deadlines -= 1
    return copy


TestAlerts = Alerts.TestCase
TestAlerts.settings = settings(max_examples=30, stateful_step_count=40)
