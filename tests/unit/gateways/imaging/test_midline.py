"""Left and right are the patient's, against the middle of the skull, and there is no middle where it is not sure."""

import numpy as np
import pytest

from gateways.imaging.head import find_head
from gateways.imaging.midline import midsagittal
from gateways.imaging.shift import midline_shift_mm
from gateways.imaging.volume import Volume
from schemas.events import Side
from tests.unit.gateways.imaging.heads import SIZE, mirrored, part, phantom, pushed, torso, with_voxels

FAR_LEFT, NEAR_LEFT, MIDDLE = (40.0, 10.0, 10.0), (10.0, -30.0, 20.0), (2.0, 40.0, 10.0)
"""In the head's own coordinates: x to its left."""


def middle_of(volume: Volume):
    return midsagittal(find_head(volume))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_plane_is_that_of_the_head_not_of_the_image(seed):
    volume, pose = phantom(seed)
    middle = middle_of(volume)
    for place in ((0, -60, 10), (0, 60, 10), (0, 0, 50), (0, 0, 0)):
        assert abs(middle.left_mm(pose.to_patient(place))) < 1
    assert np.degrees(np.arccos(middle.left @ pose.rotation[0])) < 1


@pytest.mark.parametrize("turned_deg", [0, 10, -30])
def test_a_turned_head_keeps_its_sides(turned_deg):
    volume, pose = phantom(1, turned_deg)
    middle = middle_of(volume)
    for x, y, z in (FAR_LEFT, NEAR_LEFT):
        assert middle.side(tuple(pose.to_patient((x, y, z)))) is Side.LEFT
        assert middle.side(tuple(pose.to_patient((-x, y, z)))) is Side.RIGHT
    assert middle.side(tuple(pose.to_patient(MIDDLE))) is Side.MIDLINE


def test_a_mirrored_head_has_mirrored_sides():
    volume, pose = phantom(2)
    middle = middle_of(mirrored(volume))
    for place in (FAR_LEFT, NEAR_LEFT):
        assert middle.side(tuple(pose.to_patient(place) * [-1, 1, 1])) is Side.RIGHT


def test_sides_do_not_depend_on_how_the_slices_are_stored():
    volume, pose = phantom(1)
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [SIZE - 1, SIZE - 1, 0]
    affine[:3, :2] *= -1
    turned = Volume(np.ascontiguousarray(volume.voxels[:, ::-1, ::-1]), affine, volume.spacing_mm, volume.slices)
    assert middle_of(turned).side(tuple(pose.to_patient(FAR_LEFT))) is Side.LEFT


@pytest.mark.parametrize("half", [{"x": slice(0, SIZE // 2)}, {"x": slice(SIZE // 2, SIZE)}])
def test_half_a_head_has_no_middle(half):
    assert middle_of(part(phantom()[0], **half)) is None


def test_what_is_no_head_has_no_middle():
    assert middle_of(torso()) is None


def test_halves_of_the_skull_that_disagree_have_no_middle():
    volume, _ = phantom(1)
    other, _ = phantom(1, 10)
    seam = 22
    assert middle_of(with_voxels(volume, np.concatenate([volume.voxels[:seam], other.voxels[seam:]]))) is None


@pytest.mark.parametrize("by_mm", [-8.0, 0.0, 4.0, 10.0])
def test_a_pushed_septum_is_measured_to_the_side_it_went(by_mm):
    volume, _ = phantom(1)
    middle = middle_of(volume)
    moved = pushed(volume, middle, by_mm)
    assert midline_shift_mm(moved, middle_of(moved)) == pytest.approx(by_mm, abs=1)


def test_a_horn_full_of_blood_leaves_no_figure():
    volume, _ = phantom(1)
    middle = middle_of(volume)
    z, y, x = np.indices(volume.voxels.shape, dtype=np.float32)
    to_left = (np.stack([x, y, z], -1) @ volume.affine[:3, :3].T + volume.affine[:3, 3] - middle.point) @ middle.left
    filled = (volume.voxels < 25) & (volume.voxels > -20) & (to_left > 1) & (to_left < 30)
    assert midline_shift_mm(volume, middle) is not None
    assert midline_shift_mm(with_voxels(volume, np.where(filled, 66, volume.voxels)), middle) is None
