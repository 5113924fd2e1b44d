"""Where things are: the voxel grid of a series and the pose of a body in it. Patient coordinates (LPS, mm)."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """An axial voxel grid: x to the left, y to the back, z to the top (DICOM PS3.3, C.7.6.2.1.1).

    ``shape`` and ``spacing_mm`` are in array order [z, y, x]; ``origin_mm`` is the centre (x, y, z) of voxel [0, 0, 0].
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: Point

    @classmethod
    def centred(cls, slices: int, spacing_mm: float, *, size: int, pixel_mm: float, middle_mm: Point) -> Self:
        """A grid of square slices whose middle lies at ``middle_mm``."""
        x, y, z = middle_mm
        edge = (size - 1) * pixel_mm / 2
        origin = (x - edge, y - edge, z - (slices - 1) * spacing_mm / 2)
        return cls((slices, size, size), (spacing_mm, pixel_mm, pixel_mm), origin)

    def thinner(self, parts: int) -> "Grid":
        """The same space with every slice cut into ``parts``."""
        depth, height, width = self.shape
        spacing, *pixel = self.spacing_mm
        x, y, z = self.origin_mm
        thin = spacing / parts
        return replace(
            self,
            shape=(depth * parts, height, width),
            spacing_mm=(thin, pixel[0], pixel[1]),
            origin_mm=(x, y, z - spacing / 2 + thin / 2),
        )

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        depth, height, width = self.spacing_mm
        return depth * height * width / 1000

    def position_mm(self, index: int) -> Point:
        """The centre (x, y, z) of the first voxel of a slice."""
        x, y, z = self.origin_mm
        return x, y, z + index * self.spacing_mm[0]


class Plane(NamedTuple):
    """Body coordinates (mm) of the voxels of one slice, or of a window of it; arrays [y, x]."""

    x: Float
    y: Float
    z: Float

    def window(self, rows: slice, columns: slice) -> "Plane":
        """The part of the plane in these rows and columns."""
        return Plane(*(axis[rows, columns] for axis in self))


@dataclass(frozen=True)
class Pose:
    """How a body lies in patient space: ``body = rotation @ (patient - shift_mm) / scale``."""

    rotation: NDArray[np.float64]
    scale: NDArray[np.float64]
    shift_mm: NDArray[np.float64]

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Somewhat turned, nodded, shifted and of another size, as no two patients lie or are alike."""
        turn, nod, tilt = np.radians(rng.uniform(-5, 5, size=3))
        about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, np.cos(nod), -np.sin(nod)], [0, np.sin(nod), np.cos(nod)]])
        about_y = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
        return cls(about_z @ about_x @ about_y, rng.uniform(0.95, 1.04, size=3), rng.uniform(-3, 3, size=3))

    def plane(self, grid: Grid, index: int) -> Plane:
        """Body coordinates of slice ``index``."""
        matrix = self.rotation / self.scale[:, None]
        x0, y0, z0 = grid.position_mm(index)
        x = x0 + grid.spacing_mm[2] * np.arange(grid.shape[2]) - self.shift_mm[0]
        y = y0 + grid.spacing_mm[1] * np.arange(grid.shape[1]) - self.shift_mm[1]
        z = z0 - self.shift_mm[2]
        return Plane(*(np.add.outer(row[1] * y + row[2] * z, row[0] * x, dtype=np.float32) for row in matrix))

    def to_patient(self, body_mm: Point) -> NDArray[np.float64]:
        """Patient coordinates of a point given in body coordinates."""
        patient: NDArray[np.float64] = self.rotation.T @ (np.asarray(body_mm) * self.scale) + self.shift_mm
        return patient
