"""What may happen to a head CT on its way to a model. Each change takes a volume and gives a new one."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gateways.imaging.volume import SliceName, Volume

Change = Callable[[Volume], Volume]
Affine = NDArray[np.float64]

AIR_HU = -1024
SOFT_HU = (0, 100)
METAL_HU = 3000


def mirrored(volume: Volume) -> Volume:
    """Another patient: left is right."""
    return replace(volume, voxels=volume.voxels[:, :, ::-1].copy())


def stored_downwards(volume: Volume) -> Volume:
    """The same patient, slices in the other order, and the affine says so."""
    affine = np.array(volume.affine, np.float64)
    affine[:3, 3] += affine[:3, 2] * (len(volume.voxels) - 1)
    affine[:3, 2] *= -1
    return replace(volume, voxels=volume.voxels[::-1].copy(), affine=affine, slices=volume.slices[::-1])


def upside_down(volume: Volume) -> Volume:
    """The slices in the other order, and nothing says so."""
    return replace(volume, voxels=volume.voxels[::-1].copy())


def slices_of(step_mm: float, volume: Volume) -> Volume:
    """Other slices, half a step off the old ones, each linear between its two neighbours."""
    affine = np.array(volume.affine, np.float64)
    old = float(np.linalg.norm(affine[:3, 2]))
    affine[:3, 2] *= step_mm / old
    affine[:3, 3] += affine[:3, 2] / 2
    count = int(((len(volume.voxels) - 1) * old - step_mm / 2) // step_mm) + 1
    return _regridded(volume, affine, count)


def tilted(degrees: float, volume: Volume) -> Volume:
    """The gantry leans by so much more about the left-right axis; the table moves as before."""
    affine = np.array(volume.affine, np.float64)
    middle = np.array([(side - 1) / 2 for side in volume.voxels.shape[::-1]])
    centre = affine[:3, :3] @ middle + affine[:3, 3]
    turn = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    affine[:3, :2] = about_x @ affine[:3, :2]
    affine[:3, 3] = centre - affine[:3, :3] @ middle
    return _regridded(volume, affine, len(volume.voxels))


def cropped(side_mm: float, volume: Volume) -> Volume:
    """A field of view of this width around the middle of the slices."""
    rows, columns = (
        slice(max(0, round((side - side_mm / step) / 2)), round((side + side_mm / step) / 2))
        for side, step in zip(volume.voxels.shape[1:], volume.spacing_mm[1:], strict=True)
    )
    affine = np.array(volume.affine, np.float64)
    affine[:3, 3] += affine[:3, 0] * columns.start + affine[:3, 1] * rows.start
    return replace(volume, voxels=volume.voxels[:, rows, columns].copy(), affine=affine)


def begins_at(first: int, volume: Volume) -> Volume:
    """The lowest slices were not scanned."""
    affine = np.array(volume.affine, np.float64)
    affine[:3, 3] += affine[:3, 2] * first
    return replace(volume, voxels=volume.voxels[first:].copy(), affine=affine, slices=volume.slices[first:])


def brighter(by_hu: int, volume: Volume) -> Volume:
    """Soft tissue denser by so much, as contrast medium makes it (which spares the brain and not the vessels)."""
    soft = (volume.voxels >= SOFT_HU[0]) & (volume.voxels <= SOFT_HU[1])
    return replace(volume, voxels=volume.voxels + np.where(soft, by_hu, 0).astype(np.int16))


def streaked(strength_hu: float, volume: Volume) -> Volume:
    """A piece of metal of 8 mm on the left of the middle slices, with bright and dark rays in its planes."""
    voxels = volume.voxels.astype(np.float32)
    middle = len(voxels) // 2
    y, x = np.ogrid[: voxels.shape[1], : voxels.shape[2]]
    across = (x - voxels.shape[2] * 0.72) * volume.spacing_mm[2]
    down = (y - voxels.shape[1] * 0.5) * volume.spacing_mm[1]
    distance = np.hypot(across, down)
    rays = strength_hu * np.cos(12 * np.arctan2(down, across)) * np.exp(-distance / 60)
    for number in (middle - 1, middle, middle + 1):
        voxels[number] += rays
        voxels[number][distance < 4] = METAL_HU
    return replace(volume, voxels=np.rint(voxels.clip(AIR_HU, METAL_HU)).astype(np.int16))


def _regridded(volume: Volume, affine: Affine, count: int) -> Volume:
    """The volume on another grid with as many rows and columns, linear between voxels, air outside."""
    # Index (x, y, z) on the new grid to index on the old one; ndimage wants both as z, y, x.
    way = np.linalg.inv(np.asarray(volume.affine, np.float64)) @ affine
    voxels = ndimage.affine_transform(
        volume.voxels.astype(np.float32),
        way[2::-1, 2::-1],
        way[2::-1, 3],
        (count, *volume.voxels.shape[1:]),
        order=1,
        cval=AIR_HU,
    )
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    height = float(abs(affine[:3, 2] @ normal) / np.linalg.norm(normal))
    spacing = (height, float(np.linalg.norm(affine[:3, 1])), float(np.linalg.norm(affine[:3, 0])))
    names = tuple(SliceName(f"2.25.{number}", None) for number in range(count))
    return replace(volume, voxels=np.rint(voxels).astype(np.int16), affine=affine, spacing_mm=spacing, slices=names)


CHANGES: dict[str, Change] = {
    "as it is": lambda volume: volume,
    "mirrored": mirrored,
    "slices stored downwards": stored_downwards,
    "upside down, unsaid": upside_down,
    "slices of 1 mm": partial(slices_of, 1.0),
    "slices of 2.5 mm": partial(slices_of, 2.5),
    "slices of 5 mm, half a slice off": partial(slices_of, 5.0),
    "gantry tilted by 10 degrees more": partial(tilted, 10.0),
    "gantry tilted by 20 degrees more": partial(tilted, 20.0),
    "gantry tilted by 20 degrees less": partial(tilted, -20.0),
    "field of view of 140 mm": partial(cropped, 140.0),
    "without the lowest 12 slices": partial(begins_at, 12),
    "soft tissue 10 HU denser": partial(brighter, 10),
    "soft tissue 30 HU denser": partial(brighter, 30),
    "metal with streaks of 100 HU": partial(streaked, 100.0),
    "metal with streaks of 400 HU": partial(streaked, 400.0),
}
"""By the name under which the table shows them. Written for the real case: 36 slices of 5 mm."""
MISSING = {"every third slice missing (12)": range(1, 36, 3), "12 slices in the middle missing": range(12, 24)}
"""Numbers of the slices that do not arrive."""
