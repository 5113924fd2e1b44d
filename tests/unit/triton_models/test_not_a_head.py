"""The rules tell a head from everything else, and where they are not sure they say head."""

import os
import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from sinsok.phantom import Case, build

ROOT = Path(__file__).parents[3]
PATH = ROOT / "triton_models" / "not_a_head" / "1" / "enclosure.py"
REAL = Path(os.environ.get("SINSOK_SHARED", ROOT.parent / "shared")) / "cases" / "rsna2019_ich_ID_fff502d5"
_spec = spec_from_file_location("enclosure", PATH)
assert _spec is not None
assert _spec.loader is not None
enclosure = module_from_spec(_spec)
sys.modules["enclosure"] = enclosure
_spec.loader.exec_module(enclosure)

SURE_HEAD = 0.1
"""A head must be far from the limit, so that a gate at 0.5 has room for heads that no test has seen."""


def stack(datasets):
    """Voxels [z, y, x] in Hounsfield units and their size in mm."""
    slices = sorted(datasets, key=lambda ds: float(ds.ImagePositionPatient[2]))
    voxels = [ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in slices]
    first, last = (np.array(slices[at].ImagePositionPatient, float) for at in (0, -1))
    row, column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    step = abs((last - first) @ np.cross(row, column)) / (len(slices) - 1)
    volume = np.clip(np.stack(voxels), -1024, 32767).astype(np.int16)
    return volume, (float(step), *(float(size) for size in slices[0].PixelSpacing))


@cache
def phantom(case, seed=0, slices=36):
    return stack(build(case, seed, slices=slices, volume_ml=8 if case.places else None).datasets)


@cache
def real():
    if not REAL.exists():
        pytest.skip(f"the real case is not at {REAL}")
    return stack([pydicom.dcmread(path) for path in REAL.glob("*.dcm")])


@pytest.fixture(params=["phantom", "real"])
def head(request):
    return real() if request.param == "real" else phantom(Case.IPH)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("case", [Case.IPH, Case.EAH, Case.IVH, Case.NEGATIVE])
def test_a_head_is_a_head(case, seed):
    assert enclosure.no_head(*phantom(case, seed, 14)) < SURE_HEAD


def as_seen_from_the_front(voxels, spacing):
    return voxels.transpose(1, 0, 2), (spacing[1], spacing[0], spacing[2])


def from_the_side(voxels, spacing):
    return voxels.transpose(2, 0, 1), (spacing[2], spacing[0], spacing[1])


def between(low, high):
    """A part of the stack, as shares of its height."""
    return lambda voxels, spacing: (voxels[int(low * len(voxels)) : int(high * len(voxels))], spacing)


def resampled(step_mm):
    return lambda voxels, spacing: (
        ndimage.zoom(voxels[:, ::2, ::2], (spacing[0] / step_mm, 1, 1), order=1),
        (step_mm, 2 * spacing[1], 2 * spacing[2]),
    )


def tilted(voxels, spacing):
    """Slices shifted against each other, as a gantry tilted by 20 degrees leaves them."""
    slope = np.tan(np.radians(20)) * spacing[0] / spacing[1]
    shifted = [np.roll(plane, round(slope * (n - len(voxels) / 2)), 0) for n, plane in enumerate(voxels)]
    return np.stack(shifted), spacing


def without_a_flap(voxels, spacing):
    """A craniectomy: no bone in a quarter of the picture, over most of the height."""
    voxels = voxels.copy()
    part = voxels[8:-2, : voxels.shape[1] // 2, : voxels.shape[2] // 2]
    part[part > 100] = 40
    return voxels, spacing


def with_a_large_bleed(voxels, spacing):
    voxels = voxels.copy()
    part = voxels[12:26, 190:330, 190:330]
    part[(part > 0) & (part < 100)] = 75
    return voxels, spacing


def noisy(voxels, spacing):
    noise = np.random.default_rng(0).normal(0, 25, voxels.shape)
    return np.clip(voxels + noise, -1024, 32767).astype(np.int16), spacing


@pytest.mark.parametrize(
    "change",
    [
        lambda voxels, spacing: (voxels[:, :, ::-1], spacing),
        lambda voxels, spacing: (voxels[::-1, ::-1], spacing),
        between(0.5, 1),
        between(0, 0.5),
        between(0.35, 0.7),
        lambda voxels, spacing: (voxels[:, 120:400, 120:400], spacing),
        *(resampled(step) for step in (1.0, 2.5, 7.0)),
        tilted,
        without_a_flap,
        with_a_large_bleed,
        noisy,
        as_seen_from_the_front,
        from_the_side,
    ],
    ids=[
        *("mirrored", "upside down", "upper half", "lower half", "middle third", "skull cut off"),
        *("1 mm", "2.5 mm", "7 mm", "tilted", "craniectomy", "bleed", "noise", "coronal", "sagittal"),
    ],
)
def test_a_head_stays_one_however_it_was_scanned(head, change):
    assert enclosure.no_head(*change(*head)) < 0.25


def test_what_is_no_hounsfield_unit_is_not_judged():
    voxels, spacing = phantom(Case.IPH)
    assert enclosure.no_head(np.where(voxels > -300, voxels + 1024, voxels), spacing) == 0.0


@pytest.mark.parametrize("seed", range(2))
def test_a_chest_is_no_head(seed):
    assert enclosure.no_head(*phantom(Case.CHEST, seed, 12)) > 0.5


SPACING = (3.0, 1.0, 1.0)


def cylinder(radius_mm, inside_hu=0, *more):
    """A cylinder in air; ``more`` are (x, y, radius in mm, HU) of cylinders in it, painted in order."""
    voxels = np.full((40, 320, 320), -1000, np.int16)
    y, x = np.mgrid[-160:160, -160:160]
    for at_x, at_y, radius, density in ((0, 0, radius_mm, inside_hu), *more):
        voxels[:, (x - at_x) ** 2 + (y - at_y) ** 2 < radius**2] = density
    return voxels


@pytest.mark.parametrize(
    "voxels",
    [
        np.full((40, 256, 256), -1000, np.int16),
        np.full((40, 256, 256), -1024, np.int16),
        cylinder(100),
        cylinder(100, 50, (0, 60, 22, 350), (0, 90, 15, 400), (0, 90, 9, 20)),
        cylinder(75, 50, (5, 5, 14, 1300), (5, 5, 8, -80)),
        np.zeros((1, 1, 1), np.int16),
    ],
    ids=["air", "nothing", "water", "spine and its canal", "leg", "one voxel"],
)
def test_what_is_no_head(voxels):
    assert enclosure.no_head(voxels, SPACING) > 0.5


def test_a_wall_counts_whatever_its_size_in_pixels():
    voxels = cylinder(90, 30, (0, 0, 75, 1000), (0, 0, 68, 30))
    scores = [
        enclosure.no_head(voxels[:, ::by, ::by], (SPACING[0], SPACING[1] * by, SPACING[2] * by)) for by in (1, 2, 3)
    ]
    assert max(scores) < 0.02
    assert scores == pytest.approx([scores[0]] * 3, abs=0.005)


def test_certainty_falls_as_the_area_grows():
    scores = [enclosure.certainty(area) for area in (0, 5, 20, 30, 60, 150)]
    assert scores == sorted(scores, reverse=True)
    assert (scores[0], scores[3]) == (1.0, 0.5)
