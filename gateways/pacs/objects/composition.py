"""Which objects a result is written as."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateways.objects import FileStore
from gateways.pacs.objects.key_image import key_image_of
from gateways.pacs.objects.rejection import rejection_of
from gateways.pacs.objects.report import report_of
from gateways.pacs.objects.revision import Revision, Written
from gateways.pacs.objects.segmentation import Segments, segmentation_of
from gateways.pacs.settings import ObjectSettings
from schemas.deliveries import ObjectKind, WrittenObject
from schemas.events import StudyTriaged


@dataclass(frozen=True)
class ResultObject:
    """A DICOM object of a result."""

    written: WrittenObject
    content: bytes
    """A DICOM file (PS3.10), Explicit VR Little Endian."""


def objects_of(
    result: StudyTriaged, earlier: Sequence[WrittenObject], choice: ObjectSettings, store: FileStore
) -> tuple[ResultObject, ...]:
    """The objects of a result, segmentations first, so that what a report refers to is there before it.

    ``earlier`` are the objects of the same study that are in use in that PACS: those of the result before, and what
    that one had left standing (:func:`~gateways.pacs.objects.succession.left_standing`). A function of its arguments
    and of the stored images alone: the same result gives the same bytes. Blocks: call it in a thread.

    Raises :class:`schemas.failures.Unavailable` where the store is away and :class:`schemas.failures.Unreadable` where
    the result can never be written.
    """
    return composed(Revision(result, earlier, choice, store))


def composed(revision: Revision) -> tuple[ResultObject, ...]:
    """The same, where what is read for the objects is of use to the caller too."""
    result, choice = revision.result, revision.choice
    made: list[Written | None] = []
    segments: dict[str, Segments] = {}
    if ObjectKind.SEGMENTATION in choice.kinds:
        for series_uid in dict.fromkeys(finding.series_uid for finding in result.findings):
            own = [finding for finding in result.findings if finding.series_uid == series_uid]
            found = segmentation_of(revision, revision.series_of(own[0]), own)
            if found:
                segments[series_uid] = found
                made.append(found.written)
    if ObjectKind.KEY_IMAGE in choice.kinds:
        made.append(key_image_of(revision))
    if ObjectKind.REPORT in choice.kinds:
        made.append(report_of(revision, segments))
    made.append(rejection_of(revision))
    return tuple(ResultObject(one.object, one.content) for one in made if one)
