"""Every frame of a segmentation is the label map's slice of the very image it names, however the images came."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from gateways.objects import FileStore
from gateways.pacs.objects import objects_of
from gateways.pacs.settings import ObjectSettings
from schemas.deliveries import ObjectKind
from sinsok.phantom import Case, build
from tests.unit.gateways.imaging.ct import COLUMNS, ROWS, SPACING, series
from tests.unit.gateways.pacs.objects.examples import (
    CLASSES,
    decision,
    kinds_of,
    of_kind,
    result_of,
    store_datasets,
    store_in,
    volume_of,
    with_arrays,
)

ONLY = ObjectSettings(kinds=(ObjectKind.SEGMENTATION,))


@pytest.fixture
def store(tmp_path) -> FileStore:
    return store_in(tmp_path)


def marks(planes: int, shape: tuple[int, int] = (ROWS, COLUMNS)) -> np.ndarray:
    """Two classes that touch, no two planes alike."""
    labels = np.zeros((planes, *shape), np.uint8)
    for z in range(1, planes - 1):
        labels[z, 10 : 20 + z, 12 : 30 + z] = 1
        labels[z, 14:18, 20 : 24 + z] = 4
    return labels


def key_of(source: Dataset) -> tuple[str, int | None]:
    frame = source.get("ReferencedFrameNumber")
    return str(source.ReferencedSOPInstanceUID), None if frame is None else int(frame)


def frames_of(seg: Dataset) -> dict[tuple[int, str, int | None], np.ndarray]:
    """Pixels by segment and by the source slice the frame names."""
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    found = {}
    for group, frame in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        named = group if "SegmentIdentificationSequence" in group else seg.SharedFunctionalGroupsSequence[0]
        number = int(named.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        key = (number, *key_of(source))
        assert key not in found, "a slice is written once for each segment"
        found[key] = frame
    return found


def written(store: FileStore, datasets: list[Dataset], labels: np.ndarray, choice: ObjectSettings = ONLY) -> Dataset:
    result = result_of(decision(store, store_datasets(store, datasets), labels))
    return of_kind(objects_of(result, (), choice, store), ObjectKind.SEGMENTATION)


def expected(store: FileStore, datasets: list[Dataset], labels: np.ndarray) -> dict:
    """Slices as the volume has them: for each plane its image and its labels."""
    volume = volume_of(store, store_datasets(store, datasets))
    numbers = {label: number for number, label in enumerate((1, 4), start=1) if (labels == label).any()}
    return {
        (number, name.sop_uid, name.frame): labels[z] == label
        for label, number in numbers.items()
        for z, name in enumerate(volume.slices)
        if name and (labels[z] == label).any()
    }


def assert_same(found: dict, wanted: dict) -> None:
    assert found.keys() == wanted.keys()
    for key, frame in found.items():
        np.testing.assert_array_equal(frame.astype(bool), wanted[key])


def tilted(ds: Dataset, z: int) -> None:
    ds.ImagePositionPatient = [-8.0, -9.6 + z * 0.7, 100.0 + z * 5.0]


def upside_down(ds: Dataset, z: int) -> None:
    ds.ImagePositionPatient = [-8.0, -9.6, 200.0 - z * 5.0]


def shuffled(ds: Dataset, z: int) -> None:
    """UIDs and numbers in an order of their own."""
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.{(z * 7) % 6 + 100}"
    ds.InstanceNumber = (z * 5) % 6 + 1


def coronal(ds: Dataset, z: int) -> None:
    ds.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    ds.ImagePositionPatient = [-8.0, 10.0 + 5 * z, 60.0]


@pytest.mark.parametrize("bend", [tilted, upside_down, shuffled, coronal])
def test_each_frame_is_the_slice_it_names(store, bend):
    datasets, labels = series(6, bend), marks(6)
    order = [3, 0, 5, 1, 4, 2]
    seg = written(store, [datasets[index] for index in order], labels)
    wanted = expected(store, datasets, labels)
    assert len(wanted) == 8
    assert_same(frames_of(seg), wanted)


def test_frames_lie_where_their_slices_lie(store):
    datasets = series(6, tilted)
    seg = written(store, datasets, marks(6))
    positions = {str(ds.SOPInstanceUID): [float(one) for one in ds.ImagePositionPatient] for ds in datasets}
    for group in seg.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        position = [float(one) for one in group.PlanePositionSequence[0].ImagePositionPatient]
        assert position == pytest.approx(positions[source.ReferencedSOPInstanceUID])
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert [float(one) for one in shared.PlaneOrientationSequence[0].ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]
    assert [float(one) for one in shared.PixelMeasuresSequence[0].PixelSpacing] == [SPACING[1], SPACING[2]]


def test_a_plane_without_a_slice_is_left_out(store):
    datasets = [ds for z, ds in enumerate(series(7)) if z != 3]
    labels = marks(7)
    found = frames_of(written(store, datasets, labels))
    assert_same(found, expected(store, datasets, labels))
    assert len({key[1] for key in found}) == 4


def test_a_thick_slice_on_several_planes_is_written_once(store):
    """Slices of 2.5 mm, then of 7.5 mm, which stand on three planes each; the plane at its own height has the word."""
    heights = [0, 2.5, 5, 7.5, 10, 17.5, 25, 32.5, 40]

    def mixed(ds: Dataset, z: int) -> None:
        ds.ImagePositionPatient = [-8.0, -9.6, heights[z]]

    datasets = series(9, mixed)
    volume = volume_of(store, store_datasets(store, datasets))
    thick = str(datasets[6].SOPInstanceUID)
    below, own, above = (z for z, name in enumerate(volume.slices) if name and name.sop_uid == thick)
    assert own * 2.5 == 25
    labels = np.zeros(volume.voxels.shape, np.uint8)
    labels[below, 5:20, 5:20] = 4
    labels[own, 10:25, 5:20] = 1
    labels[above, 30:40, 5:20] = 1
    found = frames_of(written(store, datasets, labels))
    assert found.keys() == {(1, thick, None), (2, thick, None)}
    np.testing.assert_array_equal(found[1, thick, None] > 0, (labels[own] == 1) | (labels[above] == 1))
    np.testing.assert_array_equal(found[2, thick, None] > 0, (labels[below] == 4) & (labels[own] == 0))


@pytest.mark.parametrize("with_frames", [False, True])
def test_frames_of_a_multi_frame_image_are_named_by_number(store, with_frames):
    (ds,) = build(Case.ENHANCED, slices=6, volume_ml=1).datasets
    # Frames from the head down: their numbers are not those of the planes.
    groups = list(ds.PerFrameFunctionalGroupsSequence)
    ds.PerFrameFunctionalGroupsSequence = groups[::-1]
    labels = marks(6, (512, 512))
    reference = store_datasets(store, [ds])
    one = decision(store, reference, labels)
    if with_frames:
        one = with_arrays(store, one, frames=np.array([6, 5, 4, 3, 2, 1]))
    seg = of_kind(objects_of(result_of(one, study_uid=ds.StudyInstanceUID), (), ONLY, store), ObjectKind.SEGMENTATION)
    found = frames_of(seg)
    assert_same(found, expected(store, [ds], labels))
    assert {key[2] for key in found} == {2, 3, 4, 5}
    for group in seg.PerFrameFunctionalGroupsSequence:
        number = key_of(group.DerivationImageSequence[0].SourceImageSequence[0])[1]
        own = ds.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0].ImagePositionPatient
        assert [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient] == pytest.approx(
            [float(v) for v in own]
        )
    for (referenced,) in (seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence, seg.SourceImageSequence):
        assert (referenced.ReferencedSOPClassUID, referenced.ReferencedSOPInstanceUID) == (
            ds.SOPClassUID,
            ds.SOPInstanceUID,
        )
        assert "ReferencedFrameNumber" not in referenced


def test_the_whole_names_the_images_its_frames_name(store):
    seg = written(store, series(6), marks(6))
    named = {key[1:] for key in frames_of(seg)}
    assert {key_of(source) for source in seg.SourceImageSequence} == named
    assert {key_of(one) for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence} == named


def test_a_lesion_of_one_voxel(store, monkeypatch):
    row = CLASSES[0].model_copy(update={"min_volume_ml": 0.0})
    monkeypatch.setattr("tests.unit.gateways.pacs.objects.examples.CLASSES", (row, CLASSES[1]))
    labels = np.zeros((6, ROWS, COLUMNS), np.uint8)
    labels[3, 0, COLUMNS - 1] = 1
    ((key, frame),) = frames_of(written(store, series(6), labels)).items()
    assert key == (1, "2.25.4", None)
    assert np.argwhere(frame).tolist() == [[0, COLUMNS - 1]]


def test_segments_are_named_by_their_findings(store):
    """A finding's label is found by place and volume: the smaller class lies inside the box of the larger."""
    seg = written(store, series(6), marks(6))
    assert [str(item.SegmentLabel) for item in seg.SegmentSequence] == [row.code.meaning for row in CLASSES]
    codes = [item.SegmentedPropertyTypeCodeSequence[0] for item in seg.SegmentSequence]
    assert [(one.CodingSchemeDesignator, one.CodeValue) for one in codes] == [
        ("SCT", "274100004"),
        ("99SINSOK", "IVH"),
    ]
    assert seg.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99SINSOK"
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("a_model", "2")
    assert "ab" * 32 in algorithm.AlgorithmParameters


