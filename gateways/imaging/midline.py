"""The midsagittal plane of a head: where the skull is its own mirror image.

The skull is reflected at a trial plane and compared with itself, and the plane of the best likeness is taken: symmetry
as in Ardekani et al. (IEEE Trans. Med. Imaging 1997;16:947) and Liu et al. (IEEE Trans. Med. Imaging 2001;20:175), of
bone alone, since a bleed moves the brain and not the skull. A plane that the upper and the lower half of the skull do
not agree on is none.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from gateways.imaging.head import Float, Head
from schemas.base import Millimetres
from schemas.events import Side

Vector = NDArray[np.float64]

MIDLINE_MM: Final = 5.0
"""A lesion whose centroid is nearer to the plane lies on it: the plane is not surer than some millimetres."""
LEAST_LIKENESS: Final = 0.9
"""A skull that is all there is 0.97 to 1 like its mirror image; half of one, or one that is cut, 0.9 and less."""
AGREE_MM: Final = 3.0
"""How far the planes of the halves of the skull may be apart within the brain."""
_BRAIN_MM: Final = 50.0
"""Half the length over which they are compared."""
_BASE_MM: Final = 30.0
"""So much of the skull base below the closed skull is looked at too: the vault alone is round, and turns unnoticed."""
_BLUR_MM: Final = 3.0
_POINTS: Final = 6000
_YAWS_DEG: Final = range(-40, 41, 5)
_ROLLS_DEG: Final = range(-20, 21, 10)
_OFFSETS_MM: Final = (-8.0, 0.0, 8.0)


class Midsagittal(NamedTuple):
    """A plane in patient coordinates (LPS, mm)."""

    point: Vector
    """In the plane, in the middle of the brain."""
    left: Vector
    """Unit normal, to the patient's left."""

    def left_mm(self, position: Millimetres | Vector) -> float:
        """Distance of a position from the plane, positive on the patient's left."""
        return float((np.asarray(position) - self.point) @ self.left)

    def side(self, position: Millimetres) -> Side:
        """On which side a lesion with this centroid lies."""
        distance = self.left_mm(position)
        if abs(distance) <= MIDLINE_MM:
            return Side.MIDLINE
        return Side.LEFT if distance > 0 else Side.RIGHT


def midsagittal(head: Head) -> Midsagittal | None:
    """The plane, or None where there is no skull, or it is too incomplete or too uneven to have one."""
    levels = np.flatnonzero(head.cavity.any(axis=(1, 2)))
    if not levels.size:
        return None
    lowest = max(levels[0] - round(_BASE_MM / head.spacing_mm[0]), 0)
    middle = head.millimetres(np.argwhere(head.cavity)).mean(axis=0)
    skull = np.argwhere(head.bone[lowest : levels[-1] + 1])
    skull[:, 0] += lowest
    skull = skull[:: max(len(skull) // _POINTS, 1)]
    # On the voxels' own grid, a plane that maps it onto itself would win: it alone needs no interpolation.
    scattered = skull + np.random.default_rng(0).uniform(-0.5, 0.5, skull.shape)
    positions, heights = head.millimetres(scattered), skull[:, 0]
    density = _density(head)
    likeness = _likeness(density, head, positions, middle)
    coarse = _likeness(density, head, positions[::3], middle)
    trials = [np.array([y, r, o]) for y in _YAWS_DEG for r in _ROLLS_DEG for o in _OFFSETS_MM]
    best = _climb(likeness, max(trials, key=coarse))
    if likeness(best) < LEAST_LIKENESS:
        return None
    whole = _plane(best, middle)
    for half in (heights < np.median(heights), heights >= np.median(heights)):
        if not half.any():
            return None
        own = _plane(_climb(_likeness(density, head, positions[half], middle), best), middle)
        if _apart_mm(whole, own, positions[half].mean(axis=0)) > AGREE_MM:
            return None
    return whole


def _density(head: Head) -> Float:
    """0 for soft tissue to 1 for dense bone, blurred so that a trial plane beside the true one still matches."""
    bone = np.clip((head.hu - 100) / 900, 0, 1)
    blurred: Float = ndimage.gaussian_filter(bone, [_BLUR_MM / step for step in head.spacing_mm], truncate=3)
    return blurred


def _likeness(density: Float, head: Head, positions: Vector, middle: Vector) -> Callable[[Vector], float]:
    """How much bone there is where the mirror image has bone: a function of yaw, roll (degrees) and offset (mm)."""
    to_index = np.linalg.inv(head.affine)

    def sampled(points: Vector) -> Float:
        indices = points @ to_index[:3, :3].T + to_index[:3, 3]
        values: Float = ndimage.map_coordinates(density, indices.T[::-1], order=1, output=np.float32)
        return values

    itself = float(sampled(positions).mean())

    def likeness(at: Vector) -> float:
        plane = _plane(at, middle)
        mirrored = positions - 2 * np.outer((positions - plane.point) @ plane.left, plane.left)
        return float(sampled(mirrored).mean()) / itself

    return likeness


def _plane(at: Vector, middle: Vector) -> Midsagittal:
    yaw, roll = np.radians(at[:2])
    left = np.array([np.cos(yaw) * np.cos(roll), np.sin(yaw) * np.cos(roll), np.sin(roll)])
    return Midsagittal(middle + at[2] * left, left)


def _climb(likeness: Callable[[Vector], float], start: Vector) -> Vector:
    simplex = start + np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4]])
    found = optimize.minimize(
        lambda at: -likeness(at),
        start,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 0.05, "fatol": 1e-5, "maxfev": 150},
    )
    best: Vector = found.x
    return best


def _apart_mm(one: Midsagittal, other: Midsagittal, at: Vector) -> float:
    """Greatest distance between two planes in front of, behind and in the middle of a place."""
    back = np.cross(np.array([0.0, 0.0, 1.0]), one.left)
    return max(
        abs(one.left_mm(at + step * back) - other.left_mm(at + step * back)) for step in (-_BRAIN_MM, 0.0, _BRAIN_MM)
    )
