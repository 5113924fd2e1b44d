"""Coded concepts of the objects (DICOM PS3.16). Those no public scheme has are sinsok's own, 99SINSOK.

Each is an item of a code sequence (PS3.3, 8.8), made once: highdicom would make another at every use of a plain code.
"""

from functools import lru_cache
from typing import Final

from highdicom.sr import CodedConcept as Concept
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from schemas.codes import Code
from schemas.events import Side

OWN: Final = "99SINSOK"


@lru_cache(maxsize=256)
def of_code(code: Code) -> Concept:
    """The concept of an event's code."""
    return Concept(code.value, code.scheme, code.meaning)


MEASUREMENT_REPORT: Final = Concept("126000", "DCM", "Imaging Measurement Report")
IMAGING_MEASUREMENTS: Final = Concept("126010", "DCM", "Imaging Measurements")
QUALITATIVE_EVALUATIONS: Final = Concept("C0034375", "UMLS", "Qualitative Evaluations")
PROCEDURE_REPORTED: Final = Concept("121058", "DCM", "Procedure reported")
CT: Final = Concept("25045-6", "LN", "CT unspecified body region")
CONCLUSION: Final = Concept("121077", "DCM", "Conclusion")
COMMENT: Final = Concept("121106", "DCM", "Comment")
CENTER: Final = Concept("111010", "DCM", "Center")
KEY_SLICE: Final = Concept("121200", "DCM", "Illustration of ROI")

VOLUME: Final = Concept("118565006", "SCT", "Volume")
CERTAINTY: Final = Concept("111012", "DCM", "Certainty of Finding")
"""How certain a device is that a finding is there, 0 to 100 % (PS3.16, annex D): what a model calls its probability.

The computer-aided detection templates report the certainty of each finding with it. (111047, DCM), Probability of
cancer, names a disease, and there is no code for a probability of any finding.
"""
AGREEMENT: Final = Concept("AGREEMENT", OWN, "Share of the model's members that agree")
MIDLINE_SHIFT: Final = Concept("MIDLINE_SHIFT", OWN, "Midline shift, positive to the left")
NOTICE_CONCEPT: Final = Concept("NOTICE", OWN, "Notice")
CAUTION: Final = Concept("CAUTION", OWN, "Caution")
STATUS: Final = Concept("STATUS", OWN, "Status of the AI result")
SUPERSEDED: Final = Concept("SUPERSEDED", OWN, "Superseded by a newer AI result")

MILLILITRE: Final = Concept("mL", "UCUM", "milliliter")
MILLIMETRE: Final = Concept("mm", "UCUM", "millimeter")
PERCENT: Final = Concept("%", "UCUM", "Percent")

HEAD: Final = Concept("69536005", "SCT", "Head")
LATERALITY: Final = {
    Side.LEFT: Concept("7771000", "SCT", "Left"),
    Side.RIGHT: Concept("24028007", "SCT", "Right"),
}
"""CID 244."""
MIDLINE: Final = Concept("261129000", "SCT", "Midline")
"""Laterality (CID 244) has no middle: it is a topographical modifier."""

ABNORMAL: Final = Concept("49755003", "SCT", "Morphologically Abnormal Structure")
"""Segmented Property Category (CID 7150)."""
REJECTED: Final = Concept("113001", "DCM", "Rejected for Quality Reasons")
TITLE_MODIFIER: Final = Concept("113011", "DCM", "Document Title Modifier")
SOURCE_IMAGE: Final = Concept("121322", "DCM", "Source image for image processing operation")
DEVICE: Final = Concept("121007", "DCM", "Device")
ARTIFICIAL_INTELLIGENCE: Final = Concept("123110", "DCM", "Artificial Intelligence")
DESCRIPTION: Final = Concept("113012", "DCM", "Key Object Description")
SOURCE: Final = Concept("260753009", "SCT", "Source")


def coding_schemes() -> Items:
    """Coding Scheme Identification Sequence (PS3.3, C.12.1): whose the private codes are."""
    item = Dataset()
    item.CodingSchemeDesignator = OWN
    item.CodingSchemeName = "sinsok private codes"
    item.CodingSchemeResponsibleOrganization = "sinsok"
    return Items([item])