def test_what_was_too_small_to_report_has_no_segment(store, monkeypatch):
    row = CLASSES[1].model_copy(update={"min_volume_ml": 1000.0})
    monkeypatch.setattr("tests.unit.gateways.pacs.objects.examples.CLASSES", (CLASSES[0], row))
    labels = marks(6)
    seg = written(store, series(6), labels)
    assert len(seg.SegmentSequence) == 1
    wanted = {key: mask for key, mask in expected(store, series(6), labels).items() if key[0] == 1}
    assert_same(frames_of(seg), wanted)


def test_fractional_has_full_probability_where_the_model_gives_none(store):
    labels = marks(6)
    seg = written(store, series(6), labels, ONLY.model_copy(update={"segmentation": "fractional"}))
    assert (seg.SegmentationType, seg.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    found = frames_of(seg)
    assert_same(found, expected(store, series(6), labels))
    assert {int(value) for frame in found.values() for value in np.unique(frame)} == {0, seg.MaximumFractionalValue}


def test_fractional_has_the_models_probabilities(store):
    labels = marks(6)
    z, y, x = np.indices(labels.shape)
    probability = (100 + z * 20 + (x + y) % 7).astype(np.uint8)
    one = with_arrays(store, decision(store, store_datasets(store, series(6)), labels), probability=probability)
    choice = ONLY.model_copy(update={"segmentation": "fractional"})
    seg = of_kind(objects_of(result_of(one), (), choice, store), ObjectKind.SEGMENTATION)
    for (number, uid, _), frame in frames_of(seg).items():
        plane = int(uid.split(".")[-1]) - 1
        wanted = np.where(labels[plane] == (1, 4)[number - 1], probability[plane], 0)
        np.testing.assert_array_equal(frame, wanted)


def test_without_a_frame_of_reference_frames_keep_their_place(store):
    """All frames of the series share one that is made up, and a report's coordinates would use it too."""
    seg = written(store, series(6), marks(6))
    assert str(seg.FrameOfReferenceUID).startswith("2.25.")
    assert "PlanePositionSequence" in seg.PerFrameFunctionalGroupsSequence[0]


def test_the_frame_of_reference_is_the_images_own(store):
    def with_frame(ds: Dataset, z: int) -> None:
        ds.FrameOfReferenceUID = "1.2.826.99"

    assert written(store, series(6, with_frame), marks(6)).FrameOfReferenceUID == "1.2.826.99"


def test_a_classifier_marks_nothing_and_nothing_is_segmented(store):
    result = result_of(decision(store, store_datasets(store, series(6)), None))
    assert result.findings
    assert objects_of(result, (), ONLY, store) == ()


def test_an_empty_label_map_is_no_segmentation(store):
    labels = np.zeros((6, ROWS, COLUMNS), np.uint8)
    assert (
        kinds_of(objects_of(result_of(decision(store, store_datasets(store, series(6)), labels)), (), ONLY, store))
        == []
    )
