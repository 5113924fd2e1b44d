"""Bleeds: where fresh blood goes, and growing it there until its volume is the one asked for."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sinsok.phantom.head import BRAIN, Head
from sinsok.phantom.shapes import Ellipsoid, Labels
from sinsok.phantom.space import Float, Grid, Plane
from sinsok.phantom.tissue import Tissue, among


class Side(StrEnum):
    """The patient's side."""

    LEFT = "left"
    RIGHT = "right"

    @property
    def sign(self) -> int:
        """Of x in patient coordinates, which grow to the left."""
        return 1 if self is Side.LEFT else -1


class Place(StrEnum):
    """Where the blood is, or the form it takes there."""

    DEEP = "deep"
    LOBAR = "lobar"
    CEREBELLAR = "cerebellar"
    CRESCENT = "crescent"
    LENS = "lens"
    VENTRICLES = "ventricles"


INTRAPARENCHYMAL: Final = (Place.DEEP, Place.LOBAR, Place.CEREBELLAR)
EXTRA_AXIAL: Final = (Place.CRESCENT, Place.LENS)

Spread = Callable[[Plane], Float]
"""How late blood reaches voxels, given their body coordinates: it fills the least first, and none at infinity."""

_CENTRES: Final = {
    Place.DEEP: (25.0, -2.0, 6.0),
    Place.LOBAR: (34.0, 30.0, 34.0),
    Place.CEREBELLAR: (20.0, 44.0, -34.0),
}
_REACH_MM: Final = 45.0
_OEDEMA_MM: Final = 3.0
_LOBE_MM: Final = 1.6
_DEEPEST_MM: Final = 26.0
"""How thick a collection between skull and brain may become."""


class NoRoom(ValueError):
    """The place holds less than the volume asked for."""


def bleed(
    labels: Labels, head: Head, grid: Grid, place: Place, side: Side, volume_ml: float, rng: np.random.Generator
) -> None:
    """Paint ``volume_ml`` of fresh blood (to a voxel) into ``labels`` [z, y, x] of this head.

    Raises :class:`NoRoom` where the anatomy holds less there.
    """
    if place in INTRAPARENCHYMAL:
        voxels, level = _room(labels, head, grid, _clot(place, side, rng), BRAIN)
    elif place in EXTRA_AXIAL:
        voxels, level = _room(labels, head, grid, _collection(head, place, side, rng), BRAIN | {Tissue.CSF})
    else:
        voxels, level = _room(labels, head, grid, _ventricular(head, side), frozenset({Tissue.CSF}))
    wanted = round(volume_ml / grid.voxel_ml)
    if wanted >= voxels.size:
        held = voxels.size * grid.voxel_ml
        raise NoRoom(f"{volume_ml:g} ml of blood do not fit: this phantom holds {held:.1f} ml there")
    edge = np.partition(level, wanted)[wanted]
    flat = labels.reshape(-1)
    if place in INTRAPARENCHYMAL:
        flat[voxels[level < edge + _OEDEMA_MM]] = Tissue.OEDEMA
    flat[voxels[level < edge]] = Tissue.BLOOD


def _room(
    labels: Labels, head: Head, grid: Grid, spread: Spread, tissues: frozenset[Tissue]
) -> tuple[NDArray[np.int64], Float]:
    """Voxels (flat indices) that blood can reach in these tissues, and when it does."""
    voxels, levels = [], []
    allowed = among(tissues)
    for index, layer in enumerate(labels):
        here = np.flatnonzero(allowed[layer])
        level = spread(Plane(*(axis.ravel()[here] for axis in head.pose.plane(grid, index))))
        reached = np.isfinite(level)
        voxels.append(here[reached] + index * layer.size)
        levels.append(level[reached])
    return np.concatenate(voxels), np.concatenate(levels)


def _clot(place: Place, side: Side, rng: np.random.Generator) -> Spread:
    """A lobulated lump. Level: its radius in mm."""
    x, y, z = np.add(_CENTRES[place], rng.uniform(-4, 4, size=3))
    a, b, c = _REACH_MM * rng.uniform(0.75, 1.25, size=3)
    shape = Ellipsoid((float(x) * side.sign, float(y), float(z)), (a, b, c), float(rng.uniform(-30, 30)))
    lobes = ndimage.gaussian_filter(rng.standard_normal((24, 24, 24), dtype=np.float32), 1.1, mode="wrap")
    lobes *= _LOBE_MM / lobes.std()

    def spread(body: Plane) -> Float:
        radius = shape.radius(body)
        near = radius < 1
        points = np.stack([axis[near] / 6 for axis in body])
        level = np.full(radius.shape, np.inf, dtype=np.float32)
        level[near] = _REACH_MM * radius[near] + ndimage.map_coordinates(lobes, points, order=1, mode="grid-wrap")
        return level

    return spread


def _collection(head: Head, place: Place, side: Side, rng: np.random.Generator) -> Spread:
    """Blood between skull and brain. Level: the thickness of its middle, in mm.

    A crescent (subdural) thins out slowly along the skull; a lens (epidural) is narrow, with a straight inner face.
    """
    half_angle = rng.uniform(1.0, 1.15) if place is Place.CRESCENT else rng.uniform(0.5, 0.6)
    fullness = 4 if place is Place.CRESCENT else 2
    way = np.array([side.sign, rng.uniform(-0.35, 0.35), rng.uniform(0.1, 0.45)])
    way /= np.linalg.norm(way)

    def spread(body: Plane) -> Float:
        up = body.z - np.float32(10)
        length = np.sqrt(body.x**2 + body.y**2 + up**2) + np.float32(1e-3)
        angle = np.arccos(np.clip((way[0] * body.x + way[1] * body.y + way[2] * up) / length, -1, 1))
        share = 1 - (angle / half_angle) ** fullness
        level = np.full(up.shape, np.inf, dtype=np.float32)
        near = (share > 0.03) & (body.x * side.sign > 1.5)
        depth = head.depth_mm(Plane(*(axis[near] for axis in body)))
        level[near] = np.where(depth < _DEEPEST_MM, depth / share[near], np.inf)
        return level

    return spread


def _ventricular(head: Head, side: Side) -> Spread:
    """Blood in the ventricles: it sinks to the back of a patient who lies on it, and fills one side sooner."""
    ventricles = head.ventricles()

    def spread(body: Plane) -> Float:
        inside = np.zeros(body.x.shape, dtype=bool)
        for shape in ventricles:
            inside |= shape.radius(body) < 1
        level = -body.y - np.float32(12) * (body.x * side.sign > 0)
        return np.where(inside, level, np.inf).astype(np.float32)

    return spread
