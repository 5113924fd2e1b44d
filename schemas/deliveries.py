"""What became of a result at the hospital: in the PACS, next to the images, and in the worklist."""

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from schemas.base import Record, StudyEvent, Uid
from schemas.events import Priority


class ObjectKind(StrEnum):
    """The DICOM objects a result is written as."""

    REPORT = "report"
    """Structured report, TID 1500 (PS3.16, annex A)."""
    SEGMENTATION = "segmentation"
    KEY_IMAGE = "key_image"
    """Secondary Capture with the lesion outlined."""
    REJECTION = "rejection"
    """Key Object Selection that takes earlier objects out of use (IHE Imaging Object Change Management)."""


class WrittenObject(Record):
    """A DICOM object that was written for a result."""

    kind: ObjectKind
    sop_class_uid: Uid
    sop_instance_uid: Uid
    series_uid: Uid


class Proof(StrEnum):
    """How it is known that the PACS has the objects."""

    COMMITMENT = "commitment"
    """It took responsibility (Storage Commitment, PS3.4, annex J)."""
    QUERY = "query"
    """It was asked for every object, and has it."""
    ANSWER = "answer"
    """It answered success when it was sent them; nothing more was asked."""


class DeliveryEvent(StudyEvent):
    """What became of one result at one system of the hospital."""

    revision: Annotated[int, Field(ge=1)]
    unconfirmed: bool = Field(description="As in the result: the result of a second reading takes its place")
    result: UUID = Field(description="event_id of the StudyTriaged")
    destination: str = Field(description="The system as the configuration names it: suwon/pacs, suwon/hl7")


class ResultArchived(DeliveryEvent):
    """The objects of a result are in the PACS, and it has them for certain."""

    TYPE: ClassVar[str] = "sinsok.ResultArchived.v1"

    objects: Annotated[tuple[WrittenObject, ...], Field(min_length=1)]
    proof: Proof
    transaction_uid: Uid | None = Field(description="Of the storage commitment; None where there was none")
    replaces: UUID | None = Field(description="The result whose objects these take the place of, by its event_id")

    def identity(self) -> tuple[object, ...]:
        """A result is archived once at a destination."""
        return (self.result, self.destination)


class ResultRejected(DeliveryEvent):
    """The PACS will not have a result, or it cannot be written: a person has to look."""

    TYPE: ClassVar[str] = "sinsok.ResultRejected.v1"

    status: str | None = Field(description="What the PACS answered, 0xA900; None where it was not asked")
    reason: str

    def identity(self) -> tuple[object, ...]:
        """One event for a result, a destination and a reason."""
        return (self.result, self.destination, self.status, self.reason)


class ResultHeld(DeliveryEvent):
    """The study in the PACS is not the one the images came from: nothing is written until they agree again."""

    TYPE: ClassVar[str] = "sinsok.ResultHeld.v1"

    reason: str = Field(description="Which attributes differ, by name and without their values")

    def identity(self) -> tuple[object, ...]:
        """One event for a result, a destination and a reason."""
        return (self.result, self.destination, self.reason)


class WorklistUpdated(DeliveryEvent):
    """The hospital's worklist has taken the priority of a study."""

    TYPE: ClassVar[str] = "sinsok.WorklistUpdated.v1"

    priority: Priority = Field(description="What stands there now: as urgent as the AI, or more")
    message: str = Field(description="What was accepted: an HL7 message control id, or the UID of a workitem")

    def identity(self) -> tuple[object, ...]:
        """A result moves a worklist once."""
        return (self.result, self.destination)


class WorklistRejected(DeliveryEvent):
    """The worklist will not have the update, or not all of it: a person has to look."""

    TYPE: ClassVar[str] = "sinsok.WorklistRejected.v1"

    reason: str = Field(description="What was answered, AR or HTTP 409, in words that quote nothing")
    priority: Priority | None = Field(
        default=None, description="What stands there now, where a part was accepted; None where nothing was"
    )
    message: str | None = Field(default=None, description="That part, as in WorklistUpdated")

    def identity(self) -> tuple[object, ...]:
        """One event for a result, a destination and a reason."""
        return (self.result, self.destination, self.reason)
