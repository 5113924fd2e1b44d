"""From a scanner's volume to the grid that the network was trained on, and back. numpy and scipy only.

The grid has 1 mm voxels [z, y, x] with x to the patient's left, y to the back and z to the head, its first voxel where
the volume has its own. Nothing finer than the part around the brain is ever held in memory: where that is, is found on
every third voxel.

The published preparation takes a stack of slices as upright even where the gantry was tilted, and the network was
trained on such stacks. So a slant up to ``UPRIGHT_DEG`` is left; a larger one is undone, slice by slice, on the way.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Voxels = NDArray[np.int16]
Image = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

WINDOW_HU: Final = (-15.0, 100.0)
UPRIGHT_DEG: Final = 15.0
"""Slices slanted by less than this against their stack are read as if they stood upright."""
COARSE: Final = 3
"""The brain is looked for on every third voxel."""
TISSUE_HU: Final = (0.0, 100.0)
BONE_HU: Final = 200.0
DENSE_HU: Final = 150.0
"""The network is not asked about what is denser: bone, metal."""
BRAIN_MIN_ML: Final = 60.0
"""A head has at least this much soft tissue, 6 mm below its surface and enclosed by bone, in one piece."""
HEAD_MAX_ML: Final = 8000.0
"""More soft tissue in one piece is not a head."""
ENCLOSED: Final = 0.4
"""At least this share of the piece is enclosed by bone in its slice; the rest may be face and neck."""
SURROUNDINGS: Final = 60
"""Voxels around the brain that are resampled too, since the network looks 40 voxels far."""
ALIGNED: Final = 30
"""The resampled part begins at a multiple of this, so that the network sees the same samples wherever it begins."""


@dataclass(frozen=True)
class Grid:
    """How a volume, turned so that its axes go left, back and up, lies on the network's grid."""

    order: tuple[int, int, int]
    """Axis of the volume that becomes z, y, x."""
    flipped: tuple[bool, bool, bool]
    """Whether it is turned round, z, y, x."""
    shape: tuple[int, int, int]
    """Of the turned volume [z, y, x]."""
    spacing_mm: tuple[float, float, float]
    """Of the turned volume [z, y, x]; z from slice to slice, along the normal where a slant is undone."""
    slant_mm: tuple[float, float]
    """What each slice lies farther along y and x than the one below; 0 where the volume is taken as upright."""

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels of 1 mm [z, y, x] that hold all of the volume."""
        slants = (0.0, *self.slant_mm)
        z, y, x = (
            round((count - 1) * step + abs(slant) * (self.shape[0] - 1) + 1)
            for count, step, slant in zip(self.shape, self.spacing_mm, slants, strict=True)
        )
        return z, y, x

    def turned(self, volume: NDArray[np.generic]) -> NDArray[np.generic]:
        """A view of the volume with its axes left, back and up."""
        turns = tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)
        return volume.transpose(self.order)[turns]

    def offset_mm(self, axis: int, number: int) -> float:
        """Where slice ``number`` begins along y (1) or x (2) of the grid."""
        slant = self.slant_mm[axis - 1]
        return slant * number + max(0.0, -slant) * (self.shape[0] - 1)


def grid_of(shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Grid:
    """The grid for a volume [z, y, x] whose voxel (x, y, z, 1) lies at ``affine`` of it (LPS, mm).

    Raises ValueError where the affine puts all voxels on a plane or is not finite.
    """
    axes = affine[:3, 2::-1].T
    lengths = np.linalg.norm(axes, axis=1) if np.isfinite(affine).all() else np.zeros(3)
    if lengths.min() <= 0 or abs(np.linalg.det(axes / lengths[:, None])) < 1e-3:
        raise ValueError("AFFINE does not place the voxels in space")
    # Rows: the volume's z, y, x; columns: the patient's up, back, left.
    along = (axes / lengths[:, None])[:, ::-1]
    order = max(permutations(range(3)), key=lambda order: sum(abs(along[order[to], to]) for to in range(3)))
    flipped = tuple(bool(along[order[to], to] < 0) for to in range(3))
    assert len(flipped) == 3
    up, back, left = (axes[axis] * (-1 if flip else 1) for axis, flip in zip(order, flipped, strict=True))
    across = left / np.linalg.norm(left)
    down = back - (back @ across) * across
    down /= np.linalg.norm(down)
    slants = (float(up @ down), float(up @ across))
    height = float(np.sqrt(max(up @ up - slants[0] ** 2 - slants[1] ** 2, 0.0)))
    z, y, x = (float(lengths[axis]) for axis in order)
    if np.degrees(np.arctan2(np.hypot(*slants), height)) < UPRIGHT_DEG:
        height, slants = z, (0.0, 0.0)
    turned = (shape[order[0]], shape[order[1]], shape[order[2]])
    return Grid(order, flipped, turned, (height, y, x), slants)


@dataclass(frozen=True)
class Brain:
    """The part of the grid that the network is shown."""

    grid: Grid
    start: tuple[int, int, int]
    """Where the part begins on the grid."""
    image: Image
    """[z, y, x], 1 mm, -15..100 HU as -1..1."""
    mask: Mask
    """Where the network is asked."""


def find_brain(volume: Voxels, grid: Grid) -> Brain | None:
    """The brain of a volume in Hounsfield units; None where the volume holds no head."""
    rough = _brain_mask(sampled(volume, grid, [np.arange(COARSE // 2, side, COARSE) for side in grid.size]))
    if rough is None:
        return None
    start, stop = [], []
    for axis, side in enumerate(grid.size):
        places = np.nonzero(rough.any(tuple(other for other in range(3) if other != axis)))[0] * COARSE
        start.append(max(0, (int(places[0]) - SURROUNDINGS) // ALIGNED * ALIGNED))
        stop.append(min(side, int(places[-1]) + COARSE + SURROUNDINGS))
    hu = sampled(volume, grid, [np.arange(begin, end) for begin, end in zip(start, stop, strict=True)])
    mask = hu < DENSE_HU
    for axis, (begin, end) in enumerate(zip(start, stop, strict=True)):
        places = (np.arange(begin, end) // COARSE).clip(0, rough.shape[axis] - 1)
        rough = rough.take(places, axis)
    mask &= rough
    return Brain(grid, (start[0], start[1], start[2]), windowed(hu), mask)


def windowed(hu: Image) -> Image:
    """-15..100 HU as -1..1, in place."""
    low, high = WINDOW_HU
    np.clip(hu, low, high, out=hu)
    hu *= 2
    hu -= low + high
    hu /= high - low
    return hu


def sampled(volume: Voxels, grid: Grid, places: list[NDArray[np.int64]]) -> Image:
    """Hounsfield units at some planes, rows and columns of the grid, linear between voxels, never rounded.

    What lies outside the volume gets its least value.
    """
    turned = grid.turned(volume)
    least = np.float32(volume.min())
    below, share, outside = _between(places[0] / grid.spacing_mm[0], grid.shape[0])
    result = np.empty(tuple(len(along) for along in places), np.float32)
    ready: dict[int, Image] = {}
    for out, number, part, beyond in zip(result, below, share, outside, strict=True):
        if beyond:
            out[:] = least
            continue
        wanted = (int(number), min(int(number) + 1, grid.shape[0] - 1))
        ready = {at: ready[at] if at in ready else _slice(turned[at], grid, at, places, least) for at in wanted}
        out[:] = ready[wanted[0]] * (1 - part) + ready[wanted[1]] * part
    return result


def onto_volume(answers: NDArray[np.uint8], brain: Brain, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Bring a map of the part [z, y, x] back to the volume's own voxels, each from the nearest; 0 elsewhere."""
    grid = brain.grid
    result = np.zeros(shape, np.uint8)
    turned = grid.turned(result)
    planes, inside = _nearest(np.arange(grid.shape[0]) * grid.spacing_mm[0] - brain.start[0], answers.shape[0])
    for number in np.nonzero(inside)[0]:
        rows, row_inside = _row_of(grid, 1, int(number), brain, answers.shape)
        columns, column_inside = _row_of(grid, 2, int(number), brain, answers.shape)
        plane = answers[planes[number]].take(rows, 0).take(columns, 1)
        plane[~row_inside] = 0
        plane[:, ~column_inside] = 0
        turned[number] = plane
    return result


