"""What the phantoms show: the asked volume of blood where it belongs, the same from the same seed."""

import numpy as np
import pytest

from sinsok.phantom import Case, NoRoom, PhantomStudy, Place, Side, build


def hounsfield(study: PhantomStudy) -> np.ndarray:
    return np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in study.datasets])


@pytest.fixture(scope="module")
def bleeding() -> PhantomStudy:
    return build(Case.IPH, 1, slices=8, volume_ml=10, place=Place.DEEP, side=Side.RIGHT)


def test_the_blood_has_the_asked_volume_and_brightness(bleeding: PhantomStudy) -> None:
    truth = bleeding.truth
    assert truth is not None
    assert truth.volume_ml == pytest.approx(10, rel=0.01)
    assert truth.labels.sum() * 0.488**2 * 5 / 1000 == pytest.approx(10, rel=0.1)
    blood = hounsfield(bleeding)[truth.labels == 1]
    assert 55 < np.median(blood) < 78


def test_right_is_negative_x(bleeding: PhantomStudy) -> None:
    assert bleeding.truth is not None
    x, _, _ = bleeding.truth.centroid_mm
    assert -40 < x < -10


def test_the_centroid_lies_in_the_labels_by_the_headers_geometry(bleeding: PhantomStudy) -> None:
    assert bleeding.truth is not None
    first = bleeding.datasets[0]
    origin = np.array([float(v) for v in first.ImagePositionPatient])
    spacing = np.array([float(first.PixelSpacing[1]), float(first.PixelSpacing[0]), float(first.SliceThickness)])
    x, y, z = np.rint((np.array(bleeding.truth.centroid_mm) - origin) / spacing).astype(int)
    assert bleeding.truth.labels[z, y, x] == 1


def test_a_head_without_blood_is_the_same_head(bleeding: PhantomStudy) -> None:
    healthy = build(Case.NEGATIVE, 1, slices=8)
    assert healthy.truth is None
    assert bleeding.truth is not None
    difference = np.abs(hounsfield(bleeding) - hounsfield(healthy))
    away = np.ones_like(difference, dtype=bool)
    away[:, :, 100:300] = False
    assert difference[away].max() == 0
    assert difference[bleeding.truth.labels == 1].mean() > 20


@pytest.mark.parametrize(
    ("case", "place", "volume_ml"),
    [(Case.EAH, Place.CRESCENT, 15), (Case.EAH, Place.LENS, 10), (Case.IVH, Place.VENTRICLES, 4)],
)
def test_other_bleeds_have_their_volume_too(case: Case, place: Place, volume_ml: float) -> None:
    truth = build(case, 2, slices=8, volume_ml=volume_ml, place=place).truth
    assert truth is not None
    assert truth.place is place
    assert truth.volume_ml == pytest.approx(volume_ml, rel=0.02)


def test_the_same_arguments_give_the_same_bytes() -> None:
    one, two = (build(Case.IPH, 5, slices=1, volume_ml=0.5) for _ in range(2))
    assert [ds.to_json() for ds in one.datasets] == [ds.to_json() for ds in two.datasets]


def test_fresh_gives_the_same_picture_with_new_uids() -> None:
    kept, fresh = build(Case.CHEST, slices=1), build(Case.CHEST, slices=1, fresh=True)
    assert kept.datasets[0].PixelData == fresh.datasets[0].PixelData
    assert kept.study_uid != fresh.study_uid
    assert kept.datasets[0].SOPInstanceUID != fresh.datasets[0].SOPInstanceUID


@pytest.mark.parametrize("case", Case)
def test_every_object_says_that_it_is_no_patient(case: Case) -> None:
    for ds in build(case, slices=1, volume_ml=0.3 if case.places else None).datasets:
        assert str(ds.PatientName) == f"PHANTOM^{case.upper()}"
        assert ds.PatientID.startswith("PHANTOM-")
        assert ds.QualityControlImage == "YES"
        assert "NOT A PATIENT" in ds.ImageComments
        assert ds.SOPInstanceUID.is_valid


def test_the_cases_a_router_must_refuse_say_what_they_are() -> None:
    assert build(Case.CHEST, slices=1).datasets[0].BodyPartExamined == "CHEST"
    assert build(Case.MR, slices=1).datasets[0].Modality == "MR"
    assert "LOCALIZER" in build(Case.SCOUT, slices=1).datasets[0].ImageType


def test_the_enhanced_object_holds_all_slices_as_frames() -> None:
    (ds,) = build(Case.ENHANCED, slices=3, volume_ml=1).datasets
    assert ds.NumberOfFrames == 3
    assert ds.pixel_array.shape == (3, 512, 512)
    heights = [
        float(frame.PlanePositionSequence[0].ImagePositionPatient[2]) for frame in ds.PerFrameFunctionalGroupsSequence
    ]
    assert np.diff(heights) == pytest.approx([5, 5])


def test_more_blood_than_there_is_room_for_is_refused() -> None:
    with pytest.raises(NoRoom, match="do not fit"):
        build(Case.IVH, slices=1, volume_ml=300)


def test_a_place_the_case_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="does not bleed in lens"):
        build(Case.IPH, slices=1, place=Place.LENS)


def test_a_volume_without_a_bleed_is_refused() -> None:
    with pytest.raises(ValueError, match="shows no blood"):
        build(Case.NEGATIVE, slices=1, volume_ml=5)
