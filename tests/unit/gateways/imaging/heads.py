"""Phantom heads as volumes, small and quick, to be turned, cut and spoilt in one way at a time."""

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gateways.imaging.midline import Midsagittal
from gateways.imaging.volume import SliceName, Volume
from sinsok.phantom import chest, head, render, tissue
from sinsok.phantom.shapes import Labels
from sinsok.phantom.space import Grid, Pose

SPACING = (5.0, 0.976, 0.976)
SIZE = 256
SLICES = 36
LAYERS = 2


@cache
def phantom(seed: int = 1, turned_deg: float = 0.0) -> tuple[Volume, Pose]:
    """A head without a lesion, turned about its long axis, and how it lies."""
    rng = np.random.default_rng(seed)
    someone = head.Head.random(rng)
    angle = np.radians(turned_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    someone = replace(someone, pose=replace(someone.pose, rotation=someone.pose.rotation @ turn))
    grid = Grid.centred(SLICES, SPACING[0], size=SIZE, pixel_mm=SPACING[1], middle_mm=head.SCAN_MIDDLE_MM)
    return _volume(someone.labels(grid.thinner(LAYERS)), grid, rng), someone.pose


@cache
def torso() -> Volume:
    """A chest."""
    rng = np.random.default_rng(1)
    grid = Grid.centred(SLICES, SPACING[0], size=SIZE, pixel_mm=1.56, middle_mm=chest.SCAN_MIDDLE_MM)
    return _volume(chest.labels(grid.thinner(LAYERS), rng), grid, rng)


def _volume(labels: Labels, grid: Grid, rng: np.random.Generator) -> Volume:
    image = render.image(labels, tissue.hounsfield(66.0), LAYERS)
    render.add_noise(image, rng, 4.0)
    affine = np.diag([*grid.spacing_mm[::-1], 1.0])
    affine[:3, 3] = grid.origin_mm
    names = tuple(SliceName(f"2.25.{z + 1}", None) for z in range(grid.shape[0]))
    return Volume(np.clip(image, -1024, 3071).round().astype(np.int16), affine, grid.spacing_mm, names)


def part(volume: Volume, z: slice = slice(None), y: slice = slice(None), x: slice = slice(None)) -> Volume:
    """What is left of a volume when the rest was not scanned."""
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [one.start or 0 for one in (x, y, z)]
    return replace(volume, voxels=volume.voxels[z, y, x], affine=affine, slices=volume.slices[z])


def mirrored(volume: Volume) -> Volume:
    """The mirror image, left for right, in patient coordinates: x becomes -x."""
    affine = volume.affine.copy()
    affine[0] *= -1
    return replace(volume, affine=affine)


def with_voxels(volume: Volume, voxels: NDArray[np.generic]) -> Volume:
    """Other Hounsfield units in the same place."""
    return replace(volume, voxels=np.clip(voxels, -1024, 3071).round().astype(np.int16))


def pushed(volume: Volume, middle: Midsagittal, by_mm: float) -> Volume:
    """The middle of the brain pushed to the left by as much; the skull stays where it is."""
    z, y, x = np.indices(volume.voxels.shape, dtype=np.float32)
    positions = np.stack([x, y, z], -1) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    reach = np.clip((58 - np.linalg.norm(positions - middle.point, axis=-1)) / 33, 0, 1)
    to_index = np.linalg.inv(volume.affine)
    came_from = (positions - by_mm * reach[..., None] * middle.left) @ to_index[:3, :3].T + to_index[:3, 3]
    return with_voxels(volume, ndimage.map_coordinates(volume.voxels, np.moveaxis(came_from, -1, 0)[::-1], order=1))
