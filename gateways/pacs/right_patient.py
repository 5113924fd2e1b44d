"""Is the study in the PACS still that of the patient whose images were read?

A PACS merges patients and corrects their data. What was received before is then filed under another patient, and an
object written from it would put a finding into the wrong record.
"""

import re
import unicodedata
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


def differences(received: Dataset, present: Patient) -> list[str]:
    """Keywords of the patient's attributes in which the two differ, never their values; empty where they agree.

    An attribute that one side does not state differs from nothing, but for the Patient ID: without it nobody knows
    whose study it is. Of names, the first component group that both have is compared (PS3.5, 6.2.1.1), whatever its
    case, width and trailing delimiters.
    """
    found = []
    ours, theirs = _text(received, "PatientID"), _plain(present.patient_id)
    if ours != theirs:
        found.append("PatientID")
    for keyword, value in (
        ("IssuerOfPatientID", present.issuer),
        ("PatientBirthDate", present.birth_date),
        ("PatientSex", present.sex),
    ):
        ours, theirs = _text(received, keyword), _plain(value)
        if ours and theirs and ours != theirs:
            found.append(keyword)
    if not _same_name(_text(received, "PatientName"), _plain(present.name)):
        found.append("PatientName")
    return found


def _text(ds: Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    return "" if value is None else _plain(str(value))


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