def _row_of(grid: Grid, axis: int, number: int, brain: Brain, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], Mask]:
    places = np.arange(grid.shape[axis]) * grid.spacing_mm[axis] + grid.offset_mm(axis, number)
    return _nearest(places - brain.start[axis], shape[axis])


def _nearest(places: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], Mask]:
    numbers = np.floor(places + 0.5).astype(np.int64)
    return numbers.clip(0, count - 1), (numbers >= 0) & (numbers < count)


def _slice(
    plane: NDArray[np.generic], grid: Grid, number: int, places: list[NDArray[np.int64]], least: np.float32
) -> Image:
    """One slice at some rows and columns of the grid, [y, x]."""
    values: Image = plane.astype(np.float32)
    for axis in (2, 1):
        at = (places[axis] - grid.offset_mm(axis, number)) / grid.spacing_mm[axis]
        below, share, outside = _between(at, grid.shape[axis])
        above = np.minimum(below + 1, grid.shape[axis] - 1)
        if axis == 2:
            values = values.take(below, 1) * (1 - share) + values.take(above, 1) * share
            values[:, outside] = least
        else:
            values = values.take(below, 0) * (1 - share)[:, None] + values.take(above, 0) * share[:, None]
            values[outside] = least
    return values


def _between(at: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], Image, Mask]:
    """For places in voxels: the voxel below, how far to the next, and whether it is outside all voxels."""
    outside = (at > count - 0.5) | (at < -0.5)
    inside = at.clip(0, count - 1)
    below = np.minimum(inside.astype(np.int64), max(count - 2, 0))
    return below, (inside - below).astype(np.float32), outside


