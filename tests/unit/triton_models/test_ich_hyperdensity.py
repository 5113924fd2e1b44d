"""The rules find what is dense inside a skull and nothing else."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[3] / "triton_models" / "ich_hyperdensity" / "1" / "hyperdensity.py"
_spec = spec_from_file_location("hyperdensity", PATH)
assert _spec is not None
assert _spec.loader is not None
hyperdensity = module_from_spec(_spec)
sys.modules["hyperdensity"] = hyperdensity
_spec.loader.exec_module(hyperdensity)

SPACING = (5.0, 1.5, 1.5)
SHAPE = (28, 128, 128)


def ball(radius_mm, centre_mm=(0, 0, 0), spacing=SPACING, shape=SHAPE):
    grid = np.ogrid[tuple(slice(0, size) for size in shape)]
    return (
        sum(
            ((axis - size / 2) * step - at) ** 2
            for axis, size, step, at in zip(grid, shape, spacing, centre_mm, strict=True)
        )
        < radius_mm**2
    )


def head(spacing=SPACING, shape=SHAPE):
    voxels = np.full(shape, -1000, np.int16)
    voxels[ball(80, spacing=spacing, shape=shape)] = 40
    voxels[ball(75, spacing=spacing, shape=shape)] = 1100
    voxels[ball(68, spacing=spacing, shape=shape)] = 30
    return voxels


def test_a_head_without_blood_is_left_alone():
    labels, score = hyperdensity.find(head(), SPACING)
    assert (labels.shape, labels.dtype, labels.max(), score) == (SHAPE, np.uint8, 0, 0.0)


@pytest.mark.parametrize("centre", [(0, 0, 0), (10, 25, -20), (-15, -20, 30)])
def test_a_bleed_is_found_where_it_is(centre):
    voxels, blood = head(), ball(16, centre)
    voxels[blood] = 65
    labels, score = hyperdensity.find(voxels, SPACING)
    assert 2 * (labels.astype(bool) & blood).sum() / (labels.sum() + blood.sum()) > 0.85
    assert score > 0.9


def test_thin_slices_give_the_same_volume():
    fine, shape = (1.25, 0.75, 0.75), (112, 256, 256)
    voxels = head(fine, shape)
    voxels[ball(16, spacing=fine, shape=shape)] = 65
    labels, _ = hyperdensity.find(voxels, fine)
    assert labels.sum() * np.prod(fine) / 1000 == pytest.approx(17.2, rel=0.15)


@pytest.mark.parametrize("density", [35, 140, 600], ids=["grey matter", "calcium", "bone"])
def test_what_is_no_blood(density):
    voxels = head()
    voxels[ball(10)] = density
    assert hyperdensity.find(voxels, SPACING)[0].max() == 0


def test_a_thin_plate_is_the_falx():
    voxels = head()
    inside = ball(60)
    voxels[:, :, 64][inside[:, :, 64]] = 58
    assert hyperdensity.find(voxels, SPACING)[0].max() == 0


@pytest.mark.parametrize(
    "voxels",
    [
        np.full(SHAPE, -1000, np.int16),
        np.full(SHAPE, 60, np.int16),
        np.full(SHAPE, 1500, np.int16),
        np.zeros((1, 1, 1), np.int16),
        np.random.default_rng(3).integers(-1000, 2000, SHAPE).astype(np.int16),
    ],
    ids=["air", "soft tissue", "bone", "one voxel", "noise"],
)
def test_what_is_no_head_is_refused(voxels):
    with pytest.raises(ValueError, match="no brain is found"):
        hyperdensity.find(voxels, SPACING)


def test_certainty_grows_with_size_and_contrast():
    assert hyperdensity.certainty(0.5, 16) == pytest.approx(0.5)
    assert hyperdensity.certainty(20, 16) > hyperdensity.certainty(1, 16) > hyperdensity.certainty(0.1, 16)
    assert hyperdensity.certainty(1, 30) > hyperdensity.certainty(1, 20)
