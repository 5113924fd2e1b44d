"""The key image is radiological whatever way the slice was stored."""

import io

import numpy as np
import pytest
from PIL import Image

from gateways.imaging.picture import MARGIN, OUTLINE, key_image
from gateways.imaging.volume import SliceName, Volume
from schemas.events import Provenance

MODEL = Provenance(model="a_model", version="1", digest=f"sha256:{'0' * 64}", device="cpu")
AXIAL = np.diag([1.0, 1.0, 5.0, 1.0])
"""Columns run to the patient's left, rows to the back."""


def picture(voxels, labels, affine) -> np.ndarray:
    names = tuple(SliceName(f"2.25.{z}", None) for z in range(len(voxels)))
    content = key_image(Volume(voxels, affine, (5.0, 1.0, 1.0), names), labels, 0, MODEL)
    return np.asarray(Image.open(io.BytesIO(content)))[MARGIN:-MARGIN]


def brightest(pixels: np.ndarray) -> tuple[bool, bool]:
    """Whether the bright patch lies in the lower and in the right half."""
    grey = (pixels.astype(int).min(axis=-1) > 200).nonzero()
    return bool(np.median(grey[0]) > pixels.shape[0] / 2), bool(np.median(grey[1]) > pixels.shape[1] / 2)


def head() -> np.ndarray:
    """Something bright at the patient's left, in front."""
    voxels = np.full((2, 64, 64), 0, np.int16)
    voxels[:, 8:24, 40:60] = 90
    return voxels


@pytest.mark.parametrize("turn", ["as stored", "left to right", "upside down", "on its side"])
def test_left_is_right_and_front_is_up(turn):
    voxels, affine = head(), AXIAL.copy()
    if turn == "left to right":
        voxels, affine[0, 0] = voxels[:, :, ::-1], -1
    elif turn == "upside down":
        voxels, affine[1, 1] = voxels[:, ::-1], -1
    elif turn == "on its side":
        voxels, affine[:3, :2] = voxels.transpose(0, 2, 1), affine[:3, 1::-1]
    pixels = picture(np.ascontiguousarray(voxels), np.zeros(voxels.shape, np.uint8), affine)
    assert brightest(pixels) == (False, True)


def test_the_lesion_is_outlined_where_it_is():
    labels = np.zeros((2, 64, 64), np.uint8)
    labels[0, 40:50, 10:20] = 1
    pixels = picture(head(), labels, AXIAL)
    rows, columns = (pixels == OUTLINE).all(axis=-1).nonzero()
    scale = pixels.shape[0] / 64
    assert rows.min() / scale == pytest.approx(40, abs=1)
    assert rows.max() / scale == pytest.approx(50, abs=1)
    assert columns.min() / scale == pytest.approx(10, abs=1)
    assert columns.max() / scale == pytest.approx(20, abs=1)


def test_no_lesion_no_outline():
    assert not (picture(head(), np.zeros((2, 64, 64), np.uint8), AXIAL) == OUTLINE).all(axis=-1).any()
