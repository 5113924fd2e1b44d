"""Coded concepts: what a finding is, in the words of a public code system (DICOM PS3.16, section 8)."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Scheme = Literal["SCT", "RADLEX", "DCM", "99SINSOK"]
"""Coding Scheme Designator: SNOMED CT, RadLex, DICOM, or sinsok's own private codes."""

Concept = Annotated[str, Field(pattern=r"^(SCT|RADLEX|DCM|99SINSOK):\S+$", description="Coded concept, SCT:1386000")]
"""A coded concept as configuration names it."""


class Code(BaseModel):
    """A coded concept (DICOM PS3.3, section 8.8): scheme, value and a meaning people can read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheme: Scheme
    value: Annotated[str, Field(min_length=1, max_length=16)]
    meaning: Annotated[str, Field(min_length=1, max_length=64)]

    def __str__(self) -> str:
        """``SCT:1386000``, as configuration names it."""
        return f"{self.scheme}:{self.value}"


INTRACRANIAL_HEMORRHAGE: Final = Code(scheme="SCT", value="1386000", meaning="Intracranial hemorrhage")
