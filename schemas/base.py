"""What every event has: an envelope, an identity, and the types its fields are made of.

Events are facts in the past tense: frozen, closed (unknown fields are refused), with times in UTC. An event's id is
derived from what it says, so the same input gives the same id on a replay and a consumer can drop what it has seen.
No event carries a patient's name, id, birth date or accession number.
"""

from abc import abstractmethod
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Final, Literal, Self, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from schemas.identity import derived_id, study_key

NOTICE: Final = "AI output. Not for diagnosis without a physician."
"""Stands in every event that carries something a model said."""

Notice = Literal["AI output. Not for diagnosis without a physician."]


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC it is before the first or after the last year") from None


Utc = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Uid = Annotated[str, Field(min_length=1, max_length=128, description="A DICOM UID as it was received, valid or not")]
Site = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Millimetres = tuple[float, float, float]

T = TypeVar("T")
SortedSet = Annotated[frozenset[T], PlainSerializer(sorted, return_type=list[T], when_used="json")]
"""A set whose JSON is the same in every process."""

_UNSET: Final = UUID(int=0)


class Record(BaseModel):
    """A frozen, closed value."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Event(Record):
    """What every event has. Its CloudEvents type is ``TYPE``; ``identity`` says what makes it the same event."""

    TYPE: ClassVar[str]

    event_id: UUID = Field(default=_UNSET, description="uuid5 over what the event says; also ce_id")
    time: Utc = Field(description="When it happened, UTC; also ce_time")
    site: Site

    @model_validator(mode="after")
    def _derive_id(self) -> Self:
        if self.event_id == _UNSET:
            object.__setattr__(self, "event_id", derived_id(self.TYPE, *self.identity()))
        return self

    @abstractmethod
    def identity(self) -> tuple[object, ...]:
        """The parts ``event_id`` is derived from."""

    @property
    def key(self) -> str:
        """The Kafka key."""
        raise NotImplementedError


class StudyEvent(Event):
    """An event about one study, keyed by its study key."""

    study_uid: Uid

    @property
    def key(self) -> str:
        """The study key."""
        return study_key(self.site, self.study_uid)


class ObjectRef(Record):
    """A claim check: where bytes too large or too private for Kafka are, and what they must hash to."""

    uri: str
    digest: Digest
    size_bytes: Annotated[int, Field(ge=0)]


def utc(seconds: float) -> datetime:
    """An aware UTC time from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)
