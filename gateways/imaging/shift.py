"""Midline shift: how far the septum pellucidum stands beside the midsagittal plane of the skull.

Measured between the frontal horns, as it is by hand, and only where both horns are seen: a line across the brain then
meets fluid, the septum, and fluid again. Enough such lines, on several levels, must agree. Where a horn is pressed flat
or full of blood there is no figure, and no figure says nothing of the shift.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gateways.imaging.head import Float
from gateways.imaging.midline import Midsagittal
from gateways.imaging.volume import Volume

FLUID_HU: Final = (-5.0, 20.0)
"""Of the horns, smoothed: below white matter with oedema, above fat."""
HORN_MM: Final = (3.0, 20.0)
"""Width of a horn on a line across: less is a sulcus or a flattened horn, more is no horn."""
SEPTUM_MM: Final = 12.0
"""Of the two inner walls of the horns: septum, columns of the fornix, and knee of the corpus callosum."""
LEAST_LINES: Final = 16
LEAST_LEVELS: Final = 3
SPREAD_MM: Final = 1.5
"""Half of the lines must be as near to their median."""
_REACH_MM: Final = 30.0
_STEP_MM: Final = 0.5
_FRONT_MM: Final = (-45.0, -5.0)
"""Where frontal horns are, before (-) the middle of the brain."""
_LEVELS_MM: Final = (-30.0, 30.0)
_LEVEL_MM: Final = 2.5


def midline_shift_mm(volume: Volume, middle: Midsagittal) -> float | None:
    """Displacement of the septum to the left (negative: to the right), or None where it cannot be measured."""
    slab = _slab(volume, middle)
    fluid = (slab > FLUID_HU[0]) & (slab < FLUID_HU[1])
    found = [(level, place) for level, lines in enumerate(fluid) for line in lines for place in _septa(line)]
    if not found:
        return None
    levels, places = np.array(found).T
    shift = float(np.median(places))
    near = np.abs(places - shift) <= SPREAD_MM
    if near.sum() < max(LEAST_LINES, 0.5 * len(places)) or len(np.unique(levels[near])) < LEAST_LEVELS:
        return None
    return round(float(np.mean(places[near])), 1)


def _slab(volume: Volume, middle: Midsagittal) -> Float:
    """The middle of the brain in front, smoothed: [level, line from front to back, place from right to left]."""
    back = np.cross([0.0, 0.0, 1.0], middle.left)
    back /= np.linalg.norm(back)
    up = np.cross(middle.left, back)
    to_index = np.linalg.inv(volume.affine)[:3]
    axes = (
        (up, np.arange(*_LEVELS_MM, _LEVEL_MM)),
        (back, np.arange(*_FRONT_MM, 1.0)),
        (middle.left, np.arange(-_REACH_MM, _REACH_MM + _STEP_MM, _STEP_MM)),
    )
    points = sum(
        (
            np.multiply.outer(to_index[:, :3] @ way, steps).reshape([3, *(-1 if n == axis else 1 for n in range(3))])
            for axis, (way, steps) in enumerate(axes)
        ),
        start=(to_index @ [*middle.point, 1.0]).reshape(3, 1, 1, 1),
    )
    slab = ndimage.map_coordinates(volume.voxels, points[::-1], order=1, output=np.float32, cval=-1024)
    smooth: Float = ndimage.gaussian_filter(slab, (0.4, 1.5, 1.5))
    return smooth


def _septa(line: NDArray[np.bool_]) -> list[float]:
    """Middles (mm to the left) of what lies between two neighbouring horns on a line across."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]])))
    starts, ends = edges[::2] * _STEP_MM - _REACH_MM, edges[1::2] * _STEP_MM - _REACH_MM
    horn = (ends - starts >= HORN_MM[0]) & (ends - starts <= HORN_MM[1])
    return [
        float(ends[n] + starts[n + 1]) / 2 - _STEP_MM / 2
        for n in range(len(starts) - 1)
        if horn[n] and horn[n + 1] and starts[n + 1] - ends[n] <= SEPTUM_MM
    ]
