"""What people, and the keepers of the record, did: who looked at what, replayed it, archived it, mended it.

All of it goes into the audit trail with everything else (schemas/trail.py).
"""

from abc import ABC
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from schemas.base import Digest, Event, ObjectRef, Record, Site, StudyEvent, Utc
from schemas.paging import Name

INSTALLATION: Final[Site] = "sinsok"
"""Stands where a site would, in events about the installation as a whole. No site may have this name."""


class Origin(Record):
    """Where a record stands."""

    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]


class Role(StrEnum):
    """What a person is at a site, as far as the console cares."""

    RADIOLOGIST = "radiologist"
    """Sees studies, and takes, hands on and dismisses alerts."""
    OPERATOR = "operator"
    """Sees how the parts are, and no study."""
    AUDITOR = "auditor"
    """Sees studies and their timelines, and does nothing to them."""
    ADMIN = "admin"
    """Sees all that operators and auditors see."""


class Sight(StrEnum):
    """What of a study was looked at."""

    PAGE = "page"
    """Findings, timeline; with the patient, where the site shows one."""
    PICTURES = "pictures"


class StudyViewed(StudyEvent):
    """A person has looked at a study."""

    TYPE: ClassVar[str] = "sinsok.StudyViewed.v1"

    by: Name
    role: Role
    what: Sight

    def identity(self) -> tuple[object, ...]:
        """Every look is one of its own."""
        return (self.key, self.by, self.what, self.time.isoformat())


class RecordAct(Event, ABC):
    """Something done to the record itself, by a person or by a process, at a site or at the whole installation."""

    by: Name = Field(description="The account, the user of the machine, or the process")

    @property
    def key(self) -> str:
        """The site."""
        return self.site


class ReplayStarted(RecordAct):
    """A part of the record is being run again, with no effect on the outside world."""

    TYPE: ClassVar[str] = "sinsok.ReplayStarted.v1"

    run: str
    begin: Utc | None = Field(description="None: from the beginning of the record")
    end: Utc | None = Field(description="None: to its end at that time")
    differs: tuple[str, ...] = Field(
        description="In what the run differs from then: model, policy; nothing where empty"
    )

    def identity(self) -> tuple[object, ...]:
        """A run is started once, and once for each time it is resumed."""
        return (self.site, self.run, self.time.isoformat())


class ReplayFinished(RecordAct):
    """A run came to its end: so many studies were decided as they had been, and so many were not."""

    TYPE: ClassVar[str] = "sinsok.ReplayFinished.v1"

    run: str
    same: Annotated[int, Field(ge=0)]
    different: Annotated[int, Field(ge=0)]
    report: Digest = Field(description="Of the report's JSON")

    def identity(self) -> tuple[object, ...]:
        """A run is finished once with a report."""
        return (self.site, self.run, self.report)


class LetterRequeued(RecordAct):
    """A dead letter went back to the topic it came from."""

    TYPE: ClassVar[str] = "sinsok.LetterRequeued.v1"

    letter: Origin
    attempt: Annotated[int, Field(ge=1, description="Counts how often this message was requeued")]
    to: str = Field(description="The topic")

    def identity(self) -> tuple[object, ...]:
        """A letter may be requeued again."""
        return (self.letter.partition, self.letter.offset, self.by, self.time.isoformat())


class LetterDiscarded(RecordAct):
    """A dead letter will not be handled any more, and why."""

    TYPE: ClassVar[str] = "sinsok.LetterDiscarded.v1"

    letter: Origin
    reason: Annotated[str, Field(min_length=1, max_length=500)]

    def identity(self) -> tuple[object, ...]:
        """A letter is discarded once by a person."""
        return (self.letter.partition, self.letter.offset, self.by)


class SegmentArchived(RecordAct):
    """A run of records of a partition stands in the archive, read back and found whole."""

    TYPE: ClassVar[str] = "sinsok.SegmentArchived.v1"

    first: Origin
    last_offset: Annotated[int, Field(ge=0)]
    records: Annotated[int, Field(ge=1)]
    segment: ObjectRef

    def identity(self) -> tuple[object, ...]:
        """A content is archived once."""
        return (self.first.topic, self.first.partition, self.first.offset, self.segment.digest)


class RecordsDropped(RecordAct):
    """The broker has let go of records that are old enough, and stand in the archive."""

    TYPE: ClassVar[str] = "sinsok.RecordsDropped.v1"

    before: Origin = Field(description="The first record that the broker kept")

    def identity(self) -> tuple[object, ...]:
        """Records are dropped once."""
        return (self.before.topic, self.before.partition, self.before.offset)


class AuditExported(RecordAct):
    """A part of the audit trail left the installation."""

    TYPE: ClassVar[str] = "sinsok.AuditExported.v1"

    what: str = Field(description="bundle of study <study key>, or the syslog server")
    records: Annotated[int, Field(ge=0)]

    def identity(self) -> tuple[object, ...]:
        """Every export is one of its own."""
        return (self.site, self.what, self.by, self.time.isoformat())
