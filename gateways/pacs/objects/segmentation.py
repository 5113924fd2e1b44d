"""Segmentations (DICOM PS3.3, A.51): what the model marked, on the slices it was shown, a segment for each class."""

from typing import Any, Final, NamedTuple

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import MediaStorageDirectoryStorage, SegmentationStorage

from gateways.imaging.frames import Frame
from gateways.imaging.volume import SliceName
from gateways.pacs.objects.concepts import ABNORMAL, ARTIFICIAL_INTELLIGENCE, HEAD, OWN, coding_schemes, of_code
from gateways.pacs.objects.label_map import LabelMap
from gateways.pacs.objects.naming import uid
from gateways.pacs.objects.revision import MAKER, Revision, Written, slice_reference
from gateways.pacs.objects.sources import SourceSeries
from schemas.deliveries import ObjectKind
from schemas.events import Finding, Provenance
from schemas.failures import Unreadable

_FULL: Final = 255
_STAND_INS: Final = "stand-in"
"""Slices get UIDs of their own while the object is made: real ones may be invalid, or shared by the frames of one."""
_STAND_IN_CLASS: Final = MediaStorageDirectoryStorage
"""Has the fewest attributes of all: highdicom searches those of the source's class again and again."""


class Segments(NamedTuple):
    """A written segmentation, and where in it a finding is."""

    written: Written
    numbers: dict[int, int]
    """Segment Number of each label."""
    slices: dict[Finding, list[SliceName]]
    """The slices a finding is on, ascending: those of its segment that its box reaches."""
    labels: dict[Finding, int]

    def number_of(self, finding: Finding) -> int | None:
        """The Segment Number of a finding."""
        label = self.labels.get(finding)
        return None if label is None else self.numbers[label]


def segmentation_of(revision: Revision, series: SourceSeries, findings: list[Finding]) -> Segments | None:
    """The segmentation of one series; None where none of its findings has a place in a label map.

    A class of which nothing was reported (all its pieces were too small) has no segment: it has no name either. Where a
    thick slice stands on several planes of the model's volume it is written once, and planes without a slice not at
    all. Position and orientation are each source slice's own, so a tilted gantry stays tilted.
    """
    label_map = revision.label_map(series)
    if label_map is None or series.reading is None:
        return None
    labels = {finding: label for finding in findings if (label := label_map.label_of(finding)) is not None}
    if not labels:
        return None
    names = label_map.marked(labels.values())
    numbers = {label: number for number, label in enumerate(sorted(set(labels.values())), start=1)}
    own_uid = revision.names.of_result("segmentation", series.uid)
    frame_of_reference = revision.frame_of_reference(series)
    pixels, slices = _pixels(label_map, names, numbers, revision.choice.segmentation == "fractional")
    described = {numbers[label]: finding for finding, label in reversed(labels.items())}
    try:
        ds = hd.seg.Segmentation(
            source_images=[
                _stand_in(series, name, index, frame_of_reference, label_map.spacing_mm)
                for index, name in enumerate(names)
            ],
            pixel_array=pixels,
            segmentation_type="FRACTIONAL" if pixels.dtype == np.float32 else "BINARY",
            fractional_type="PROBABILITY",
            max_fractional_value=_FULL,
            segment_descriptions=[
                _segment(
                    number, described[number], series.reading.provenance, revision.names.of_result(own_uid, number)
                )
                for number in sorted(described)
            ],
            series_instance_uid=own_uid,
            series_number=1,
            sop_instance_uid=own_uid,
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=MAKER,
            device_serial_number=MAKER,
            content_label="AI_FINDINGS",
            content_description="AI output, not for diagnosis",
        )
    except Exception as error:  # what a series that breaks the standard makes highdicom raise has no end
        raise Unreadable(f"the slices of a series form no segmentation: {type(error).__name__}") from error
    plain = Dataset()
    plain.update(ds)
    _name_sources(plain, series, names)
    _name_dimensions(plain, revision.names.of_result("dimensions", series.uid))
    plain["PixelData"].VR = "OB"
    # highdicom notes itself and the time here.
    plain.pop("ContributingEquipmentSequence", None)
    plain.ContentCreatorName = None
    if any(finding.code.scheme == OWN for finding in labels):
        plain.CodingSchemeIdentificationSequence = coding_schemes()
    # Objects of one series lie in one frame of reference (PS3.3, A.1.2.5).
    series_uid = revision.names.series(ObjectKind.SEGMENTATION, frame_of_reference)
    assert plain.SOPClassUID == SegmentationStorage
    written = revision.finish(plain, ObjectKind.SEGMENTATION, own_uid, series_uid=series_uid)
    around = {finding: label_map.around(finding) for finding in labels}
    on = {
        finding: [name for name in slices[numbers[label]] if name in around[finding]]
        for finding, label in labels.items()
    }
    return Segments(written, numbers, on, labels)


