"""What stands in a PACS against what was decided: read by highdicom, held against the result and its label map."""

from collections import Counter
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from gateways.objects import FileStore
from schemas.deliveries import ObjectKind
from schemas.events import Finding, StudyTriaged
from tests.e2e.pacs import ArchivedStudy


def check_reads_back(there: ArchivedStudy, result: StudyTriaged, store: FileStore) -> None:
    """One current object of each kind, and in them the findings, volumes, places and voxels of the result."""
    (report,) = there.current(ObjectKind.REPORT)
    (segmentation,) = there.current(ObjectKind.SEGMENTATION)
    (key_image,) = there.current(ObjectKind.KEY_IMAGE)
    seg = hd.seg.Segmentation.from_dataset(segmentation)
    _check_voxels(seg, there, result, store)
    _check_report(hd.sr.Comprehensive3DSR.from_dataset(report), seg, result)
    _check_key_image(key_image, result)


def _check_voxels(seg: hd.seg.Segmentation, there: ArchivedStudy, result: StudyTriaged, store: FileStore) -> None:
    (reading,) = [one.reading for one in result.series if one.reading and one.reading.findings]
    assert reading.label_map is not None
    with np.load(BytesIO(store.read(reading.label_map))) as archive:
        labels, affine, sop_uids = archive["labels"], archive["affine"], archive["sop_uids"]
    images = {str(ds.SOPInstanceUID): ds for ds in there.instances}
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    drawn: dict[int, NDArray[np.bool_]] = {}
    for group, frame in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        z = int(np.argmin([np.linalg.norm(affine[:3, 3] + at * affine[:3, 2] - position) for at in range(len(labels))]))
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPInstanceUID == sop_uids[z]
        image = images[source.ReferencedSOPInstanceUID]
        assert (seg.Rows, seg.Columns) == (image.Rows, image.Columns)
        np.testing.assert_allclose(position, _position(image, source), atol=1e-4)
        identified = group if "SegmentIdentificationSequence" in group else seg.SharedFunctionalGroupsSequence[0]
        segment = int(identified.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        mask = drawn.setdefault(segment, np.zeros(labels.shape, bool))
        assert not mask[z].any(), f"slice {z} of segment {segment} stands there twice"
        mask[z] = frame > 0
    values = {segment: _label_of(mask, labels) for segment, mask in drawn.items()}
    assert len(set(values.values())) == len(values) == seg.number_of_segments
    assert {_code(seg, segment) for segment in drawn} == {one.code.value for one in result.findings}


def _label_of(mask: NDArray[np.bool_], labels: NDArray[np.uint8]) -> int:
    """The label whose voxels, all of them and no others, are those of a segment."""
    values = np.unique(labels[mask])
    assert len(values) == 1
    np.testing.assert_array_equal(mask, labels == values[0])
    return int(values[0])


def _position(image: Dataset, source: Dataset) -> list[float]:
    if "PerFrameFunctionalGroupsSequence" not in image:
        return [float(value) for value in image.ImagePositionPatient]
    frame = image.PerFrameFunctionalGroupsSequence[int(source.ReferencedFrameNumber) - 1]
    return [float(value) for value in frame.PlanePositionSequence[0].ImagePositionPatient]


def _code(seg: hd.seg.Segmentation, segment: int) -> str:
    return str(seg.get_segment_description(segment).segmented_property_type.value)


def _check_report(report: hd.sr.Comprehensive3DSR, seg: hd.seg.Segmentation, result: StudyTriaged) -> None:
    groups = report.content.get_volumetric_roi_measurement_groups()
    said = {}
    for group in groups:
        (volume,) = group.get_measurements(name=codes.SCT.Volume)
        assert volume.unit.value == "mL"
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == seg.SOPInstanceUID
        (number,) = segment.referenced_segment_numbers
        assert _code(seg, number) == group.finding_type.value
        (centre,) = [item for item in group[0].ContentSequence if item.ValueType == "SCOORD3D"]
        said[str(group.tracking_uid)] = (
            str(group.finding_type.value),
            float(volume.value),
            tuple(float(value) for value in centre.GraphicData),
        )
    assert len(said) == len(groups) == len(result.findings)
    for one in result.findings:
        assert any(_is(finding, one) for finding in said.values()), (one, said)
    assert Counter(code for code, _, _ in said.values()) == Counter(one.code.value for one in result.findings)
    assert "AI" in str(report.to_json())


def _is(said: tuple[str, float, tuple[float, ...]], finding: Finding) -> bool:
    code, volume, centre = said
    return (code, volume) == (finding.code.value, pytest.approx(finding.volume_ml, rel=1e-6)) and centre == (
        pytest.approx(finding.centroid_mm, abs=1e-3)
    )


def _check_key_image(key_image: Dataset, result: StudyTriaged) -> None:
    pixels = key_image.pixel_array
    assert pixels.ndim == 3
    assert (pixels.max(axis=2) != pixels.min(axis=2)).any(), "the outline has a colour"
    (source,) = key_image.SourceImageSequence
    assert source.ReferencedSOPInstanceUID in {one.key_instance_uid for one in result.findings}
