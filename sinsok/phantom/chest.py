"""A chest: body wall, ribs, spine, lungs with vessels, heart and aorta. Only good enough to be told from a head."""

from typing import Final

import numpy as np

from sinsok.phantom.shapes import Ellipsoid, Labels, Part, paint
from sinsok.phantom.space import Grid, Plane, Pose
from sinsok.phantom.tissue import Tissue

SCAN_MIDDLE_MM: Final = (0.0, 0.0, 0.0)

_LUNG: Final = Ellipsoid((68, 0, 0), (58, 82, 150), paired=True)
_INNER: Final = (
    Part(Tissue.HEART, Ellipsoid((22, -32, -50), (52, 44, 55), turn_deg=35)),
    Part(Tissue.VESSEL, Ellipsoid((20, 38, -60), (12, 12, 200))),
    Part(Tissue.VESSEL, Ellipsoid((-12, -22, 50), (13, 13, 45))),
    Part(Tissue.VESSEL, Ellipsoid((0, -8, 20), (40, 12, 14))),
    Part(Tissue.GAS, Ellipsoid((0, 8, 75), (8, 8, 60))),
    Part(Tissue.DIPLOE, Ellipsoid((0, 62, 0), (18, 16, 400))),
    Part(Tissue.CSF, Ellipsoid((0, 84, 0), (8, 7, 400))),
    Part(Tissue.DIPLOE, Ellipsoid((0, -98, 30), (18, 6, 90))),
)
_RIB_STEP_MM: Final = 28.0


def labels(grid: Grid, rng: np.random.Generator) -> Labels:
    """The tissue of every voxel of a chest, [z, y, x]."""
    pose = Pose.random(rng)
    vessels = _vessels(rng)
    layers = np.zeros(grid.shape, dtype=np.uint8)
    for index, layer in enumerate(layers):
        plane = pose.plane(grid, index)
        _wall(layer, plane)
        lungs = [side.distance_mm(plane) for side in _LUNG.sides()]
        layer[np.minimum(*lungs) < 0] = Tissue.LUNG
        paint((*vessels, *_INNER), layer, plane, pose, grid, index)
    return layers


def _wall(layer: Labels, plane: Plane) -> None:
    out = Ellipsoid((0, 0, 0), (172, 124, 2000)).distance_mm(plane)
    layer[out < 0] = Tissue.SKIN
    layer[out < -2] = Tissue.FAT
    layer[out < -16] = Tissue.MUSCLE
    slope = plane.z + 0.45 * plane.y
    rib = (np.abs(slope % _RIB_STEP_MM - _RIB_STEP_MM / 2) < 6) & (out < -22) & (out > -31) & (np.abs(plane.x) > 24)
    layer[rib] = Tissue.DIPLOE
    layer[(np.abs(plane.y - 150) < 3) & (np.abs(plane.x) < 190)] = Tissue.PLASTIC


def _vessels(rng: np.random.Generator, count: int = 140) -> tuple[Part, ...]:
    places = rng.uniform((-112, -66, -120), (112, 66, 120), size=(count, 3))
    radii = np.sort(rng.uniform((1.5, 1.5, 6), (3.5, 3.5, 26), size=(count, 3)))
    turns = rng.uniform(-90, 90, size=count)
    over = frozenset({Tissue.LUNG})
    return tuple(
        Part(Tissue.VESSEL, Ellipsoid((x, y, z), (c, a, b), float(turn)), over)
        for (x, y, z), (a, b, c), turn in zip(places.tolist(), radii.tolist(), turns, strict=True)
    )
