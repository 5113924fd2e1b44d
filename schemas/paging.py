"""An alert's way to a person: who is paged and why, whether that arrived, and what the person did.

An alert is a promise. It is *raised*, *paged* to people, *delivered* when a far side said so, *seen*, and
*acknowledged* by a person who takes it, or *escalated* to the next until one does. It ends *dismissed*, *closed*, or
withdrawn (:class:`schemas.events.AlertWithdrawn`). What may not be done any more is *refused*, with a reason.

People are named by their accounts and recipients by their names in the configuration; neither is a patient.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from schemas.base import NOTICE, Notice, Utc
from schemas.events import AlertEvent, Finding, KeyPicture, Priority

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
"""Of a recipient in the configuration, or of an account."""
Attempt = Annotated[int, Field(ge=1, description="Counts the pages of an alert, deferred ones too")]


class PageReason(StrEnum):
    """Why a page goes out."""

    RAISED = "raised"
    """The alert is new."""
    UNDELIVERED = "undelivered"
    """The page before it reached nobody."""
    UNANSWERED = "unanswered"
    """Nobody took the alert in time."""
    ESCALATED = "escalated"
    """A person asked for the next one."""
    DEFERRED = "deferred"
    """It was not to disturb anybody until now."""
    REPEATED = "repeated"
    """Nothing was said of the page before, or nobody tried it: the same step once more."""


class AlertPaged(AlertEvent):
    """These recipients are to be told, now. Notifiers do so; everything they need to say stands here."""

    TYPE: ClassVar[str] = "sinsok.AlertPaged.v1"

    attempt: Attempt
    step: Annotated[int, Field(ge=0, description="Place in the on-call chain")]
    chain: str = Field(description="The on-call chain that was in force")
    recipients: Annotated[tuple[Name, ...], Field(min_length=1)]
    why: PageReason
    deliver_by: Utc = Field(description="Tried in vain by then, it goes on to the next; not tried, it comes once more")
    answer_by: Utc = Field(description="Not acknowledged by then, it goes on to the next")
    priority: Priority
    findings: tuple[Finding, ...]
    reason: str = Field(description="The rule of the site's policy that raised the alert")
    picture: KeyPicture | None = None
    notice: Notice = NOTICE

    def identity(self) -> tuple[object, ...]:
        """One page for an attempt."""
        return (self.alert_id, self.attempt)


class AlertDeferred(AlertEvent):
    """An alert that is not critical waits: for the end of quiet hours, or as one too many for a shift."""

    TYPE: ClassVar[str] = "sinsok.AlertDeferred.v1"

    attempt: Attempt
    until: Utc = Field(description="Then it is paged, if it is still open; the digest and the worklist have it now")
    reason: str

    def identity(self) -> tuple[object, ...]:
        """A page is deferred once."""
        return (self.alert_id, self.attempt)


class AlertDelivered(AlertEvent):
    """A far side said that it has the page for this recipient."""

    TYPE: ClassVar[str] = "sinsok.AlertDelivered.v1"

    attempt: Attempt
    recipient: Name
    channel: str
    answer: str = Field(description="What the far side said: 250 2.0.0 accepted, HTTP 200")

    def identity(self) -> tuple[object, ...]:
        """A page is delivered once to a recipient on a channel."""
        return (self.alert_id, self.attempt, self.recipient, self.channel)


class AlertUndelivered(AlertEvent):
    """Every channel of a recipient failed for a page, or its time was over before one was tried."""

    TYPE: ClassVar[str] = "sinsok.AlertUndelivered.v1"

    attempt: Attempt
    recipient: Name
    reason: str
    tried: bool = Field(default=True, description="False: it expired before anything was tried")

    def identity(self) -> tuple[object, ...]:
        """A page fails once for a recipient."""
        return (self.alert_id, self.attempt, self.recipient)


class AlertSeen(AlertEvent):
    """A person has opened it."""

    TYPE: ClassVar[str] = "sinsok.AlertSeen.v1"

    by: Name

    def identity(self) -> tuple[object, ...]:
        """It is seen once by a person."""
        return (self.alert_id, self.by)


class AlertAcknowledged(AlertEvent):
    """A person has taken it: it goes on to nobody else, unless they hand it on."""

    TYPE: ClassVar[str] = "sinsok.AlertAcknowledged.v1"

    by: Name

    def identity(self) -> tuple[object, ...]:
        """A second person may take it as well, and who handed it on may take it again."""
        return (self.alert_id, self.by, self.time.isoformat())


class AlertDismissed(AlertEvent):
    """A person looked, and says that it is no finding. The reason goes to the evaluation."""

    TYPE: ClassVar[str] = "sinsok.AlertDismissed.v1"

    by: Name
    reason: Annotated[str, Field(min_length=1, max_length=500)]

    def identity(self) -> tuple[object, ...]:
        """It is dismissed once by a person."""
        return (self.alert_id, self.by)


class AlertHandedOn(AlertEvent):
    """A person asks for the next one in the chain, without waiting. Who had taken the alert has it no more."""

    TYPE: ClassVar[str] = "sinsok.AlertHandedOn.v1"

    by: Name
    attempt: Attempt = Field(description="The page that was the newest when the person asked")

    def identity(self) -> tuple[object, ...]:
        """A page is handed on once by a person."""
        return (self.alert_id, self.by, self.attempt)


class AlertEscalated(AlertEvent):
    """It goes on to the next in the chain; the page follows."""

    TYPE: ClassVar[str] = "sinsok.AlertEscalated.v1"

    attempt: Attempt = Field(description="Of the page that follows")
    why: PageReason
    step: Annotated[int, Field(ge=0)]

    def identity(self) -> tuple[object, ...]:
        """One escalation for a page."""
        return (self.alert_id, self.attempt)


class AlertClosed(AlertEvent):
    """Nothing more will come of it: it was dismissed or withdrawn, or those who took it had the time they need."""

    TYPE: ClassVar[str] = "sinsok.AlertClosed.v1"

    reason: str
    by: Name | None = Field(default=None, description="Who ended it; None where nobody did")

    def identity(self) -> tuple[object, ...]:
        """It is closed once."""
        return (self.alert_id,)


class AlertRefused(AlertEvent):
    """Something was asked of an alert that cannot be done any more; nothing has changed."""

    TYPE: ClassVar[str] = "sinsok.AlertRefused.v1"

    asked: str = Field(description="The event that asked, by its type")
    by: Name
    reason: str

    def identity(self) -> tuple[object, ...]:
        """One refusal for what was asked, by whom and when. Heard again, it may be refused for another reason."""
        return (self.alert_id, self.asked, self.by, self.time)
