"""An alert as it stands, from its events in whatever order and however often they come."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from schemas.events import AlertEvent, AlertRaised, AlertWithdrawn, Priority
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
    pages: dict[int, Page] = field(default_factory=dict)
    delivered: dict[tuple[int, str], datetime] = field(default_factory=dict)
    undelivered: dict[tuple[int, str], str] = field(default_factory=dict)
    deferred_until: datetime | None = None
    seen: dict[str, datetime] = field(default_factory=dict)
    acknowledged: dict[str, datetime] = field(default_factory=dict)
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
            delivered=dict(self.delivered),
            undelivered=dict(self.undelivered),
            seen=dict(self.seen),
            acknowledged=dict(self.acknowledged),
            handed_on=dict(self.handed_on),
            refused=dict(self.refused),
        )

    def take(self, event: AlertEvent) -> None:
        """Take in an event; the same one again changes nothing."""
        match event:
            case AlertRaised():
                self.raised_at, self.priority, self.reason = event.time, event.priority, event.reason
            case AlertPaged():
                self.pages[event.attempt] = Page(event.time, event.recipients, event.why, event.answer_by)
            case AlertDeferred():
                self.deferred_until = max(event.until, self.deferred_until or event.until)
            case AlertDelivered():
                self.delivered.setdefault((event.attempt, event.recipient), event.time)
            case AlertUndelivered():
                self.undelivered[event.attempt, event.recipient] = event.reason
            case AlertSeen():
                self.seen.setdefault(event.by, event.time)
            case AlertAcknowledged():
                self.acknowledged.setdefault(event.by, event.time)
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
        """Who has it: the first to acknowledge it whose word was not refused."""
        refused = {act.by for asked, act in self.refused.values() if asked == AlertAcknowledged.TYPE}
        held = {by: at for by, at in self.acknowledged.items() if by not in refused}
        return min(held, key=held.__getitem__, default=None)

    @property
    def is_dismissed(self) -> bool:
        """Whether a person said that it is no finding, and that was not refused."""
        refused = {act.by for asked, act in self.refused.values() if asked == AlertDismissed.TYPE}
        return self.dismissed is not None and self.dismissed.by not in refused

    @property
    def attempt(self) -> int:
        """The newest page; 0 before the first."""
        return max(self.pages, default=0)

    @property
    def waits_for(self) -> tuple[str, ...]:
        """Whom the newest page asks."""
        return self.pages[self.attempt].recipients if self.pages else ()

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
        if not self.pages:
            seen, waits = AlertState.SEEN, AlertState.DEFERRED if self.deferred_until else AlertState.RAISED
            return seen if self.seen else waits
        attempt, newest = self.attempt, self.pages[self.attempt]
        if any(at >= newest.at for at in self.seen.values()):
            return AlertState.SEEN
        if any(page == attempt for page, _ in self.delivered):
            return AlertState.DELIVERED if attempt == 1 else AlertState.ESCALATED
        if all((attempt, recipient) in self.undelivered for recipient in newest.recipients):
            return AlertState.UNDELIVERED
        return AlertState.PAGED if attempt == 1 else AlertState.ESCALATED

    @property
    def ended(self) -> bool:
        """Whether nothing more can be done to it."""
        return self.state in ENDED
