"""What a result does to the objects before it: as with alerts, only a reading takes a finding back, never a failure."""

from collections.abc import Iterable
from typing import Final

from gateways.delivery.weight import takes_back
from schemas.deliveries import ObjectKind, WrittenObject
from schemas.events import StudyTriaged

IMAGES: Final = frozenset({ObjectKind.SEGMENTATION, ObjectKind.KEY_IMAGE})


def left_standing(result: StudyTriaged, earlier: Iterable[WrittenObject]) -> tuple[WrittenObject, ...]:
    """Which of the earlier objects stay in use beside those of this result, and are replaced by a later one.

    Segmentations and key images stay where this result has no findings and takes none back: not analysed, not all
    images there yet, or a second reading still to come.
    """
    if result.findings or takes_back(result):
        return ()
    return tuple(one for one in earlier if one.kind in IMAGES)


def still_in_use(earlier: Iterable[WrittenObject], accepted: Iterable[WrittenObject]) -> tuple[WrittenObject, ...]:
    """Which of the earlier objects nothing has replaced, where a PACS accepted only some of the objects that do.

    A report is replaced by the report that names it, a segmentation or key image by the note that rejects it.
    """
    kinds = {one.kind for one in accepted}
    return tuple(
        one
        for one in earlier
        if (ObjectKind.REJECTION if one.kind in IMAGES else ObjectKind.REPORT) not in kinds
        and one.kind is not ObjectKind.REJECTION
    )
