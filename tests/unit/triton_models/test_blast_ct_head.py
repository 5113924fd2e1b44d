"""A volume comes to the network's grid as the published preparation brings it there, and answers come back to it."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[3] / "triton_models" / "blast_ct" / "1" / "head.py"
_spec = spec_from_file_location("head", PATH)
assert _spec is not None
assert _spec.loader is not None
head = module_from_spec(_spec)
sys.modules["head"] = head
_spec.loader.exec_module(head)

SHAPE = (30, 96, 90)
SPACING = (5.0, 2.0, 2.0)


def upright(spacing=SPACING):
    return np.diag([*spacing[::-1], 1.0])


def phantom(shape=SHAPE, spacing=SPACING, blood_mm=(18.0, 25.0, 10.0)):
    """Scalp, skull and brain with a ball of blood off centre [z, y, x] mm, so that no two directions look alike."""
    centre = [(count - 1) * step / 2 for count, step in zip(shape, spacing, strict=True)]
    grid = [np.arange(count) * step - at for count, step, at in zip(shape, spacing, centre, strict=True)]
    z, y, x = np.meshgrid(*grid, indexing="ij")
    radius = np.sqrt(z**2 + y**2 + x**2)
    volume = np.full(shape, -1000, np.int16)
    volume[radius < 72] = 30
    volume[radius < 68] = 1000
    volume[radius < 62] = 32
    volume[np.sqrt((z - blood_mm[0]) ** 2 + (y - blood_mm[1]) ** 2 + (x - blood_mm[2]) ** 2) < 14] = 70
    return volume


def whole(volume, grid):
    return head.sampled(volume, grid, [np.arange(side) for side in grid.size])


def plainly_resampled(volume, spacing):
    """One voxel after the other, by the textbook."""
    sides = [round((count - 1) * step + 1) for count, step in zip(volume.shape, spacing, strict=True)]
    result = np.full(sides, float(volume.min()))
    for place in np.ndindex(*sides):
        at = [index / step for index, step in zip(place, spacing, strict=True)]
        if any(value > count - 0.5 for value, count in zip(at, volume.shape, strict=True)):
            continue
        total = 0.0
        for corner in product((0, 1), repeat=3):
            weight, where = 1.0, []
            for value, count, upper in zip(at, volume.shape, corner, strict=True):
                inside = min(value, count - 1)
                share = inside - int(inside)
                weight *= share if upper else 1 - share
                where.append(min(int(inside) + upper, count - 1))
            total += weight * float(volume[tuple(where)])
        result[place] = total
    return result


def marked_and_brought_back(truth, brain):
    """What a perfect network would mark on the part it is shown, in the voxels of the volume."""
    places = [np.arange(start, start + side) for start, side in zip(brain.start, brain.image.shape, strict=True)]
    marked = head.sampled(truth.astype(np.int16), brain.grid, places) > 0.5
    return head.onto_volume((marked & brain.mask).astype(np.uint8), brain, truth.shape).astype(bool)


def overlap(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_an_upright_volume_is_resampled_linearly_and_never_rounded():
    volume = np.random.default_rng(1).integers(-1000, 1500, (4, 9, 7)).astype(np.int16)
    spacing = (3.3, 0.7, 1.9)
    grid = head.grid_of(volume.shape, upright(spacing))
    fine = whole(volume, grid)
    assert fine.dtype == np.float32
    np.testing.assert_allclose(fine, plainly_resampled(volume, spacing), atol=1e-2)
    assert (fine != np.rint(fine)).any()


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1)])
def test_any_order_and_direction_of_the_axes_gives_the_same_image(order, flips):
    volume = phantom((15, 48, 45), (10.0, 4.0, 4.0))
    spacing = (10.0, 4.0, 4.0)
    expected = whole(volume, head.grid_of(volume.shape, upright(spacing)))
    turned = volume.transpose(order)
    columns = [upright(spacing)[:3, 2 - axis] for axis in order]
    origin = np.zeros(3)
    for axis, flip in enumerate(flips):
        if flip:
            turned = np.flip(turned, axis)
            origin = origin + columns[axis] * (turned.shape[axis] - 1)
            columns[axis] = -columns[axis]
    affine = np.eye(4)
    affine[:3, :3] = np.stack(columns[::-1], axis=1)
    affine[:3, 3] = origin
    turned = np.ascontiguousarray(turned)
    grid = head.grid_of(turned.shape, affine)
    np.testing.assert_array_equal(whole(turned, grid), expected)
    brain = head.find_brain(turned, grid)
    marked = (brain.image > 0.2).astype(np.uint8)
    back = head.onto_volume(marked, brain, turned.shape)
    for axis, flip in enumerate(flips):
        back = np.flip(back, axis) if flip else back
    plain = head.find_brain(volume, head.grid_of(volume.shape, upright(spacing)))
    expected_back = head.onto_volume((plain.image > 0.2).astype(np.uint8), plain, volume.shape)
    np.testing.assert_array_equal(back.transpose(np.argsort(order)), expected_back)


def slanted(volume, degrees, spacing=SPACING):
    """The same head scanned with a tilted gantry: each slice lies farther along y than the one below."""
    step = spacing[0] * np.tan(np.radians(degrees))
    shifted = np.full_like(volume, -1000)
    for number, plane in enumerate(volume):
        by = round(step * (number - (len(volume) - 1) / 2) / spacing[1])
        shifted[number] = np.roll(plane, -by, axis=0)
    affine = upright(spacing)
    affine[1, 2] = step
    return shifted, affine


@pytest.mark.parametrize("degrees", [22.0, -22.0])
def test_a_large_slant_is_undone(degrees):
    volume = phantom()
    tilted, affine = slanted(volume, degrees)
    grid = head.grid_of(tilted.shape, affine)
    assert grid.spacing_mm == pytest.approx(SPACING)
    straight = whole(tilted, grid)
    expected = whole(volume, head.grid_of(volume.shape, upright()))
    extra = straight.shape[1] - expected.shape[1]
    middle = straight[:, extra // 2 : extra // 2 + expected.shape[1]]
    inner = (expected > 20) & (expected < 45)
    assert np.abs(middle - expected)[inner].mean() < 12
    unturned = whole(tilted, head.grid_of(tilted.shape, upright()))
    assert np.abs(middle - expected)[inner].mean() < np.abs(unturned - expected)[inner].mean() / 3


def test_a_small_slant_is_taken_as_upright():
    tilted, affine = slanted(phantom(), 8.0)
    grid = head.grid_of(tilted.shape, affine)
    assert grid.slant_mm == (0.0, 0.0)
    assert grid.spacing_mm[0] == pytest.approx(5.0 / np.cos(np.radians(8.0)))


@pytest.mark.parametrize("degrees", [0.0, 8.0, 25.0])
def test_what_is_marked_on_the_grid_lies_in_the_same_voxels_of_the_volume(degrees):
    tilted, affine = slanted(phantom(), degrees)
    brain = head.find_brain(tilted, head.grid_of(tilted.shape, affine))
    truth = tilted == 70
    assert overlap(marked_and_brought_back(truth, brain), truth) > 0.9


def test_the_window():
    hu = np.array([-1024, -15, 42.5, 100, 3000], np.float32)
    np.testing.assert_allclose(head.windowed(hu), [-1, -1, 0, 1, 1], atol=1e-6)


def test_the_mask_holds_the_brain_and_no_bone():
    volume = phantom()
    brain = head.find_brain(volume, head.grid_of(volume.shape, upright()))
    asked = head.onto_volume(brain.mask.astype(np.uint8), brain, volume.shape).astype(bool)
    assert asked[volume == 70].all()
    assert asked[volume == 32].mean() > 0.97
    assert asked[volume == 1000].mean() < 0.05
    assert not asked[volume == -1000].any()
    assert all(begin % head.ALIGNED == 0 for begin in brain.start)


def test_only_the_part_around_the_brain_is_resampled():
    """A head in a wide field of view costs what a head costs."""
    volume = np.full((30, 250, 250), -1000, np.int16)
    volume[:, 100:196, 120:210] = phantom()
    brain = head.find_brain(volume, head.grid_of(volume.shape, upright()))
    assert brain.start[1] > 0
    assert brain.start[2] > 0
    assert brain.image.size < 0.4 * np.prod(head.grid_of(volume.shape, upright()).size)
    truth = volume == 70
    assert overlap(marked_and_brought_back(truth, brain), truth) > 0.9


@pytest.mark.parametrize(
    "volume",
    [
        np.full(SHAPE, -1000, np.int16),
        np.full(SHAPE, 40, np.int16),
        np.full(SHAPE, 1500, np.int16),
        np.where(phantom() > 200, 40, phantom()).astype(np.int16),
        np.zeros((1, 1, 1), np.int16),
        np.random.default_rng(3).integers(-1000, 2000, SHAPE).astype(np.int16),
    ],
    ids=["air", "soft tissue", "bone", "a ball without a skull", "one voxel", "noise"],
)
def test_what_is_no_head_has_no_brain(volume):
    assert head.find_brain(volume, head.grid_of(volume.shape, upright())) is None


@pytest.mark.parametrize("broken", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1.0, 1.0, 0.0, 1.0])])
def test_an_affine_that_places_nothing_is_refused(broken):
    with pytest.raises(ValueError, match="AFFINE does not place the voxels in space"):
        head.grid_of(SHAPE, broken)
