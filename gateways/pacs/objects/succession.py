"""What a result does to the objects before it: as with alerts, only a reading takes a finding back, never a failure."""

from collections.abc import Iterable
from typing import Final

from schemas.deliveries import ObjectKind, WrittenObject
from schemas.events import Outcome, StudyTriaged

IMAGES: Final = frozenset({ObjectKind.SEGMENTATION, ObjectKind.KEY_IMAGE})


def takes_back(result: StudyTriaged) -> bool:
    """Whether earlier findings are withdrawn: a model had the last word on the whole study, and saw nothing."""
    return result.outcome is Outcome.NO_FINDINGS and result.final and not result.unconfirmed


def left_standing(result: StudyTriaged, earlier: Iterable[WrittenObject]) -> tuple[WrittenObject, ...]:
    """Which of the earlier objects stay in use beside those of this result, and are replaced by a later one.

    Segmentations and key images stay where this result has no findings and takes none back: not analysed, not all
    images there yet, or a second reading still to come.
    """
    if result.findings or takes_back(result):
        return ()
    return tuple(one for one in earlier if one.kind in IMAGES)
