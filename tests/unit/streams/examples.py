"""Events to test the hops with: a head CT at Suwon, one field changed at a time."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from schemas.base import ObjectRef
from schemas.codes import INTRACRANIAL_HEMORRHAGE, Code
from schemas.events import BatchEnd, Finding, Gap, Geometry, Provenance, Reading, Series, SeriesReceived
from schemas.failures import NotInstalled, PortFailure
from schemas.models import Contract, ModelIdentity
from streams.policy import AlertPolicy, Rule
from streams.route import Route
from streams.site import Completeness, SiteRules, Sites

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
STUDY = "2.25.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def digest(text: str) -> str:
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def stored(text: str) -> ObjectRef:
    return ObjectRef(uri=f"file:///objects/{text}", digest=digest(text), size_bytes=len(text))


def geometry(**changes: Any) -> Geometry:
    gaps: tuple[Gap, ...] = changes.get("gaps", ())
    head: dict[str, Any] = {
        "slices": 36,
        "rows": 512,
        "columns": 512,
        "pixel_spacing_mm": (0.488, 0.488),
        "spacing_mm": 5.0,
        "extent_mm": 175.0,
        "orientation": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        "tilt_deg": 0.0,
        "duplicate_positions": 0,
        "gaps": (),
        "contiguous": not gaps,
    }
    return Geometry(**{**head, **changes})


def series(uid: str = "2.25.10", content: str = "36 slices", **changes: Any) -> Series:
    head: dict[str, Any] = {
        "series_uid": uid,
        "modality": "CT",
        "body_part": "HEAD",
        "study_description": "HEAD WITHOUT CONTRAST",
        "series_description": "HEAD 5MM",
        "image_type": ("ORIGINAL", "PRIMARY", "AXIAL"),
        "kernel": "H31s",
        "slice_thickness_mm": 5.0,
        "sop_classes": (CT_IMAGE,),
        "transfer_syntaxes": ("1.2.840.10008.1.2.1",),
        "instances": 36,
        "expected_instances": None,
        "geometry": geometry(),
        "first_image_at": START,
        "last_image_at": START,
        "manifest": stored(uid + content),
    }
    return Series(**{**head, **changes})


def received(one: Series | None = None, *, after: float = 0.0, batch: int = 1, **changes: Any) -> SeriesReceived:
    event: dict[str, Any] = {
        "time": at(after),
        "site": "suwon",
        "study_uid": STUDY,
        "batch": batch,
        "study_batch": batch,
        "batch_end": BatchEnd.RELEASED,
        "open_associations": 0,
        "sending_ae": "CT1",
        "called_ae": "SUWON_AI",
        "series": one or series(),
    }
    return SeriesReceived(**{**event, **changes})


def finding(
    volume_ml: float = 20.0,
    probability: float = 0.9,
    series_uid: str = "2.25.10",
    code: Code = INTRACRANIAL_HEMORRHAGE,
) -> Finding:
    return Finding(
        code=code,
        probability=probability,
        volume_ml=volume_ml,
        centroid_mm=(10.0, 20.0, 30.0),
        box_mm=((0.0, 10.0, 20.0), (20.0, 30.0, 40.0)),
        series_uid=series_uid,
        key_instance_uid="2.25.100",
    )


PROVENANCE = Provenance(model="ich", version="1", digest=digest("ich"), device="cpu")
ROUTE = Route(model="ich")
POLICY = AlertPolicy(
    rules=(
        Rule(finding="SCT:1386000", min_volume_ml=5.0, priority="stat"),
        Rule(finding="SCT:1386000", min_volume_ml=0.5, priority="urgent"),
    )
)
SITES = Sites(
    {
        "suwon": SiteRules(
            completeness=Completeness(quiet_s=30, cap_s=120, quiet_by_modality_s={"MR": 60}, keep_s=3600),
            routes=(ROUTE,),
            alerts=POLICY,
        ),
        "icheon": SiteRules(completeness=Completeness(quiet_s=30), routes=(ROUTE,), alerts=POLICY),
    }
)


class FakeInference:
    """Answers what it was told to, and notes what it was asked."""

    def __init__(self, *findings: Finding, fails: PortFailure | None = None, answered_after: float = 5.0) -> None:
        self.findings = findings
        self.fails = fails
        self.answered_at = at(answered_after)
        self.asked: list[str] = []

    async def identify(self, model: str, version: str) -> ModelIdentity:
        return ModelIdentity(
            name=model, version=version, digest=digest(model), contract=Contract.SEGMENTATION, classes=()
        )

    async def read(
        self, site: str, study_uid: str, series: Series, model: ModelIdentity, *, urgent: bool = True
    ) -> Reading:
        self.asked.append(series.series_uid)
        if self.fails is not None:
            raise self.fails
        return Reading(
            findings=self.findings,
            label_map=None,
            provenance=PROVENANCE,
            content=series.manifest.digest,
            completed_at=self.answered_at,
        )


class FakeServer:
    """Models by name, each with its answer: findings, a whole reading's changes, or a failure. Others are absent."""

    def __init__(self, **models: tuple[Finding, ...] | dict[str, Any] | PortFailure) -> None:
        self.models = models
        self.asked: list[tuple[str, str, bool]] = []

    async def identify(self, model: str, version: str) -> ModelIdentity:
        if model not in self.models:
            raise NotInstalled(f"there is no model {model} version {version}")
        return ModelIdentity(
            name=model, version=version, digest=digest(model), contract=Contract.SEGMENTATION, classes=()
        )

    async def read(
        self, site: str, study_uid: str, series: Series, model: ModelIdentity, *, urgent: bool = True
    ) -> Reading:
        self.asked.append((model.name, series.series_uid, urgent))
        answer = self.models[model.name]
        if isinstance(answer, PortFailure):
            raise answer
        changes: dict[str, Any] = answer if isinstance(answer, dict) else {"findings": answer}
        reading: dict[str, Any] = {
            "findings": (),
            "label_map": None,
            "provenance": Provenance(model=model.name, version=model.version, digest=model.digest, device="cpu"),
            "content": series.manifest.digest,
            "completed_at": at(5),
        }
        return Reading(**{**reading, **changes})
