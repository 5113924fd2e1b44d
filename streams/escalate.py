"""Escalate: an alert's way to a person. It is paged up the on-call chain, again and again, until somebody takes it.

A page that was tried in vain goes on at once, one that was delivered when the time to answer is over, also where it
was seen: only an acknowledgement takes an alert. One that nobody tried, because Kafka, this hop or the notifier was
away until its time was over, says nothing about who was to be told: the same step is asked once more. Behind the last
step the chain begins anew; where no page of a whole chain can be delivered, not before the time to deliver is over, or
pages would chase each other. In quiet hours what is not critical waits, until a person asks for the next one: then it
is not deferred any more. A deferral counts as an attempt: what it is about never shares a number, and so an id, with
a page.

Who has taken an alert may hand it on, as one may who took it by mistake: then nobody has it, and it goes on.

An alert is closed once. A dismissal or a withdrawal closes it at once, whether it was taken or not; its row stays for
the time of remembrance (``completeness.keep_s``), so that who comes late is told why. One that was acknowledged is
closed when that time is over: until then it may still be dismissed or withdrawn. One for which nobody was ever on call
is closed after it, too.

The hop reads its own events again, with all others of an alert, and ignores them.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from pydantic import Field

from schemas.base import Event, Utc
from schemas.events import AlertEvent, AlertRaised, AlertWithdrawn, DeadlinePassed
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
    Name,
    PageReason,
)
from streams.hop import Step, StudyState
from streams.site import SiteRules, Sites

RETRY: Final = timedelta(minutes=5)
"""Where nobody is on call any more, it is asked so often whether somebody is."""

GRACE: Final = timedelta(seconds=2)
"""So much later than the time to deliver a page is over it is given up: the notifier says by itself that it is, and
whether anybody was tried, and that comes first."""

_GOES_ON: Final = (PageReason.UNDELIVERED, PageReason.UNANSWERED, PageReason.ESCALATED)
"""A page for one of these goes to the next in the chain."""

Act = AlertSeen | AlertAcknowledged | AlertDismissed | AlertHandedOn


class Stage(StrEnum):
    """How far an alert is."""

    WAITING = "waiting"
    """A page is to go out: it was deferred, or nobody is on call."""
    PAGED = "paged"
    DELIVERED = "delivered"
    TAKEN = "taken"
    CLOSED = "closed"


class OpenAlert(StudyState):
    """Where an alert stands. It always has a deadline: nothing waits for ever."""

    raised: AlertRaised
    stage: Stage = Stage.WAITING
    attempt: int = 0
    """Of the newest page or deferral; 0: nobody was on call yet."""
    attempted_at: Utc | None = None
    """The same. Nothing is decided as of an earlier time, whatever the clock of who answers says."""
    chain: str = ""
    step: int = 0
    """In the chain, of the newest page or of the one that waits."""
    why: PageReason = PageReason.RAISED
    """The same."""
    recipients: tuple[Name, ...] = ()
    """Of the newest page; nobody where a page waits."""
    failed: tuple[Name, ...] = ()
    """Recipients whom the newest page did not reach."""
    tried: bool = False
    """Whether one of them was tried."""
    repeated: bool = False
    """Whether this step is asked once more because nobody was tried before."""
    answer_by: Utc | None = None
    seen_by: tuple[Name, ...] = ()
    taken_by: tuple[Name, ...] = ()
    gave_back: dict[Name, Utc] = Field(default={})
    """Who had taken it, and when it was handed on: what they did before may be heard again."""
    asked_on: bool = False
    """Whether a person has asked for the next one: then it is not deferred any more."""
    dismissed_by: Name | None = None
    ending: str = ""
    """How it was closed."""

    @property
    def of_alert(self) -> UUID:
        """The alert."""
        return self.raised.alert_id

    @property
    def repeats(self) -> bool:
        """Whether the same step is asked once more where the newest page reached nobody."""
        return not self.tried and not self.repeated


def escalate(sites: Sites, event: Event, alert: OpenAlert | None) -> Step[OpenAlert]:
    """One step of an alert: it was raised or withdrawn, a page arrived or did not, a person acted, time passed."""
    rules = sites.of(event.site)
    match event:
        case AlertRaised() if alert is None:
            return _page(rules, event, OpenAlert(site=event.site, study_uid=event.study_uid, raised=event))
        case AlertSeen() | AlertAcknowledged() | AlertDismissed() | AlertHandedOn():
            return _refuse(event, alert) if alert is None else _act(rules, event, alert)
        case DeadlinePassed() if alert is not None and event.deadline == alert.deadline:
            return _overdue(rules, event, alert)
        case AlertWithdrawn() if alert is not None and alert.stage is not Stage.CLOSED:
            return _close(rules, event, alert, f"withdrawn: {event.reason}")
        case AlertDelivered() | AlertUndelivered() | AlertDeferred() if (
            alert is not None and alert.stage is Stage.PAGED and event.attempt == alert.attempt
        ):
            return _answered(rules, event, alert)
        case AlertDeferred() if (
            alert is not None
            and alert.stage is Stage.TAKEN
            and event.attempt == alert.attempt
            and not alert.asked_on
            and alert.raised.priority not in rules.paging.critical
        ):
            # Nobody was told: when it is handed on, whoever waits for the page is the next.
            return Step(alert.model_copy(update={"recipients": ()}))
        case _:
            return Step(alert)


def _answered(
    rules: SiteRules, event: AlertDelivered | AlertUndelivered | AlertDeferred, alert: OpenAlert
) -> Step[OpenAlert]:
    """What became of the newest page, while it was under way."""
    match event:
        case AlertDelivered():
            return Step(alert.model_copy(update={"stage": Stage.DELIVERED, "deadline": alert.answer_by}))
        case AlertUndelivered():
            failed = {*alert.failed, event.recipient}
            heard = {"failed": tuple(sorted(failed)), "tried": alert.tried or event.tried}
            alert = alert.model_copy(update=heard)
            if not failed.issuperset(alert.recipients):
                return Step(alert)
            if not alert.repeats and _begins_anew(rules, _as_of(event, alert), alert):
                return Step(alert)
            return _unreached(rules, event, alert)
        case AlertDeferred():
            if alert.raised.priority in rules.paging.critical:
                return Step(alert)
            if alert.asked_on:
                return _unreached(rules, event, alert) if alert.repeats else Step(alert)
            return Step(_waiting(alert, PageReason.DEFERRED, deadline=event.until))


def _overdue(rules: SiteRules, event: DeadlinePassed, alert: OpenAlert) -> Step[OpenAlert]:
    match alert.stage:
        case Stage.WAITING:
            return _page(rules, event, alert)
        case Stage.PAGED:
            return _unreached(rules, event, alert)
        case Stage.DELIVERED:
            return _go_on(rules, event, alert, PageReason.UNANSWERED)
        case Stage.TAKEN:
            return Step(None, (_closed(event, alert, "acknowledged", alert.taken_by[0]),))
        case Stage.CLOSED:
            return Step(None)


def _act(rules: SiteRules, event: Act, alert: OpenAlert) -> Step[OpenAlert]:
    """What a person did. What was heard before changes nothing."""
    match event:
        case AlertSeen():
            known = alert.stage is Stage.CLOSED or event.by in alert.seen_by
            return Step(alert if known else alert.model_copy(update={"seen_by": (*alert.seen_by, event.by)}))
        case AlertHandedOn(attempt=attempt) if attempt != alert.attempt:
            return Step(alert)
        case AlertAcknowledged() | AlertHandedOn() if _is_given_back(event, alert):
            return Step(alert)
        case AlertAcknowledged(by=by) if by in alert.taken_by:
            return Step(alert)
        case AlertDismissed(by=by) if by == alert.dismissed_by:
            return Step(alert)
        case AlertAcknowledged() | AlertDismissed() | AlertHandedOn() if alert.stage is Stage.CLOSED:
            return _refuse(event, alert)
        case AlertDismissed():
            return _close(rules, event, alert.model_copy(update={"dismissed_by": event.by}), "dismissed")
        case AlertAcknowledged():
            deadline = alert.deadline if alert.stage is Stage.TAKEN else _remembered(rules, event)
            taken = {"stage": Stage.TAKEN, "taken_by": (*alert.taken_by, event.by), "deadline": deadline}
            return Step(alert.model_copy(update=taken))
        case AlertHandedOn():
            if alert.stage is Stage.TAKEN and event.by not in alert.taken_by:
                return _refuse(event, alert)
            gave_back = alert.gave_back | dict.fromkeys(alert.taken_by, event.time)
            handed_on = {"asked_on": True, "taken_by": (), "gave_back": gave_back}
            return _go_on(rules, event, alert.model_copy(update=handed_on), PageReason.ESCALATED)


def _is_given_back(act: AlertAcknowledged | AlertHandedOn, alert: OpenAlert) -> bool:
    """Whether a person did it before the alert that they had taken was handed on."""
    until = alert.gave_back.get(act.by)
    return until is not None and act.time <= until


def _unreached(rules: SiteRules, event: Event, alert: OpenAlert) -> Step[OpenAlert]:
    """The newest page reached nobody."""
    if alert.repeats:
        return _page(rules, event, _waiting(alert, PageReason.REPEATED, repeated=True))
    return _go_on(rules, event, alert, PageReason.UNDELIVERED)


def _go_on(rules: SiteRules, event: Event, alert: OpenAlert, why: PageReason) -> Step[OpenAlert]:
    """To the next in the chain. Whoever waits for a page is the next."""
    step = alert.step + 1 if alert.recipients else alert.step
    return _page(rules, event, _waiting(alert, why, step=step, repeated=False))


def _waiting(alert: OpenAlert, why: PageReason, **changes: Any) -> OpenAlert:
    """A page is to go out, for this reason."""
    return alert.model_copy(update={"stage": Stage.WAITING, "why": why, "recipients": (), **changes})


def _page(rules: SiteRules, event: Event, alert: OpenAlert) -> Step[OpenAlert]:
    """The page that waits goes out, is deferred, or waits on because nobody is on call."""
    paging, raised, now = rules.paging, alert.raised, _as_of(event, alert)
    asked = paging.on_call(now, alert.chain, alert.step)
    if asked is None:
        return _nobody(rules, event, alert)
    if (asked.chain, asked.step) != (alert.chain, alert.step):
        # At a hand-over nobody of the new shift has been asked yet.
        why = PageReason.UNDELIVERED if alert.why is PageReason.REPEATED else alert.why
        alert = alert.model_copy(update={"chain": asked.chain, "step": asked.step, "why": why, "repeated": False})
    alert = alert.model_copy(update={"attempt": alert.attempt + 1, "attempted_at": now})
    about = _about(event, alert) | {"time": now, "attempt": alert.attempt}
    until = paging.quiet_until(now, raised.priority)
    if until is not None and not alert.asked_on:
        deferred = AlertDeferred(**about, until=until, reason="quiet hours")
        return Step(_waiting(alert, PageReason.DEFERRED, deadline=until), (deferred,))
    page = AlertPaged(
        **about,
        step=asked.step,
        chain=asked.chain,
        recipients=asked.recipients,
        why=alert.why,
        deliver_by=paging.deliver_by(now, raised.priority),
        answer_by=paging.answer_by(now, raised.priority),
        priority=raised.priority,
        findings=raised.findings,
        reason=raised.reason,
        picture=raised.picture,
    )
    paged = {
        "stage": Stage.PAGED,
        "recipients": page.recipients,
        "failed": (),
        "tried": False,
        "answer_by": page.answer_by,
        "deadline": page.deliver_by + GRACE,
    }
    goes_on = (AlertEscalated(**about, why=page.why, step=page.step),) if page.why in _GOES_ON else ()
    return Step(alert.model_copy(update=paged), (*goes_on, page))


def _nobody(rules: SiteRules, event: Event, alert: OpenAlert) -> Step[OpenAlert]:
    """The site has no chains. Where it never had any for this alert, nobody may ever take it: that comes to an end."""
    if alert.attempt:
        return Step(alert.model_copy(update={"deadline": event.time + RETRY}))
    waited = event.time - alert.raised.time
    if waited >= timedelta(seconds=rules.completeness.keep_s):
        return Step(None, (_closed(event, alert, "nobody was on call"),))
    # Each time after twice as long, or a site that pages nobody would have a clock that never rests.
    return Step(alert.model_copy(update={"deadline": event.time + max(RETRY, waited)}))


def _begins_anew(rules: SiteRules, at: datetime, alert: OpenAlert) -> bool:
    """Whether the chain has no further step."""
    following = rules.paging.on_call(at, alert.chain, alert.step + 1)
    return following is not None and (following.chain, following.step) == (alert.chain, 0)


def _close(rules: SiteRules, event: AlertEvent, alert: OpenAlert, ending: str) -> Step[OpenAlert]:
    closed = {"stage": Stage.CLOSED, "ending": ending, "deadline": _remembered(rules, event)}
    return Step(alert.model_copy(update=closed), (_closed(event, alert, ending, alert.dismissed_by),))


def _closed(event: Event, alert: OpenAlert, reason: str, by: str | None = None) -> AlertClosed:
    return AlertClosed(**_about(event, alert), reason=reason, by=by)


def _refuse(act: Act, alert: OpenAlert | None) -> Step[OpenAlert]:
    """What was asked cannot be done any more. Looking at an alert always can."""
    if isinstance(act, AlertSeen):
        return Step(alert)
    if alert is None:
        reason = "no such alert is known: it was closed long ago, or never raised"
    elif alert.stage is Stage.TAKEN:
        reason = f"{alert.taken_by[0]} has taken it"
    else:
        reason = f"it was {alert.ending}" + (f" by {alert.dismissed_by}" if alert.dismissed_by else "")
    refused = AlertRefused(
        time=act.time,
        site=act.site,
        study_uid=act.study_uid,
        alert_id=act.alert_id,
        revision=act.revision,
        asked=act.TYPE,
        by=act.by,
        reason=reason,
    )
    return Step(alert, (refused,))


def _as_of(event: Event, alert: OpenAlert) -> datetime:
    """The time to decide at."""
    return max(event.time, alert.attempted_at or event.time)


def _about(event: Event, alert: OpenAlert) -> dict[str, Any]:
    """What every event of an alert says."""
    return {
        "time": event.time,
        "site": alert.site,
        "study_uid": alert.study_uid,
        "alert_id": alert.of_alert,
        "revision": alert.raised.revision,
    }


def _remembered(rules: SiteRules, event: Event) -> datetime:
    return event.time + timedelta(seconds=rules.completeness.keep_s)
