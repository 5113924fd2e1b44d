"""What happened to a study from its images to its alert, in that order. What all events share is in base.py."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final
from uuid import UUID

from pydantic import Field

from schemas.base import (
    NOTICE,
    Digest,
    Event,
    Millimetres,
    Notice,
    ObjectRef,
    Record,
    StudyEvent,
    Uid,
    Utc,
)
from schemas.codes import Code
from schemas.identity import study_key

# --- receive -------------------------------------------------------------------------------------------------------


class Gap(Record):
    """Slices that are not there: how many would fit between two neighbours, and where (mm along the slice normal)."""

    after_mm: float
    before_mm: float
    missing: Annotated[int, Field(ge=1)]


class Geometry(Record):
    """The stack a series forms (DICOM PS3.3, C.7.6.2), from positions and orientations alone."""

    slices: Annotated[int, Field(ge=1, description="Distinct slice positions")]
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float] = Field(description="Between rows, between columns")
    spacing_mm: float = Field(description="Median distance of neighbouring slices along their normal; 0 for one slice")
    extent_mm: float = Field(description="From the first to the last slice along their normal")
    orientation: tuple[float, float, float, float, float, float] = Field(description="ImageOrientationPatient")
    tilt_deg: float = Field(description="Gantry tilt: angle of slice offsets to the slice normal")
    duplicate_positions: int = Field(description="Slices beyond the first at a position")
    gaps: tuple[Gap, ...]
    contiguous: bool = Field(description="At least two slices, one orientation and no gap")


class Series(Record):
    """All that is known of a series so far, over every batch of it: enough to decide, nothing to identify."""

    series_uid: Uid
    modality: str | None
    body_part: str | None
    study_description: str | None
    series_description: str | None
    image_type: tuple[str, ...] = ()
    kernel: str | None
    slice_thickness_mm: float | None
    sop_classes: tuple[str, ...]
    transfer_syntaxes: tuple[str, ...]
    instances: Annotated[int, Field(ge=1)]
    expected_instances: int | None = Field(description="ImagesInAcquisition (0020,1002), where the scanner says it")
    conflicts: int = Field(default=0, description="Objects kept beside another with the same UID and other bytes")
    missing_objects: int = Field(default=0, description="Instances whose stored bytes are gone")
    geometry: Geometry | None = Field(description="None where the instances form no stack")
    first_image_at: Utc
    last_image_at: Utc
    manifest: ObjectRef = Field(description="Lists the instances; its digest stands for the content of the series")


class BatchEnd(StrEnum):
    """How the gateway learnt that no more images come for now."""

    RELEASED = "released"
    ABORTED = "aborted"
    IDLE = "idle"
    RECOVERED = "recovered"


class SeriesReceived(StudyEvent):
    """A batch of images of one series is durably stored. Cumulative: the newest batch says all there is."""

    TYPE: ClassVar[str] = "sinsok.SeriesReceived.v1"

    batch: Annotated[int, Field(ge=1, description="Counts the batches of this series, from 1")]
    study_batch: Annotated[int, Field(ge=1, description="Counts the batches of this study over all series, from 1")]
    batch_end: BatchEnd
    open_associations: Annotated[int, Field(ge=0, description="Other associations still sending this series")]
    sending_ae: str
    called_ae: str
    series: Series

    def identity(self) -> tuple[object, ...]:
        """One event for each batch and content."""
        return (self.key, self.series.series_uid, self.batch, self.series.manifest.digest)


class InstanceQuarantined(Event):
    """Bytes that could not be understood were kept aside; a person has to look."""

    TYPE: ClassVar[str] = "sinsok.InstanceQuarantined.v1"

    reason: str
    sending_ae: str
    called_ae: str
    stored: ObjectRef

    def identity(self) -> tuple[object, ...]:
        """One event for the same bytes at the same site."""
        return (self.site, self.stored.digest)

    @property
    def key(self) -> str:
        """A key of its own: the study of such bytes is not known."""
        return study_key(self.site, self.stored.digest)


# --- assemble ------------------------------------------------------------------------------------------------------


class DeadlinePassed(StudyEvent):
    """Time, as an event: the deadline a study's or an alert's state had set is over. Ignored where it has moved on."""

    TYPE: ClassVar[str] = "sinsok.DeadlinePassed.v1"

    hop: str
    deadline: Utc
    alert_id: UUID | None = Field(default=None, description="The alert that waited; None where the study did")

    def identity(self) -> tuple[object, ...]:
        """One event for a deadline of a study, or of an alert, in a hop."""
        return (self.key, self.hop, self.deadline.isoformat())

    @property
    def key(self) -> str:
        """The alert id where an alert waited, else the study key."""
        return super().key if self.alert_id is None else str(self.alert_id)


class ClosingReason(StrEnum):
    """Why a study was handed on."""

    CONTIGUOUS = "contiguous"
    """A series worth triaging forms a stack without gaps and its association was released."""
    QUIET = "quiet"
    """No image came for the quiet time of the site and modality."""
    CAP = "cap"
    """Images kept coming for longer than the site allows to wait."""


class Evidence(Record):
    """One observation that speaks for or against completeness, and its series where it is about one."""

    observation: str
    series_uid: Uid | None = None
    complete: bool


class StudyAssembled(StudyEvent):
    """Revision n of a study: its series as they stand, and why it was handed on now."""

    TYPE: ClassVar[str] = "sinsok.StudyAssembled.v1"

    revision: Annotated[int, Field(ge=1)]
    final: bool
    reason: ClosingReason
    confidence: Annotated[float, Field(ge=0, le=1, description="Share of the evidence that speaks for completeness")]
    evidence: tuple[Evidence, ...]
    series: tuple[Series, ...]
    supersedes: int | None = Field(description="The revision before this one, which it replaces")

    def identity(self) -> tuple[object, ...]:
        """One event for a revision of a content."""
        content = ",".join(sorted(series.manifest.digest for series in self.series))
        return (self.key, self.revision, self.final, content)


# --- infer ---------------------------------------------------------------------------------------------------------


class Outcome(StrEnum):
    """What came of looking at a study. Only ``no_findings`` means that a model looked and saw nothing."""

    FINDINGS = "findings"
    NO_FINDINGS = "no_findings"
    NOT_APPLICABLE = "not_applicable"
    FAILED = "failed"


NOT_YET: Final = "AI did not run yet"
"""How the reason of a ``failed`` result begins that is given while the models are away: the true result follows."""


class Priority(StrEnum):
    """How soon a person should look."""

    STAT = "stat"
    URGENT = "urgent"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """0 for the most urgent."""
        return list(Priority).index(self)


class Side(StrEnum):
    """Where a lesion lies in a head. Left and right are the patient's own."""

    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"


