"""What a hop did with one event, and all that its decision hung on: with these a replay decides it again.

Events alone do not say in which order a hop took those of its topics, what its ports answered, or under which rules it
decided. A :class:`StepTaken` does. The rows before and after are named by their digests, so the steps of a key form a
chain, a step that was repeated after a crash included.
"""

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from schemas.audit import Origin
from schemas.base import Digest, ObjectRef, Record, StudyEvent, Utc


class Failure(StrEnum):
    """How a port failed, by the name of the exception (schemas/failures.py)."""

    UNAVAILABLE = "Unavailable"
    UNREADABLE = "Unreadable"
    NOT_INSTALLED = "NotInstalled"


class PortAnswer(Record):
    """What a port answered when it was asked once."""

    asked: str = Field(description="identify <model>@<version>, or read <content digest> <model digest>")
    answer: Digest | None = Field(
        default=None, description="Of the model, or of the stored reading's bytes; None where it failed"
    )
    device: str | None = None
    failure: Failure | None = None
    reason: str | None = Field(default=None, description="Of the failure, in one line that names no patient")


class Handled(StrEnum):
    """How an event came to its end in a hop."""

    DECIDED = "decided"
    WAITING = "waiting"
    """A port is away: what makes that visible was sent, and the event is tried again."""
    BURIED = "buried"
    """It could not be handled and became a dead letter."""


class StepTaken(StudyEvent):
    """A hop has handled an event."""

    TYPE: ClassVar[str] = "sinsok.StepTaken.v1"

    hop: str
    alert_id: UUID | None = Field(default=None, description="Where the row is an alert's; None where it is the study's")
    origin: Origin = Field(description="Of the event")
    event: UUID = Field(description="Its event_id")
    handled: Handled = Handled.DECIDED
    before: Digest | None = Field(default=None, description="Of the row, as JSON; None where there was none")
    after: Digest | None = Field(default=None, description="The same, behind the step")
    deadline: Utc | None = Field(default=None, description="When the row behind the step wants to hear of time")
    sent: tuple[UUID, ...] = Field(description="event_ids of what it sent, in order")
    rules: Annotated[ObjectRef | None, Field(description="The rules of the site that it decided by")] = None
    answers: tuple[PortAnswer, ...] = ()

    def identity(self) -> tuple[object, ...]:
        """One step for an event on a row; the same again after a crash is the same."""
        return (self.key, self.hop, *self.origin.model_dump().values(), self.before, self.handled)

    @property
    def key(self) -> str:
        """The alert id where the row is an alert's, else the study key."""
        return super().key if self.alert_id is None else str(self.alert_id)
