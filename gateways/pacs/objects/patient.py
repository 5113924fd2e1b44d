"""Patient, study and character set of the objects: byte for byte those of the stored images.

A name that was transcoded may no longer match the one the PACS has, so values are copied as they were received, valid
or not, together with their Specific Character Set (DICOM PS3.3, C.12.1.1.2). Our own texts have to fit into that set:

- English fits into all of them.
- Korean fits into ISO_IR 192 (UTF-8) and, with code extensions, into ISO 2022 IR 149.
- A single-byte set, or none and nothing but ASCII, cannot hold Korean: all is then written in ISO_IR 192.
- In what is left (undeclared bytes, sets this module does not know) a changed byte might be a lost one: nothing is
  transcoded, and our texts are English.
"""

from copy import deepcopy
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from gateways.pacs.objects.words import ENGLISH, WORDS, Language, Words

UTF_8: Final = "ISO_IR 192"
_KOREAN: Final = "ISO 2022 IR 149"
_SINGLE_BYTE: Final = frozenset(
    {"", "ISO_IR 6", *(f"ISO_IR {number}" for number in (100, 101, 109, 110, 126, 127, 138, 144, 148, 166, 203))}
)
_EMPTY_WHERE_ABSENT: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
"""Type 2 of the Patient and General Study modules (PS3.3, C.7.1.1 and C.7.2.1)."""
_WHERE_PRESENT: Final = (
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "PatientBirthTime",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyDescription",
    "InstitutionName",
    "TimezoneOffsetFromUTC",
)
_SEQUENCES: Final = (
    "IssuerOfPatientIDQualifiersSequence",
    "IssuerOfAccessionNumberSequence",
    "DeidentificationMethodCodeSequence",
)


class StudyIdentity:
    """What all objects of a study have in common."""

    def __init__(self, head: Dataset, study_uid: str, wanted: Language) -> None:
        self._study_uid = study_uid
        raw = {keyword: _raw(head, keyword) for keyword in (*_EMPTY_WHERE_ABSENT, *_WHERE_PRESENT)}
        declared = _raw(head, "SpecificCharacterSet")
        names = tuple(part.strip() for part in _ascii(declared).split("\\")) if declared else ("",)
        plain = all(one is None or one.value.isascii() for one in raw.values())
        self.words: Words = WORDS[wanted]
        self.encoding: str | list[str] = "ISO_IR 6"
        """The Specific Character Set our texts are encoded in."""
        transcode = False
        if wanted == "ko":
            if names == (UTF_8,):
                self.encoding = UTF_8
            elif len(names) > 1 and names[0] in ("", "ISO 2022 IR 6") and _KOREAN in names:
                self.encoding = ["", _KOREAN]
            elif len(names) == 1 and names[0] in _SINGLE_BYTE and (plain or names[0]):
                self.encoding, transcode = UTF_8, True
            else:
                self.words = ENGLISH
        if transcode:
            self._elements = [_decoded(head, keyword, one) for keyword, one in raw.items() if one is not None]
            self._elements.append(DataElement(Tag("SpecificCharacterSet"), "CS", UTF_8))
        else:
            self._elements = [one for one in (*raw.values(), declared) if one is not None]
        self._sequences = [item for item in (_sequence(head, keyword) for keyword in _SEQUENCES) if item]
        self.offset = _ascii(raw["TimezoneOffsetFromUTC"])
        """Timezone Offset From UTC, +0900; empty where the images do not say it."""
        self.body_part = _ascii(_raw(head, "BodyPartExamined"))
        """Body Part Examined; empty where the images do not say it."""

    def write_into(self, ds: Dataset) -> None:
        """Fill the Patient, General Study and Patient Study modules, and what else belongs to the whole study."""
        for keyword in _EMPTY_WHERE_ABSENT:
            setattr(ds, keyword, None)
        for element in (*self._elements, *self._sequences):
            ds[element.tag] = element
        ds.StudyInstanceUID = self._study_uid


def _raw(head: Dataset, keyword: str) -> RawDataElement | None:
    """An element as it was received, with explicit VR; None where it is absent or was decoded already to nothing."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    element = head.get_item(tag) if tag in head else None
    if element is None:
        return None
    value = element.value if element.is_raw else _encoded(element)
    value = value or b""
    vr = dictionary_VR(tag)
    return RawDataElement(Tag(tag), vr, len(value), value, 0, False, True, True)


def _encoded(element: DataElement) -> bytes:
    """A value pydicom has decoded on its own: it does so with the character set, before anybody asks."""
    value = element.value
    text = "\\".join(str(part) for part in value) if isinstance(value, (list, tuple)) or element.VM > 1 else value
    content = str(text if text is not None else "").encode("ascii", "replace")
    return content + b" " * (len(content) % 2)


def _ascii(element: RawDataElement | None) -> str:
    return element.value.decode("ascii", "replace").strip(" \0") if element else ""


def _decoded(head: Dataset, keyword: str, element: RawDataElement) -> DataElement:
    value = head[keyword].value
    text = "\\".join(str(part) for part in value) if head[keyword].VM > 1 else str(value if value is not None else "")
    return DataElement(element.tag, element.VR, text)


def _sequence(head: Dataset, keyword: str) -> DataElement | None:
    """A sequence of the study's; None where it is absent or has text our own encoding might change."""
    if not head.get(keyword):
        return None
    element = deepcopy(head[keyword])
    return element if str(element.value).isascii() else None