class Finding(Record):
    """A lesion a model reports. Coordinates are patient coordinates (LPS, mm; DICOM PS3.3, C.7.6.2.1.1)."""

    code: Code
    probability: Annotated[float, Field(ge=0, le=1)]
    volume_ml: Annotated[float, Field(ge=0)]
    centroid_mm: Millimetres
    box_mm: tuple[Millimetres, Millimetres] = Field(description="Corner with the least and with the greatest x, y, z")
    series_uid: Uid
    key_instance_uid: Uid = Field(description="SOP Instance UID of the slice with most of the lesion")
    key_frame: int | None = Field(default=None, description="Frame number from 1, in a multi-frame instance")
    side: Side | None = Field(default=None, description="The patient's side of a head; None where no middle was found")
    agreement: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="Mean share of the model's members that marked a lesion there"
    )


class Provenance(Record):
    """What spoke."""

    model: str
    version: str
    digest: Digest
    device: str


class Reading(Record):
    """A model's recorded answer for one series: the answer of the Inference port, kept so that a replay can use it."""

    findings: tuple[Finding, ...]
    scores: dict[str, float] = Field(default_factory=dict, description="Per class, 0 to 1, keyed by coded concept")
    label_map: ObjectRef | None = Field(
        description="Compressed numpy archive: labels uint8 [z,y,x], affine 4x4 to LPS mm"
    )
    cautions: tuple[str, ...] = Field(default=(), description="What to know before trusting it, for example gaps")
    refused: str | None = Field(
        default=None, description="Why the series is nothing for this model, which then was not asked"
    )
    midline_shift_mm: float | None = Field(
        default=None,
        description="Of the septum, positive to the left; None where there is no lesion or no sure measurement",
    )
    provenance: Provenance
    content: Digest = Field(description="The series content (manifest digest) it answers for")
    completed_at: Utc
    seconds: dict[str, float] = Field(default_factory=dict, description="Time of each step, in seconds")


