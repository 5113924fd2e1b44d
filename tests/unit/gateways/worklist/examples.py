"""A head CT of an artificial person, and results about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pydicom.dataset import Dataset

from gateways.worklist.port import Update
from gateways.worklist.settings import Hl7Settings
from schemas.base import ObjectRef
from schemas.codes import INTRACRANIAL_HEMORRHAGE, Code
from schemas.events import Finding, Outcome, Priority, Provenance, Reading, SeriesDecision, Side, StudyTriaged
from schemas.identity import derived_id

STUDY = "2.25.100"
SERIES = "2.25.101"
DIGEST = "sha256:" + "0" * 64
DESTINATION = "suwon/hl7"
NAME = "KANA^PHANTOM=假名^人體模型=가나^팬텀"
OUTSIDE_KS_X_1001 = "펲"
PROVENANCE = Provenance(model="ich_hyperdensity", version="1", digest=DIGEST, device="cpu")


def at(seconds: float) -> datetime:
    return datetime(2030, 1, 1, 15, 0, 0, tzinfo=UTC) + timedelta(seconds=seconds)


def finding(**changes: Any) -> Finding:
    said: dict[str, Any] = {
        "code": INTRACRANIAL_HEMORRHAGE,
        "probability": 0.93,
        "volume_ml": 12.34,
        "centroid_mm": (10.0, 0.0, 0.0),
        "box_mm": ((0.0, 0.0, 0.0), (20.0, 10.0, 10.0)),
        "series_uid": SERIES,
        "key_instance_uid": "2.25.102",
        "side": Side.LEFT,
    }
    return Finding(**{**said, **changes})


LOCAL_FINDING = finding(
    code=Code(scheme="99SINSOK", value="EAH", meaning="Extra-axial haemorrhage"), side=None, volume_ml=0.5
)


def triaged(*findings: Finding, revision: int = 1, **changes: Any) -> StudyTriaged:
    """A result in which a model looked at the series; stat where there are findings."""
    reading = Reading(
        findings=findings, label_map=None, provenance=PROVENANCE, content=DIGEST, completed_at=at(revision)
    )
    manifest = ObjectRef(uri="file:///manifest", digest=DIGEST, size_bytes=1)
    said: dict[str, Any] = {
        "time": at(10 * revision),
        "site": "suwon",
        "study_uid": STUDY,
        "revision": revision,
        "final": True,
        "outcome": Outcome.FINDINGS if findings else Outcome.NO_FINDINGS,
        "reason": "a bleed" if findings else "nothing seen",
        "priority": Priority.STAT if findings else Priority.ROUTINE,
        "findings": findings,
        "provenance": PROVENANCE,
        "series": (
            SeriesDecision(series_uid=SERIES, model="ich@1", reason="head", reading=reading, manifest=manifest),
        ),
        "supersedes": revision - 1 or None,
        "assembled": derived_id(STUDY, revision),
        "last_image_at": at(0),
    }
    return StudyTriaged(**{**said, **changes})


def head(**changes: Any) -> Dataset:
    """The head of an image. A change to None takes an attribute away."""
    ds = Dataset()
    ds.SpecificCharacterSet = ["", "ISO 2022 IR 149"]
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.SOPInstanceUID = "2.25.102"
    ds.StudyInstanceUID = STUDY
    ds.SeriesInstanceUID = SERIES
    ds.Modality = "CT"
    ds.PatientID = "PHANTOM-0001"
    ds.IssuerOfPatientID = "SUWON"
    ds.PatientName = NAME
    ds.PatientBirthDate = "19000101"
    ds.PatientSex = "O"
    ds.AccessionNumber = "ACC-0001"
    ds.StudyDescription = "Brain CT^w/o contrast & 3D | 뇌"
    request = Dataset()
    request.RequestedProcedureID = "RP-0001"
    request.ScheduledProcedureStepID = "SPS-0001"
    ds.RequestAttributesSequence = [request]
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def update(result: StudyTriaged, told: Priority | None = None, **changes: Any) -> Update:
    return Update(**{"result": result, "head": head(), "told": told, **changes})


def settings(**changes: Any) -> Hl7Settings:
    return Hl7Settings(**{"host": "127.0.0.1", "port": 1, **changes})
