"""UIDs and numbers of the objects of a result: derived, so that writing a result again writes the same objects."""

from collections.abc import Sequence
from typing import Final

from gateways.pacs.settings import ObjectSettings
from schemas.deliveries import ObjectKind, WrittenObject
from schemas.events import StudyTriaged
from schemas.identity import derived_id

SERIES_NUMBER: Final = {
    ObjectKind.REPORT: 9801,
    ObjectKind.SEGMENTATION: 9802,
    ObjectKind.KEY_IMAGE: 9803,
    ObjectKind.REJECTION: 9804,
}
"""Behind what scanners count."""


def uid(*parts: object) -> str:
    """A UID made from a UUID (DICOM PS3.5, B.2), from that of the parts."""
    return f"2.25.{derived_id(*parts).int}"


class Names:
    """The UIDs of one result at one PACS."""

    def __init__(self, result: StudyTriaged, earlier: Sequence[WrittenObject], choice: ObjectSettings) -> None:
        self._study = (result.site, result.study_uid)
        replaced = ",".join(sorted(one.sop_instance_uid for one in earlier))
        self._result = (result.event_id, replaced, choice.model_dump_json())
        self.instance_number = 2 * result.revision - result.unconfirmed
        """Rises with the revision; the result of a second reading comes behind that of the first."""

    def series(self, kind: ObjectKind, *of: str) -> str:
        """One Series Instance UID for all revisions of a kind of object (and of what else makes a series, ``of``)."""
        return uid("series", *self._study, kind, *of)

    def device(self) -> str:
        """The UID sinsok observes with at this site (Device Observer UID, PS3.16, TID 1004)."""
        return uid("device", self._study[0])

    def of_study(self, *parts: object) -> str:
        """A UID that is the same for all results of the study."""
        return uid(*self._study, *parts)

    def of_result(self, *parts: object) -> str:
        """A UID that no other result has, nor this one when it replaces something else."""
        return uid(*parts, *self._result)
