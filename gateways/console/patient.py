"""Whose study it is, read from a stored image at the moment it is shown; kept nowhere."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import pydicom
from pydantic import ValidationError
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from gateways.imaging.volume import Objects
from schemas.base import ObjectRef
from schemas.failures import PortFailure, Unreadable
from schemas.manifest import Manifest

_PATIENCE_S: Final = 1.0
"""A page with an alert on it waits no longer for a store that hangs."""
_SHOWN = ["SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber"]


class Patient(NamedTuple):
    """As the image has it, valid or not."""

    name: str
    patient_id: str
    birth_date: str
    sex: str
    accession_number: str


class Patients:
    """Reads them from the object store, in threads of its own: those may hang with it."""

    def __init__(self, store: Objects) -> None:
        self._store = store
        self._readers = ThreadPoolExecutor(4, "patients")

    def of(self, manifest: ObjectRef) -> Patient | None:
        """The patient of a series; None where no image of it can be read, or not now."""
        reading = self._readers.submit(self._read, manifest)
        try:
            return reading.result(_PATIENCE_S)
        except TimeoutError:
            reading.cancel()
            return None

    def _read(self, manifest: ObjectRef) -> Patient | None:
        try:
            first = Manifest.model_validate_json(self._store.read(manifest)).instances[0]
            return _patient(self._store.read(first.stored))
        except (PortFailure, ValidationError):
            return None


def _patient(content: bytes) -> Patient:
    # pydicom's warnings quote values, and a value may be a name.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        ds = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=list(_SHOWN))
        number, born, sex, accession = (str(ds.get(keyword, "") or "") for keyword in _SHOWN[2:])
        born = f"{born[:4]}-{born[4:6]}-{born[6:]}" if len(born) == 8 and born.isdecimal() else born
        return Patient(_written(ds), number, born, sex, accession)
    except Exception as error:  # noqa: BLE001 - what a file that breaks the standard makes pydicom raise has no end
        raise Unreadable(f"an instance cannot be parsed: {type(error).__name__}") from None


def _written(ds: Dataset) -> str:
    """The name as the image writes it, in every script: Hangul and Hanja stand in groups of their own (PS3.5, I)."""
    name = PersonName(ds.get("PatientName", "") or "")
    groups = dict.fromkeys(group.replace("^", " ").strip() for group in str(name).split("="))
    return " / ".join(group for group in groups if group)
