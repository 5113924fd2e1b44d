"""Query SCU: whose study it is, and which objects are there (C-FIND, PS3.4, annex C)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
)

from gateways.dicom.association import Association
from gateways.dicom.command import Command, Field, Kind
from gateways.dicom.status import in_words, is_passing
from gateways.pacs.data_set import decode, encode, text
from gateways.pacs.peer import Instance, StudyPatient
from schemas.failures import Refused, Unavailable

_MODELS: Final = (
    StudyRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelFind,
)
"""The study root goes first: asked in the other, a PACS may want the Patient ID, which is the question."""
_PENDING: Final = (0xFF00, 0xFF01)
_MOST_MATCHES: Final = 10_000
"""A PACS that answers more to a query for one study has not understood it."""
_PATIENT: Final = {
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "name": "PatientName",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
}


def query_contexts() -> list[PresentationContext]:
    """Presentation contexts for the two information models."""
    return [build_context(model, [ExplicitVRLittleEndian, ImplicitVRLittleEndian]) for model in _MODELS]


def patient_of(association: Association, study_uid: str, *, repeat_text: bool) -> StudyPatient | None:
    """The patient of a study, at the study level (PS3.4, C.6.2.1.2); None where there is no such study."""
    keys = {"StudyInstanceUID": study_uid, **dict.fromkeys(_PATIENT.values(), "")}
    # Not every PACS looks at every key: what it says of another study is no answer.
    found = {
        StudyPatient(**{name: text(ds, keyword) for name, keyword in _PATIENT.items()})
        for ds in _find(association, "STUDY", keys, repeat_text=repeat_text)
        if text(ds, "StudyInstanceUID") == study_uid
    }
    return only_patient(found)


def only_patient(found: set[StudyPatient]) -> StudyPatient | None:
    """The one patient of a study. Raises :class:`schemas.failures.Refused` where there are more."""
    if len({(patient.patient_id, patient.issuer) for patient in found}) > 1:
        raise Refused("the PACS has the study under more than one patient")
    return next(iter(found), None)


def held(association: Association, study_uid: str, instances: Sequence[Instance], *, repeat_text: bool) -> set[str]:
    """The SOP Instance UIDs that the PACS has, at the image level of each series (PS3.4, C.6.2.1.4)."""
    there = set()
    for series_uid in dict.fromkeys(instance.series_uid for instance in instances):
        keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": ""}
        there |= {text(ds, "SOPInstanceUID") for ds in _find(association, "IMAGE", keys, repeat_text=repeat_text)}
    return {instance.sop_instance_uid for instance in instances} & there


def _find(association: Association, level: str, keys: Mapping[str, str], *, repeat_text: bool) -> Iterator[Dataset]:
    context = next(filter(None, map(association.context, _MODELS)), None)
    if context is None:
        raise Refused("the PACS answers no queries (C-FIND, study root or patient root)")
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    request = Command.of(
        Kind.C_FIND_RQ,
        {
            Field.MESSAGE_ID: association.next_message_id(),
            Field.PRIORITY: 0,
            Field.AFFECTED_SOP_CLASS_UID: str(context.abstract_syntax),
        },
        data_set=True,
    )
    syntax = str(context.transfer_syntax[0])
    association.send(context.context_id, request, encode(identifier, syntax))
    for _ in range(_MOST_MATCHES):
        response = association.response()
        status = response.command.number(Field.STATUS)
        if status in _PENDING:
            try:
                yield decode(response.data_set, syntax)
            except ValueError:
                association.abort()
                raise Refused("the PACS answered a query with bytes that are no data set") from None
        elif status == 0:
            return
        elif status is not None and is_passing(status):
            raise Unavailable(
                f"the PACS cannot answer a query now: {in_words(response.command, repeat_text=repeat_text)}"
            )
        else:
            raise Refused(f"the PACS refused a query: {in_words(response.command, repeat_text=repeat_text)}")
    association.abort()
    raise Refused(f"the PACS answered a query for one study with more than {_MOST_MATCHES} matches")
