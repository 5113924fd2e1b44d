"""PID: whose study it is (HL7 v2.5.1, section 3.4.2), from the Patient Module of an image (PS3.3, C.7.1.1)."""

import re
from typing import Any

from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from gateways.worklist.attributes import items, person_name, text
from gateways.worklist.fields import Component, Repetition, segment
from gateways.worklist.settings import Hl7Settings
from schemas.failures import Refused

_UNSPECIFIED = "U"
_SEXES = {"M", "F", "O"}


def patient_segments(head: Dataset, settings: Hl7Settings) -> list[Any]:
    """PID, and a PV1 that says no more than that the visit is unknown."""
    identifier = text(head, "PatientID")
    if not identifier:
        raise Refused("the images carry no Patient ID (0010,0020), so no message can say whose they are")
    birth, sex = text(head, "PatientBirthDate"), text(head, "PatientSex").upper()
    pid = segment(
        "PID",
        {
            1: "1",
            3: (identifier, "", "", _authority(head, settings), settings.identifier_type),
            5: _names(person_name(head, "PatientName")),
            7: birth if re.fullmatch(r"\d{8}", birth) else "",
            8: sex if sex in _SEXES else "U",
        },
    )
    return [pid, segment("PV1", {1: "1", 2: "U"})]


def _authority(head: Dataset, settings: Hl7Settings) -> Component:
    issuer = text(head, "IssuerOfPatientID")
    for item in items(head, "IssuerOfPatientIDQualifiersSequence"):
        universal = text(item, "UniversalEntityID"), text(item, "UniversalEntityIDType")
        if all(universal):
            return (issuer, *universal)
    return (issuer,) if issuer else tuple(settings.assigning_authority.split("^"))


def _names(name: PersonName | None) -> list[Repetition]:
    """A repetition for each way to write the name, as XPN-8 tells them apart (table 0465).

    Korean names are romanized in the first group, in Hanja in the second, in Hangul in the third (PS3.5, annex I).
    """
    written = (("A", name.alphabetic), ("I", name.ideographic), ("P", name.phonetic)) if name else ()
    named = [_xpn(group, representation) for representation, group in written if group.strip("^ ")]
    return named or [("", "", "", "", "", "", _UNSPECIFIED)]


def _xpn(group: str, representation: str) -> Repetition:
    family, given, middle, prefix, suffix = ([part.strip() for part in group.split("^")] + [""] * 5)[:5]
    return (family, given, middle, suffix, prefix, "", "L", representation)
