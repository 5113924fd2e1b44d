"""A volume that is no head is refused, and what spoils a head is said."""

import os
from pathlib import Path

import numpy as np
import pytest

from gateways.imaging.head import find_head
from gateways.imaging.midline import midsagittal
from gateways.imaging.quality import Quality, head_ct_quality
from gateways.imaging.shift import midline_shift_mm
from gateways.imaging.volume import SliceName, Volume, load_volume
from schemas.events import Side
from tests.unit.gateways.imaging.ct import MemoryObjects, manifest
from tests.unit.gateways.imaging.heads import SIZE, mirrored, part, phantom, torso, with_voxels

CHECKOUT = Path(__file__).parents[4]
REAL = Path(os.environ.get("SINSOK_SHARED", CHECKOUT.parent / "shared")) / "cases" / "rsna2019_ich_ID_fff502d5"


def judged(volume: Volume) -> Quality:
    return head_ct_quality(volume, find_head(volume))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_head_passes_without_a_word(seed):
    assert judged(phantom(seed)[0]) == (None, ())


def test_a_head_passes_whatever_way_it_was_stored():
    volume, _ = phantom()
    affine = volume.affine[:, [2, 0, 1, 3]]
    coronal = Volume(
        np.ascontiguousarray(volume.voxels.transpose(1, 2, 0)),
        affine,
        (0.976, 0.976, 5.0),
        tuple(SliceName(f"2.25.{number}", None) for number in range(SIZE)),
    )
    assert judged(coronal) == (None, ())
    assert judged(mirrored(volume)) == (None, ())


@pytest.mark.skipif(not REAL.exists(), reason=f"the real case is not at {REAL}")
def test_the_real_case_passes_without_a_word_and_is_cautioned_when_cut():
    objects = MemoryObjects()
    real = load_volume(manifest([path.read_bytes() for path in REAL.glob("*.dcm")], objects), objects)
    assert judged(real) == (None, ())
    assert "bottom" in judged(part(real, z=slice(16, None))).cautions[0]
    assert "edge" in judged(part(real, x=slice(0, 300))).cautions[0]
    assert "not plausible" in judged(with_voxels(real, real.voxels.astype(int) + 200)).refusal


@pytest.mark.skipif(not REAL.exists(), reason=f"the real case is not at {REAL}")
def test_the_real_bleed_is_on_the_right_and_on_the_left_of_the_mirrored_head():
    objects = MemoryObjects()
    real = load_volume(manifest([path.read_bytes() for path in REAL.glob("*.dcm")], objects), objects)
    blood = np.load(REAL.with_name(f"{REAL.name}_blast_ct_model1_f32.npz"))["labels"] == 1
    for volume, side in ((real, Side.RIGHT), (mirrored(real), Side.LEFT)):
        centroid = volume.affine @ [*np.argwhere(blood).mean(axis=0)[::-1], 1]
        middle = midsagittal(find_head(volume))
        assert middle.side(centroid[:3]) is side
        assert midline_shift_mm(volume, middle) is None, "the right horn is full of blood"


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param(torso, id="a chest"),
        pytest.param(lambda: part(phantom()[0], z=slice(0, 4)), id="a neck"),
        pytest.param(lambda: with_voxels(torso(), np.full_like(torso().voxels, -1000)), id="nothing but air"),
        pytest.param(lambda: part(torso(), y=slice(90, 170), x=slice(90, 170)), id="a heart"),
    ],
)
def test_no_head(volume):
    assert judged(volume()).refusal == "no head in the field of view: no skull that encloses a brain"


@pytest.mark.parametrize(
    ("bend", "says"),
    [
        (lambda hu: hu + 200, "air reads -795"),
        (lambda hu: hu + 1024, "nothing in the field of view reads as air"),
        (lambda hu: (hu + 1000) * 1.15 - 1000, "the inside of the skull reads"),
    ],
)
def test_units_that_are_not_hounsfield_units(bend, says):
    volume, _ = phantom()
    refusal = judged(with_voxels(volume, bend(volume.voxels.astype(float)))).refusal
    assert refusal.startswith("Hounsfield units are not plausible")
    assert says in refusal


def test_a_brain_somewhat_too_bright_is_read_with_a_caution():
    volume, _ = phantom()
    quality = judged(with_voxels(volume, volume.voxels.astype(int) + 25))
    assert quality.refusal is None
    assert quality.cautions == ("the brain reads 55 HU at its median, usual is 20 to 45",)


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        ({"z": slice(0, 22)}, "cut off at the top: some"),
        ({"z": slice(16, None)}, "cut off at the bottom: only"),
        ({"z": slice(12, None)}, "the posterior fossa may be cut off"),
        ({"x": slice(0, 180)}, "cut off at the edge of the field of view"),
    ],
)
def test_what_was_not_scanned_is_said(kept, says):
    quality = judged(part(phantom()[0], **kept))
    assert quality.refusal is None
    assert [caution for caution in quality.cautions if says in caution]


def test_how_much_of_the_top_is_missing_is_about_right():
    volume, _ = phantom(0)
    sections = find_head(volume).cavity.any(axis=(1, 2)).nonzero()[0]
    for planes in (3, 5):
        (caution,) = judged(part(volume, z=slice(0, sections[-1] + 1 - planes))).cautions
        said = int(caution.split("some ")[1].split(" mm")[0])
        assert said == pytest.approx(planes * 5, abs=10)


def test_contrast():
    volume, _ = phantom()
    hu = volume.voxels.copy()
    _, y, x = np.indices(hu.shape)
    vessels = (np.hypot(y - 128, x - 110) < 4) | (np.hypot(y - 128, x - 146) < 4)
    hu[vessels & (hu > 0) & (hu < 60)] = 180
    (caution,) = judged(with_voxels(volume, hu)).cautions
    assert caution.startswith("contrast: vessels may look like blood")


@pytest.mark.parametrize(("metal", "says"), [(True, "metal: its streaks"), (False, "streaks or noise")])
def test_streaks(metal, says):
    volume, _ = phantom()
    hu = volume.voxels.astype(float)
    _, y, x = np.indices(hu.shape)
    rays = 300 * np.cos(12 * np.arctan2(y - 115, x - 150)) * np.exp(-np.hypot(y - 115, x - 150) / 40)
    hu[18:22] += rays[18:22]
    if metal:
        hu[18:22, 113:117, 148:152] = 3071
    (caution,) = judged(with_voxels(volume, hu)).cautions
    assert caution.startswith(says)


def test_bright_metal_without_streaks_is_not_spoken_of():
    volume, _ = phantom()
    hu = volume.voxels.copy()
    hu[2:6, 60:66, 120:130] = 3071
    assert judged(with_voxels(volume, hu)) == (None, ())


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 16, 16), (3, 512, 4)])
def test_the_smallest_volumes_are_no_heads(shape):
    names = tuple(SliceName(f"2.25.{z + 1}", None) for z in range(shape[0]))
    tiny = Volume(np.full(shape, 40, np.int16), np.diag([0.1, 0.1, 0.1, 1.0]), (0.1, 0.1, 0.1), names)
    assert "no head" in judged(tiny).refusal
    assert midsagittal(find_head(tiny)) is None