class SeriesDecision(Record):
    """Why a series was or was not shown to a model, and what the model answered."""

    series_uid: Uid
    model: str | None
    reason: str
    reading: Reading | None = None
    manifest: ObjectRef | None = Field(
        default=None, description="Lists the images the decision is about; None in results of before 0.1"
    )


class StudyTriaged(StudyEvent):
    """The result for revision n of a study. Later revisions supersede it, and a confirmed result an unconfirmed one."""

    TYPE: ClassVar[str] = "sinsok.StudyTriaged.v1"

    revision: Annotated[int, Field(ge=1)]
    final: bool
    unconfirmed: bool = Field(
        default=False,
        description="A first reading: the result of a more certain one follows for this revision and counts over it",
    )
    outcome: Outcome
    reason: str
    priority: Priority
    findings: tuple[Finding, ...]
    provenance: Provenance | None = Field(description="What drove the outcome; None where no model spoke")
    series: tuple[SeriesDecision, ...]
    supersedes: int | None = Field(description="The revision before this one, which it replaces")
    assembled: UUID = Field(description="event_id of the StudyAssembled this answers")
    last_image_at: Utc
    notice: Notice = NOTICE

    def identity(self) -> tuple[object, ...]:
        """One event for a revision, a content, what the models answered, and which of two readings this is."""
        spoke = ",".join(
            f"{d.series_uid}={d.reading.provenance.model}@{d.reading.provenance.digest}"
            for d in self.series
            if d.reading
        )
        first = ("unconfirmed",) if self.unconfirmed else ()
        return (self.key, self.revision, spoke, self.assembled, self.outcome, self.reason, *first)


# --- alert ---------------------------------------------------------------------------------------------------------


class AlertEvent(StudyEvent):
    """An event of an alert's life, keyed by the alert."""

    alert_id: UUID
    revision: Annotated[int, Field(ge=1)]

    @property
    def key(self) -> str:
        """The alert id."""
        return str(self.alert_id)


class KeyPicture(Record):
    """What the leading finding of a series is drawn from, on its key slice and outlined."""

    series_uid: Uid
    manifest: ObjectRef
    label_map: ObjectRef
    provenance: Provenance


class AlertRaised(AlertEvent):
    """Somebody has to look at this study now."""

    TYPE: ClassVar[str] = "sinsok.AlertRaised.v1"

    priority: Priority
    findings: tuple[Finding, ...]
    reason: str = Field(description="The rule of the site's policy that raised it")
    provenance: Provenance
    final: bool
    replaces: UUID | None = Field(
        default=None, description="The less urgent alert of the same study it takes over from"
    )
    result: UUID = Field(description="event_id of the StudyTriaged it comes from")
    picture: KeyPicture | None = Field(default=None, description="None where no model outlined the first finding")
    last_image_at: Utc
    notice: Notice = NOTICE

    def identity(self) -> tuple[object, ...]:
        """An alert is raised once."""
        return (self.alert_id,)


class AlertWithdrawn(AlertEvent):
    """A later revision took the finding back, or a more urgent alert took over."""

    TYPE: ClassVar[str] = "sinsok.AlertWithdrawn.v1"

    reason: str
    replaced_by: UUID | None = None

    def identity(self) -> tuple[object, ...]:
        """An alert is withdrawn once."""
        return (self.alert_id,)
