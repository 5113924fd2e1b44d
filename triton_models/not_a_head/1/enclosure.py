"""Says how sure the rules are that a CT volume shows no head: numpy alone, no weights.

A head is the one part of the body where much soft tissue is walled in by bone. From the brain one meets the skull in
every direction of a slice before any air; from the heart one meets lung, from a thigh the open, from beside a spine the
spine on one side only; and a spinal canal is walled in but narrow. So the rules measure the area of walled-in tissue.

A wrong "no head" would keep a bleed from the model that looks for it. Every rule is therefore lenient towards a head: a
fifth of the skull may be missing, the picture may cut it off, and what cannot be judged at all counts as a head.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Voxels = NDArray[np.float32]
Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]

SLICE_MM: Final = 7.5
"""At least one slice in this many millimetres is looked at, where there are so many: a brain is much taller."""
SPOT_MM: Final = 1.0
"""Pixels are averaged up to about this size: less noise, and a skull is thicker."""
CELL_MM: Final = 3.0
"""Cells of a slice: a spinal canal is some across, a brain some forty."""

BONE_HU: Final = 150.0
"""Of the densest spot of a cell, so that an infant's thin skull still is a wall."""
AIR_HU: Final = -200.0
TISSUE_HU: Final = (-10.0, 130.0)
"""Brain, liquor and blood, also with contrast medium; no fat and no bone."""

WAYS: Final = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
"""Directions (y, x) of a slice in which a wall is looked for."""
OFF_PICTURE: Final = 0.5
"""What counts for a way on which the picture ends within tissue: there may be a wall."""
WALLED_IN: Final = 6.0
"""Ways that must end in bone. Two may not: of craniectomy, fracture, skull base or air in the head."""

NARROW_CM2: Final = 30.0
"""Walled-in area at which the rules are undecided: a spinal canal has a few, behind a breastbone are 20, a newborn's
brain has some 60 and an adult's 150."""
STEEPNESS: Final = 3.0
SLICES: Final = 3
"""So many slices must show that area; fewer may be chance."""
LEAST_TISSUE: Final = 0.05
"""Least share of soft tissue in what is no air. Below it the densities are not Hounsfield units: not to be judged."""


def no_head(volume: NDArray[np.int16], spacing_mm: Spacing) -> float:
    """How sure the rules are that this is no head: 0 to 1, over 0.5 where they would say so.

    ``volume`` is in Hounsfield units [z, y, x], ``spacing_mm`` its voxel size [z, y, x]; which way a slice lies in the
    patient does not matter. Falls as the walled-in area grows. A rule score, chosen and not calibrated.
    """
    mean, densest, cell_cm2 = _cells(volume, spacing_mm)
    solid = mean > AIR_HU
    tissue = (mean > TISSUE_HU[0]) & (mean < TISSUE_HU[1])
    if tissue.sum() < LEAST_TISSUE * solid.sum():
        return 0.0
    walled_in = tissue & (_walls(densest > BONE_HU, solid) >= WALLED_IN)
    return certainty(_area_cm2(walled_in, cell_cm2))


def certainty(area_cm2: float) -> float:
    """The score of a walled-in area: 1 at none, 0.5 at ``NARROW_CM2``, below 0.01 in an adult's head."""
    return float(1 / (1 + (area_cm2 / NARROW_CM2) ** STEEPNESS))


def _cells(volume: NDArray[np.int16], spacing: Spacing) -> tuple[Voxels, Voxels, float]:
    """Mean and greatest density of the cells of some slices, [z, y, x], and the area of a cell.

    The greatest is taken over spots of about 1 mm, so that noise of thin slices does not pass for bone.
    """
    slices = volume[:: max(1, int(SLICE_MM / spacing[0]))]
    spot = [_count(SPOT_MM, step, size) for step, size in zip(spacing[1:], slices.shape[1:], strict=True)]
    parts = _parts(slices, spot)
    fine = sum((part.astype(np.float32) for part in parts[1:]), parts[0].astype(np.float32)) / np.float32(len(parts))
    sides = (spacing[1] * spot[0], spacing[2] * spot[1])
    cell = [_count(CELL_MM, step, size) for step, size in zip(sides, fine.shape[1:], strict=True)]
    mean, densest = np.zeros_like(_parts(fine, cell)[0]), np.full_like(_parts(fine, cell)[0], -np.inf)
    for part in _parts(fine, cell):
        mean += part / (cell[0] * cell[1])
        np.maximum(densest, part, out=densest)
    return mean, densest, sides[0] * cell[0] * sides[1] * cell[1] / 100


def _count(wanted_mm: float, step_mm: float, size: int) -> int:
    """How many pixels make one of the wanted size: at least one, at most all there are."""
    return max(1, min(round(wanted_mm / step_mm), size))


def _parts(slices: NDArray[Any], block: list[int]) -> list[NDArray[Any]]:
    """The first, second ... pixel of all blocks [y, x] of the slices; a remainder at the far edges is left out."""
    high, wide = block
    rows, columns = slices.shape[1] // high * high, slices.shape[2] // wide * wide
    return [slices[:, row:rows:high, column:columns:wide] for row in range(high) for column in range(wide)]


def _walls(bone: Mask, solid: Mask) -> Voxels:
    """On how many of the ways from a cell bone comes before air."""
    total = np.zeros(bone.shape, np.float32)
    for way in WAYS:
        total += _wall(bone, solid, way)
    return total


def _wall(bone: Mask, solid: Mask, way: tuple[int, int]) -> Voxels:
    """1 where bone comes before air on this way, ``OFF_PICTURE`` where the picture ends before either, else 0.

    Row by row towards the cell: a cell that is neither bone nor air has the answer of the next one on the way.
    """
    down, right = way
    if down == 0:
        return _wall(bone.swapaxes(1, 2), solid.swapaxes(1, 2), (right, 0)).swapaxes(1, 2)
    depth, rows, columns = bone.shape
    answer = np.empty(bone.shape, np.float32)
    beyond = np.full((depth, columns + 2), OFF_PICTURE, np.float32)
    for row in reversed(range(rows)) if down > 0 else range(rows):
        ahead = beyond[:, 1 + right : 1 + right + columns]
        answer[:, row] = np.where(bone[:, row], 1, np.where(solid[:, row], ahead, 0))
        beyond[:, 1:-1] = answer[:, row]
    return answer


def _area_cm2(walled_in: Mask, cell_cm2: float) -> float:
    """The greatest area that at least ``SLICES`` slices reach, or all where there are fewer."""
    areas = np.sort(walled_in.sum(axis=(1, 2)))
    return float(areas[-min(SLICES, len(areas))]) * cell_cm2
