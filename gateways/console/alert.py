"""An alert as it stands, from its events in whatever order and however often they come."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from schemas.events import AlertEvent, AlertRaised, AlertWithdrawn, Finding, Priority
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


class AlertState(StrEnum):
    """Where an alert stands on its way to a person."""

    RAISED = "raised"
    DEFERRED = "deferred"
    PAGED = "paged"
    UNDELIVERED = "not delivered"
    DELIVERED = "delivered"
    SEEN = "seen"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    DISMISSED = "not a finding"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


ENDED = frozenset({AlertState.DISMISSED, AlertState.CLOSED, AlertState.WITHDRAWN})


class Page(NamedTuple):
    """Who was told, why, and until when an answer is waited for."""

    at: datetime
    recipients: tuple[str, ...]
    why: PageReason
    answer_by: datetime


class Deferral(NamedTuple):
    """A page that waits, and until when."""

    at: datetime
    until: datetime


class Act(NamedTuple):
    """What a person or a hop said, and when."""

    at: datetime
    by: str | None
    reason: str = ""


@dataclass
class Alert:
    """All that is known of one alert."""

    alert_id: UUID
    raised_at: datetime | None = None
    priority: Priority = Priority.URGENT
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    revision: int = 0
    """Of the study, in which the findings were seen."""
    pages: dict[int, Page] = field(default_factory=dict)
    deferrals: dict[int, Deferral] = field(default_factory=dict)
    delivered: dict[tuple[int, str], datetime] = field(default_factory=dict)
    undelivered: dict[tuple[int, str], str] = field(default_factory=dict)
    seen: dict[str, datetime] = field(default_factory=dict)
    acknowledged: set[tuple[datetime, str]] = field(default_factory=set)
    handed_on: dict[tuple[str, int], datetime] = field(default_factory=dict)
    refused: dict[UUID, tuple[str, Act]] = field(default_factory=dict)
    dismissed: Act | None = None
    closed: Act | None = None
    withdrawn: Act | None = None
    replaced_by: UUID | None = None

    def snapshot(self) -> "Alert":
        """A copy that stays as it is."""
        return replace(
            self,
            pages=dict(self.pages),
            deferrals=dict(self.deferrals),
            delivered=dict(self.delivered),
            undelivered=dict(self.undelivered),
            seen=dict(self.seen),
            acknowledged=set(self.acknowledged),
            handed_on=dict(self.handed_on),
            refused=dict(self.refused),
        )

    def take(self, event: AlertEvent) -> None:
        """Take in an event; the same one again changes nothing."""
        match event:
            case AlertRaised():
                self.raised_at, self.priority, self.reason = event.time, event.priority, event.reason
                self.findings, self.revision = event.findings, event.revision
            case AlertPaged():
                self.pages[event.attempt] = Page(event.time, event.recipients, event.why, event.answer_by)
            case AlertDeferred():
                self.deferrals[event.attempt] = Deferral(event.time, event.until)
            case AlertDelivered():
                self.delivered.setdefault((event.attempt, event.recipient), event.time)
            case AlertUndelivered():
                self.undelivered[event.attempt, event.recipient] = event.reason
            case AlertSeen():
                self.seen.setdefault(event.by, event.time)
            case AlertAcknowledged():
                self.acknowledged.add((event.time, event.by))
            case AlertHandedOn():
                self.handed_on.setdefault((event.by, event.attempt), event.time)
            case AlertRefused():
                self.refused[event.event_id] = event.asked, Act(event.time, event.by, event.reason)
            case AlertDismissed() if not self.dismissed or event.time < self.dismissed.at:
                self.dismissed = Act(event.time, event.by, event.reason)
            case AlertClosed():
                self.closed = Act(event.time, event.by, event.reason)
            case AlertWithdrawn():
                self.withdrawn, self.replaced_by = Act(event.time, None, event.reason), event.replaced_by
            case _:
                pass

    @property
    def taken_by(self) -> str | None:
        """Who has it: the first to acknowledge it whose word was not refused, since one who had it handed it on."""
        refused = self._refused(AlertAcknowledged)
        held = sorted((at, by) for at, by in self.acknowledged if by not in refused)
        given_back = [
            at
            for (by, attempt), at in self.handed_on.items()
            if (by, at) not in self._refused_at(AlertHandedOn) and any(who == by and had <= at for had, who in held)
        ]
        return next((by for at, by in held if not given_back or at > max(given_back)), None)

    @property
    def handed_on_by(self) -> str | None:
        """Who asked for the next one, as long as nobody was asked since."""
        refused = self._refused_at(AlertHandedOn)
        asked = {
            by: at
            for (by, attempt), at in self.handed_on.items()
            if attempt == self.attempt and (by, at) not in refused
        }
        return max(asked, key=asked.__getitem__, default=None)

    @property
    def is_dismissed(self) -> bool:
        """Whether a person said that it is no finding, and that was not refused."""
        return self.dismissed is not None and self.dismissed.by not in self._refused(AlertDismissed)

    def _refused(self, asked: type[AlertEvent]) -> set[str | None]:
        return {by for by, _ in self._refused_at(asked)}

    def _refused_at(self, asked: type[AlertEvent]) -> set[tuple[str | None, datetime]]:
        """Who was refused this, and when: a refusal has the time of what it refuses."""
        return {(act.by, act.at) for what, act in self.refused.values() if what == asked.TYPE}

    @property
    def attempt(self) -> int:
        """The newest page or deferral, as the hop counts them; 0 before the first."""
        return max([*self.pages, *self.deferrals], default=0)

    @property
    def waits_for(self) -> tuple[str, ...]:
        """Whom the newest page asks; nobody while it is deferred."""
        page = self.pages.get(self.attempt)
        return page.recipients if page else ()

    @property
    def state(self) -> AlertState:
        """Where it stands: what ended it, who took it, else how far the newest page has come."""
        if self.withdrawn:
            return AlertState.WITHDRAWN
        if self.is_dismissed:
            return AlertState.DISMISSED
        if self.closed:
            return AlertState.CLOSED
        return AlertState.ACKNOWLEDGED if self.taken_by else self._way()

    def _way(self) -> AlertState:
        attempt = self.attempt
        page, deferral = self.pages.get(attempt), self.deferrals.get(attempt)
        newest = deferral or page
        if any(newest is None or at >= newest.at for at in self.seen.values()):
            return AlertState.SEEN
        if page is None:
            return AlertState.DEFERRED if deferral else AlertState.RAISED
        onward = page.why in (PageReason.UNDELIVERED, PageReason.UNANSWERED, PageReason.ESCALATED)
        if any(one == attempt for one, _ in self.delivered):
            return AlertState.ESCALATED if onward else AlertState.DELIVERED
        if all((attempt, recipient) in self.undelivered for recipient in page.recipients):
            return AlertState.UNDELIVERED
        if deferral:
            return AlertState.DEFERRED
        return AlertState.ESCALATED if onward else AlertState.PAGED

    @property
    def ended(self) -> bool:
        """Whether nothing more can be done to it."""
        return self.state in ENDED
