"""A workitem that asks for the reading of a study (Unified Procedure Step; PS3.3, C.30; PS3.4, table CC.2.5-3)."""

from typing import Any, Final

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from gateways.worklist.attributes import text
from gateways.worklist.bearing import to_tell
from gateways.worklist.order import Order, read_order
from gateways.worklist.port import Update
from gateways.worklist.settings import UpsSettings
from gateways.worklist.wording import REASONS, lines
from schemas.events import StudyTriaged
from schemas.identity import derived_id

_UPS_PUSH: Final = "1.2.840.10008.5.1.4.34.6.1"
"""SOP Class of a Unified Procedure Step (PS3.6, table A-1)."""

_RESULT: Final = ("RESULT", "Result of sinsok", "99SINSOK")


def workitem_uid(result: StudyTriaged, destination: str, number: int) -> str:
    """The UID of a study's workitem, the same whenever it is asked for; ``number`` counts from 0 over ended ones."""
    return f"2.25.{derived_id('workitem', destination, result.key, number).int}"


def created(update: Update, settings: UpsSettings, uid: str) -> dict[str, Any]:
    """All of a new workitem, as DICOM JSON (PS3.18, annex F)."""
    order, result = read_order(update.head), update.result
    ds = _changes(update, settings, order)
    _put(ds, "SOPClassUID", _UPS_PUSH)
    _put(ds, "SOPInstanceUID", uid)
    _put(ds, "TransactionUID", None)
    _put(ds, "ProcedureStepState", "SCHEDULED")
    _put(ds, "WorklistLabel", settings.worklist_label)
    _put(ds, "InputReadinessState", "READY")
    _put(ds, "ScheduledProcedureStepStartDateTime", f"{result.time:%Y%m%d%H%M%S.%f%z}")
    _put(ds, "ScheduledWorkitemCodeSequence", [_coded("110005", "Interpretation", "DCM")])
    for empty in (
        "ScheduledStationNameCodeSequence",
        "ScheduledStationClassCodeSequence",
        "ScheduledStationGeographicLocationCodeSequence",
        "ProcedureStepProgressInformationSequence",
        "UnifiedProcedureStepPerformedProcedureSequence",
        "IssuerOfAdmissionIDSequence",
        "AdmittingDiagnosesCodeSequence",
    ):
        _put(ds, empty, [])
    for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "AdmissionID"):
        _put(ds, keyword, text(update.head, keyword) or None)
    _put(ds, "AdmittingDiagnosesDescription", None)
    _put(ds, "InputInformationSequence", _inputs(update))
    _put(ds, "ReferencedRequestSequence", [_request(order, result)])
    return _json(ds)


def changed(update: Update, settings: UpsSettings) -> dict[str, Any]:
    """What a later result changes in a workitem that nobody has begun."""
    return _json(_changes(update, settings, read_order(update.head)))


def cancelled(settings: UpsSettings) -> dict[str, Any]:
    """Why a workitem is no longer wanted (PS3.4, CC.2.2)."""
    ds = Dataset()
    _put(ds, "ReasonForCancellation", REASONS[settings.language][False])
    return _json(ds)


def state(workitem: Dataset) -> str:
    """Procedure Step State (0074,1000)."""
    return text(workitem, "ProcedureStepState")


def told_result(workitem: Dataset) -> str:
    """The event_id of the result that a workitem was last changed for; empty where it is not ours to know."""
    for item in workitem.get("ScheduledProcessingParametersSequence") or []:
        if any(text(name, "CodeValue") == _RESULT[0] for name in item.get("ConceptNameCodeSequence") or []):
            return text(item, "TextValue")
    return ""


def _changes(update: Update, settings: UpsSettings, order: Order) -> Dataset:
    ds = Dataset()
    priority = to_tell(update.result, update.told, order.priority, lower=settings.lower)
    _put(ds, "SpecificCharacterSet", "ISO_IR 192")
    _put(ds, "ScheduledProcedureStepPriority", settings.priorities[priority])
    _put(ds, "ProcedureStepLabel", order.procedure[1][:64])
    _put(ds, "CommentsOnTheScheduledProcedureStep", " / ".join(lines(update.result, settings.language))[:10_240])
    name = Dataset()
    _put(name, "ValueType", "TEXT")
    _put(name, "ConceptNameCodeSequence", [_coded(*_RESULT)])
    _put(name, "TextValue", str(update.result.event_id))
    _put(ds, "ScheduledProcessingParametersSequence", [name])
    return ds


def _request(order: Order, result: StudyTriaged) -> Dataset:
    ds = Dataset()
    _put(ds, "StudyInstanceUID", result.study_uid)
    _put(ds, "AccessionNumber", order.accession_number or None)
    _put(ds, "IssuerOfAccessionNumberSequence", [])
    _put(ds, "PlacerOrderNumberImagingServiceRequest", order.placer_number or None)
    _put(ds, "OrderPlacerIdentifierSequence", [])
    _put(ds, "FillerOrderNumberImagingServiceRequest", order.filler_number or None)
    _put(ds, "OrderFillerIdentifierSequence", [])
    _put(ds, "RequestedProcedureID", order.requested_procedure_id or None)
    _put(ds, "RequestedProcedureDescription", order.procedure[1][:64])
    _put(ds, "RequestedProcedureCodeSequence", [_coded(*order.procedure)] if order.procedure[0] else [])
    _put(ds, "ReasonForTheRequestedProcedure", None)
    _put(ds, "ReasonForRequestedProcedureCodeSequence", [])
    _put(ds, "RequestingService", None)
    return ds


def _inputs(update: Update) -> list[Dataset]:
    """The series with findings, each with the slices that show them best."""
    shown: dict[str, list[str]] = {}
    for finding in update.result.findings:
        keys = shown.setdefault(finding.series_uid, [])
        if finding.key_instance_uid not in keys:
            keys.append(finding.key_instance_uid)
    return [_input(update, series, keys) for series, keys in shown.items()]


def _input(update: Update, series_uid: str, key_instances: list[str]) -> Dataset:
    ds = Dataset()
    _put(ds, "TypeOfInstances", "DICOM")
    _put(ds, "StudyInstanceUID", update.result.study_uid)
    _put(ds, "SeriesInstanceUID", series_uid)
    references = []
    for uid in key_instances:
        reference = Dataset()
        _put(reference, "ReferencedSOPClassUID", text(update.head, "SOPClassUID") or None)
        _put(reference, "ReferencedSOPInstanceUID", uid)
        references.append(reference)
    _put(ds, "ReferencedSOPSequence", references)
    return ds


def _coded(value: str, meaning: str, scheme: str) -> Dataset:
    ds = Dataset()
    _put(ds, "CodeValue", value)
    _put(ds, "CodingSchemeDesignator", scheme)
    _put(ds, "CodeMeaning", meaning)
    return ds


def _put(ds: Dataset, keyword: str, value: object) -> None:
    # pydicom's warnings quote values, and a value may be a name.
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    ds.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=pydicom.config.IGNORE))


def _json(ds: Dataset) -> dict[str, Any]:
    written: dict[str, Any] = ds.to_json_dict()
    return written
