"""Ellipsoids: what the phantoms are made of."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sinsok.phantom.space import Float, Grid, Plane, Point, Pose
from sinsok.phantom.tissue import Tissue, among

Labels = NDArray[np.uint8]


class Ellipsoid(NamedTuple):
    """An ellipsoid in body coordinates, mm, turned about z. ``paired`` ones have a mirror image at -x."""

    centre: Point
    radii: Point
    turn_deg: float = 0.0
    paired: bool = False

    def sides(self) -> tuple["Ellipsoid", ...]:
        """Itself, and its mirror image where it has one."""
        if not self.paired:
            return (self,)
        x, y, z = self.centre
        left = self._replace(paired=False)
        return (left, left._replace(centre=(-x, y, z), turn_deg=-self.turn_deg))

    def grown(self, factor: float) -> "Ellipsoid":
        """The same with radii ``factor`` times as long."""
        x, y, z = self.radii
        return self._replace(radii=(x * factor, y * factor, z * factor))

    def reaches(self, plane: Plane, beyond_mm: float = 0.0) -> bool:
        """Whether its height, and as much beyond, meets the plane."""
        return bool(np.any(np.abs(plane.z - self.centre[2]) < self.radii[2] + beyond_mm))

    def local(self, plane: Plane) -> Plane:
        """The plane in the ellipsoid's own axes, from its centre."""
        x, y, z = plane.x - self.centre[0], plane.y - self.centre[1], plane.z - self.centre[2]
        if not self.turn_deg:
            return Plane(x, y, z)
        cos, sin = np.float32(np.cos(np.radians(self.turn_deg))), np.float32(np.sin(np.radians(self.turn_deg)))
        return Plane(cos * x + sin * y, cos * y - sin * x, z)

    def radius(self, plane: Plane) -> Float:
        """Distance from the centre as a share of the radius: 1 on the surface."""
        x, y, z = self.local(plane)
        a, b, c = self.radii
        radius: Float = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
        return radius

    def distance_mm(self, plane: Plane) -> Float:
        """Signed distance to the surface, negative inside; exact to first order near the surface."""
        x, y, z = self.local(plane)
        a, b, c = self.radii
        x, y, z = x / a, y / b, z / c
        level = np.sqrt(x * x + y * y + z * z)
        x, y, z = x / a, y / b, z / c
        slope = np.sqrt(x * x + y * y + z * z)
        distance: Float = level * (level - 1) / np.maximum(slope, np.float32(1e-6))
        return distance


class Part(NamedTuple):
    """A piece of anatomy: paint ``tissue`` where the ellipsoid is, over tissues of ``over`` only (all where empty)."""

    tissue: Tissue
    shape: Ellipsoid
    over: frozenset[Tissue] = frozenset()


def paint(parts: tuple[Part, ...], labels: Labels, plane: Plane, pose: Pose, grid: Grid, index: int) -> None:
    """Paint the parts, in order, on slice ``index``; ``labels`` and ``plane`` are that slice."""
    for part in parts:
        for side in part.shape.sides():
            window = _window(side, pose, grid, index)
            if window is None:
                continue
            inside = side.radius(plane.window(*window)) < 1
            if part.over:
                inside &= among(part.over)[labels[window]]
            labels[window][inside] = part.tissue


def _window(shape: Ellipsoid, pose: Pose, grid: Grid, index: int) -> tuple[slice, slice] | None:
    """Rows and columns the ellipsoid can reach on a slice, or None."""
    x, y, z = pose.to_patient(shape.centre)
    reach = max(shape.radii) * float(pose.scale.max())
    x0, y0, z0 = grid.position_mm(index)
    if abs(z - z0) > reach:
        return None
    rows = _span((y - y0 - reach) / grid.spacing_mm[1], (y - y0 + reach) / grid.spacing_mm[1], grid.shape[1])
    columns = _span((x - x0 - reach) / grid.spacing_mm[2], (x - x0 + reach) / grid.spacing_mm[2], grid.shape[2])
    return rows, columns


def _span(low: float, high: float, size: int) -> slice:
    return slice(min(max(int(low), 0), size), max(min(int(high) + 2, size), 0))