def _brain_mask(hu: Image) -> Mask | None:
    """The brain and what hangs together with it, widely, on every third voxel; None where there is no head."""
    soft = (hu > TISSUE_HU[0]) & (hu < TISSUE_HU[1])
    pieces, count = ndimage.label(ndimage.binary_erosion(soft, _ball(2)))
    if count == 0:
        return None
    voxel_ml = COARSE**3 / 1000
    inside = _enclosed(hu)
    sizes = np.bincount(pieces[inside], minlength=count + 1)
    sizes[0] = 0
    core = pieces == sizes.argmax()
    whole = int(core.sum())
    if sizes.max() * voxel_ml < BRAIN_MIN_ML or sizes.max() < ENCLOSED * whole or whole * voxel_ml > HEAD_MAX_ML:
        return None
    mask: Mask = ndimage.binary_dilation(core, _ball(3))
    for plane in mask:
        plane[:] = ndimage.binary_fill_holes(plane)
    return mask


def _enclosed(hu: Image) -> Mask:
    """What bone encloses in its slice, gaps up to 12 mm closed. Tissue on the edge of the field of view closes too."""
    inside = np.zeros(hu.shape, np.bool_)
    for plane, out in zip(hu, inside, strict=True):
        bone = plane > BONE_HU
        if not bone.any():
            continue
        edge = np.ones_like(bone)
        edge[1:-1, 1:-1] = False
        out[:] = ndimage.binary_fill_holes(
            ndimage.binary_dilation(bone | (edge & (plane > TISSUE_HU[0])), iterations=2)
        )
    return inside


def _ball(radius: int) -> Mask:
    z, y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1, -radius : radius + 1]
    ball: Mask = z * z + y * y + x * x <= radius * radius
    return ball
