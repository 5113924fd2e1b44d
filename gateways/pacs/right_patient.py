"""Is the study in the PACS still that of the patient whose images were read?

A PACS merges patients and corrects their data. What was received before is then filed under another patient, and an
object written from it would put a finding into the wrong record.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Protocol

from pydicom.dataset import Dataset


class Patient(Protocol):
    """A study's patient as the PACS has it now; None or empty where it does not say."""

    @property
    def patient_id(self) -> str | None: ...
    @property
    def issuer(self) -> str | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def birth_date(self) -> str | None: ...
    @property
    def sex(self) -> str | None: ...


@dataclass(frozen=True)
class Identity:
    """The patient as the images name it. To be compared; never logged."""

    patient_id: str
    issuer: str
    name: str
    birth_date: str
    sex: str

    def __repr__(self) -> str:
        return "Identity(...)"


def identity_of(ds: Dataset) -> Identity:
    """The patient of an image."""
    keywords = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
    return Identity(*("" if (value := ds.get(keyword)) is None else str(value) for keyword in keywords))


def differences(received: Identity, present: Patient) -> list[str]:
    """Keywords of the patient's attributes in which the two differ, never their values; empty where they agree.

    An attribute that one side does not state differs from nothing, but for the Patient ID: without it nobody knows
    whose study it is. Of names, the first component group that both have is compared (PS3.5, 6.2.1.1), whatever its
    case, width and trailing delimiters.
    """
    found = []
    if _plain(received.patient_id) != _plain(present.patient_id):
        found.append("PatientID")
    for keyword, one, other in (
        ("IssuerOfPatientID", received.issuer, present.issuer),
        ("PatientBirthDate", received.birth_date, present.birth_date),
        ("PatientSex", received.sex, present.sex),
    ):
        ours, theirs = _plain(one), _plain(other)
        if ours and theirs and ours != theirs:
            found.append(keyword)
    if not _same_name(_plain(received.name), _plain(present.name)):
        found.append("PatientName")
    return found


def _plain(value: str | None) -> str:
    return unicodedata.normalize("NFKC", value or "").replace("\0", "").strip()


def _same_name(ours: str, theirs: str) -> bool:
    for one, other in zip(ours.split("="), theirs.split("="), strict=False):
        first, second = _components(one), _components(other)
        if first and second:
            return first == second
    return True


def _components(group: str) -> list[str]:
    parts = [re.sub(r"\s+", " ", part).strip().casefold() for part in group.split("^")]
    while parts and not parts[-1]:
        parts.pop()
    return parts