def _pixels(
    label_map: LabelMap, names: list[SliceName], numbers: dict[int, int], fractional: bool
) -> tuple[NDArray[Any], dict[int, list[SliceName]]]:
    """Segment numbers [slice, row, column], or probabilities [slice, row, column, segment]; the slices of each."""
    planes = [label_map.slice_labels(name) for name in names]
    shown = np.zeros((len(planes), *planes[0].shape), np.uint8)
    for plane, numbered in zip(planes, shown, strict=True):
        for label, number in numbers.items():
            numbered[plane == label] = number
    there = {number: (shown == number).any(axis=(1, 2)) for number in numbers.values()}
    slices = {number: [name for name, on in zip(names, found, strict=True) if on] for number, found in there.items()}
    if not fractional:
        return shown, slices
    shares = np.zeros((*shown.shape, len(numbers)), np.float32)
    for index, name in enumerate(names):
        given = label_map.slice_probability(name)
        share = 1.0 if given is None else given / np.float32(255)
        for number in numbers.values():
            shares[index, :, :, number - 1] = (shown[index] == number) * share
    return shares, slices


def _segment(number: int, finding: Finding, source: Provenance, tracking_uid: str) -> Dataset:
    """Segment Description macro (PS3.3, C.8.20.4)."""
    algorithm = hd.AlgorithmIdentificationSequence(
        name=source.model,
        family=ARTIFICIAL_INTELLIGENCE,
        version=source.version,
        source=MAKER,
        parameters={"digest": source.digest},
    )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=finding.code.meaning,
        segmented_property_category=ABNORMAL,
        segmented_property_type=of_code(finding.code),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=tracking_uid,
        tracking_id=finding.code.meaning,
        anatomic_regions=[HEAD] if finding.side else None,
    )


def _stand_in(series: SourceSeries, name: SliceName, index: int, frame_of_reference: str, spacing_mm: float) -> Dataset:
    """As much of a slice as highdicom looks at, as a single-frame image."""
    head, frame = series.head(name.sop_uid), series.frame(name)
    position, orientation, spacing = _place(frame)
    ds = Dataset()
    ds.SOPClassUID = _STAND_IN_CLASS
    ds.SOPInstanceUID = uid(_STAND_INS, index)
    ds.StudyInstanceUID = ds.SeriesInstanceUID = uid(_STAND_INS, "series")
    ds.FrameOfReferenceUID = frame_of_reference
    ds.PositionReferenceIndicator = ""
    ds.Modality = str(head.get("Modality") or "CT")
    ds.Rows, ds.Columns = int(head.Rows), int(head.Columns)
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = position, orientation, spacing
    thickness = head.get("SliceThickness")
    ds.SliceThickness = float(thickness) if thickness else spacing_mm
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"):
        setattr(ds, keyword, None)
    ds.StudyID = ds.StudyDate = ds.StudyTime = None
    return ds


def _place(frame: Frame) -> tuple[list[float], list[float], list[float]]:
    if frame.position is None or frame.orientation is None or frame.pixel_spacing is None:
        raise Unreadable("a marked slice does not say where it lies")
    return [float(one) for one in frame.position], list(frame.orientation), list(frame.pixel_spacing)


def _name_sources(ds: Dataset, series: SourceSeries, names: list[SliceName]) -> None:
    """The real images in place of the stand-ins: in each frame (PS3.3, C.7.6.16.2.6) and for all (C.12.2, C.12.4)."""
    by_stand_in = {uid(_STAND_INS, index): name for index, name in enumerate(names)}
    for group in ds.PerFrameFunctionalGroupsSequence:
        for derivation in group.DerivationImageSequence:
            for source in derivation.SourceImageSequence:
                # Frames of several segments share these items: some were named before.
                if name := by_stand_in.get(source.ReferencedSOPInstanceUID):
                    source.update(slice_reference(series, name))
    listed = Dataset()
    listed.SeriesInstanceUID = series.uid
    whole = {name.sop_uid: slice_reference(series, SliceName(name.sop_uid, None)) for name in names}
    listed.ReferencedInstanceSequence = Items(list(whole.values()))
    ds.ReferencedSeriesSequence = Items([listed])
    ds.SourceImageSequence = listed.ReferencedInstanceSequence


def _name_dimensions(ds: Dataset, organization_uid: str) -> None:
    for item in (*ds.DimensionOrganizationSequence, *ds.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization_uid
