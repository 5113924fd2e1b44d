"""A head: scalp, skull with diploe, brain with folded cortex, ventricles, cisterns, skull base and face.

Coordinates are the head's own, mm: x to the left, y to the back, z to the top, the origin between the thalami.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy import ndimage

from sinsok.phantom.shapes import Ellipsoid, Labels, Part, paint
from sinsok.phantom.space import Float, Grid, Plane, Pose
from sinsok.phantom.tissue import Tissue

BRAIN: Final = frozenset({Tissue.GREY, Tissue.WHITE, Tissue.BRAINSTEM})
SCAN_MIDDLE_MM: Final = (0.0, 0.0, 12.0)
"""Middle of a scan that reaches from below the skull base to above the vertex."""

_CEREBRUM: Final = Ellipsoid((0, 0, 14), (67, 83, 67))
_FOSSAE: Final = (
    Ellipsoid((32, -16, -20), (28, 33, 24), paired=True),
    Ellipsoid((0, 36, -34), (51, 42, 33)),
    Ellipsoid((0, 27, -80), (13, 13, 45)),
)
_ANTERIOR_FLOOR_MM: Final = -22.0
_CEREBELLUM: Final = Ellipsoid((0, 38, -36), (50, 40, 27))

_FACE_OUTLINE: Final = Ellipsoid((0, -40, -58), (63, 57, 70))
_SKULL_AND_SCALP_MM: Final = 25.0

_OVER_HEAD: Final = frozenset({Tissue.SKIN, Tissue.FAT, Tissue.MUSCLE})
_OVER_SOFT: Final = _OVER_HEAD | {Tissue.CORTICAL_BONE, Tissue.DIPLOE}

_FACE: Final = (
    Part(Tissue.CORTICAL_BONE, Ellipsoid((30, -62, -32), (24, 27, 22), paired=True), _OVER_HEAD),
    Part(Tissue.CORTICAL_BONE, Ellipsoid((26, -62, -62), (20, 20, 20), paired=True), _OVER_HEAD),
    Part(Tissue.CORTICAL_BONE, Ellipsoid((0, -58, -38), (14, 30, 26)), _OVER_HEAD),
    Part(Tissue.FAT, Ellipsoid((32, -68, -32), (19, 26, 18), paired=True), _OVER_SOFT),
    Part(Tissue.EYE, Ellipsoid((31, -74, -33), (12, 12, 12), paired=True)),
    Part(Tissue.GAS, Ellipsoid((26, -62, -62), (16, 16, 17), paired=True), _OVER_SOFT),
    Part(Tissue.GAS, Ellipsoid((6, -60, -36), (4.5, 26, 22), paired=True), _OVER_SOFT),
    Part(Tissue.GAS, Ellipsoid((9, -86, -6), (8, 4, 8), paired=True), frozenset({Tissue.DIPLOE})),
    Part(Tissue.GAS, Ellipsoid((0, -32, -86), (11, 9, 34)), _OVER_HEAD),
)
_SKULL_BASE: Final = (
    Part(Tissue.DIPLOE, Ellipsoid((37, 16, -42), (27, 11, 11), turn_deg=30, paired=True)),
    Part(Tissue.CORTICAL_BONE, Ellipsoid((28, 10, -42), (12, 6, 7), turn_deg=30, paired=True)),
    Part(Tissue.GAS, Ellipsoid((56, 24, -46), (7, 9, 12), turn_deg=30, paired=True)),
    Part(Tissue.DIPLOE, Ellipsoid((0, -6, -42), (12, 16, 14))),
    Part(Tissue.GAS, Ellipsoid((0, -16, -40), (9, 8, 8))),
)
_DEEP: Final = (
    Part(Tissue.CSF, Ellipsoid((42, -12, 0), (13, 2.6, 10), turn_deg=-25, paired=True), BRAIN),
    Part(Tissue.CSF, Ellipsoid((0, -12, -20), (13, 9, 6)), BRAIN),
    Part(Tissue.CSF, Ellipsoid((0, 27, -8), (11, 3.5, 6)), BRAIN),
    Part(Tissue.GREY, Ellipsoid((10, 9, 4), (8, 14, 9), turn_deg=15, paired=True), BRAIN),
    Part(Tissue.GREY, Ellipsoid((25, -4, 4), (6, 17, 11), turn_deg=12, paired=True), BRAIN),
    Part(Tissue.GREY, Ellipsoid((14, -20, 12), (5, 11, 10), turn_deg=15, paired=True), BRAIN),
    Part(Tissue.BRAINSTEM, Ellipsoid((0, 12, -26), (15, 12, 26)), BRAIN),
    Part(Tissue.BRAINSTEM, Ellipsoid((0, 26, -80), (7, 6, 45)), BRAIN | {Tissue.CSF}),
)
_VENTRICLES: Final = (
    Ellipsoid((9, -24, 12), (4, 13, 9), turn_deg=22, paired=True),
    Ellipsoid((11, 4, 22), (5.5, 27, 6.5), turn_deg=-8, paired=True),
    Ellipsoid((22, 34, 10), (6.5, 15, 9), turn_deg=-18, paired=True),
    Ellipsoid((30, 8, -16), (3, 16, 3.5), turn_deg=-10, paired=True),
    Ellipsoid((0, 1, 1), (2, 12, 8)),
    Ellipsoid((0, 31, -32), (7, 5, 9)),
)
_CALCIFICATIONS: Final = (
    Part(Tissue.CALCIFICATION, Ellipsoid((0, 21, 2), (2.2, 2.6, 2.2))),
    Part(Tissue.CALCIFICATION, Ellipsoid((23, 34, 8), (2, 3, 2.2), turn_deg=-18, paired=True)),
)
_FOLD_STEP_MM: Final = 3.0
_FOLD_SIZE: Final = 80


@dataclass(frozen=True)
class Head:
    """One head. The same ``rng`` state makes the same head."""

    pose: Pose
    folds: Float
    ventricle_size: float
    skull_mm: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """A head like no other: pose, size, folding, ventricles and skull vary."""
        pose = Pose.random(rng)
        white = rng.standard_normal((_FOLD_SIZE,) * 3, dtype=np.float32)
        band = ndimage.gaussian_filter(white, 1.5) - ndimage.gaussian_filter(white, 2.5)
        return cls(pose, band / band.std(), float(rng.uniform(0.9, 1.15)), float(rng.uniform(4.8, 6.8)))

    def ventricles(self) -> tuple[Ellipsoid, ...]:
        """The ventricular system, both sides."""
        return tuple(side for shape in _VENTRICLES for side in shape.grown(self.ventricle_size).sides())

    def depth_mm(self, plane: Plane) -> Float:
        """Distance from the inner table of the skull, positive inside the cranial cavity."""
        broader_behind = plane._replace(x=plane.x / (1 + np.float32(0.0011) * plane.y))
        outside = np.maximum(_CEREBRUM.distance_mm(broader_behind), _ANTERIOR_FLOOR_MM - plane.z)
        for fossa in _FOSSAE:
            for side in fossa.sides():
                if side.reaches(plane, _SKULL_AND_SCALP_MM):
                    outside = np.minimum(outside, side.distance_mm(plane))
        depth: Float = -outside
        return depth

    def labels(self, grid: Grid) -> Labels:
        """The tissue of every voxel, [z, y, x]."""
        labels = np.zeros(grid.shape, dtype=np.uint8)
        ventricles = tuple(Part(Tissue.CSF, shape, BRAIN) for shape in self.ventricles())
        for index, layer in enumerate(labels):
            plane = self.pose.plane(grid, index)
            depth = self.depth_mm(plane)
            self._wrap(layer, plane, depth)
            paint(_FACE, layer, plane, self.pose, grid, index)
            self._fill(layer, plane, depth)
            paint((*_SKULL_BASE, *_DEEP, *ventricles, *_CALCIFICATIONS), layer, plane, self.pose, grid, index)
        return labels

    def _wrap(self, layer: Labels, plane: Plane, depth: Float) -> None:
        """Head rest, scalp, muscle and skull."""
        layer[(np.abs(np.hypot(plane.x, plane.y + 8) - 119) < 2) & (plane.y > 45)] = Tissue.PLASTIC
        skin = -depth - self.skull_mm - 7
        if _FACE_OUTLINE.reaches(plane):
            neck = np.maximum(np.hypot(plane.x, plane.y - 10) - 60, plane.z + 45)
            skin = np.minimum(np.minimum(_FACE_OUTLINE.distance_mm(plane), neck), skin)
        layer[skin < 0] = Tissue.SKIN
        layer[skin < -2] = Tissue.FAT
        temporal = (-depth < self.skull_mm + 5) & (np.hypot(plane.y + 18, plane.z) < 42) & (np.abs(plane.x) > 40)
        layer[temporal | (skin < -7)] = Tissue.MUSCLE
        layer[-depth < self.skull_mm] = Tissue.CORTICAL_BONE
        layer[(-depth < self.skull_mm * 0.68) & (-depth > self.skull_mm * 0.32)] = Tissue.DIPLOE

    def _fill(self, layer: Labels, plane: Plane, depth: Float) -> None:
        """The brain in its fluid: cortex and sulci follow a folded sheet, white matter lies below them."""
        cavity = depth > 0
        layer[cavity] = Tissue.CSF
        brain = depth > 2.2
        layer[brain] = Tissue.WHITE
        shallow = brain & (depth < 22)
        fold = np.abs(self._fold(plane, shallow))
        grey, reach = layer[shallow], depth[shallow]
        grey[(fold < 0.62) | (reach < 4.5)] = Tissue.GREY
        grey[(fold < 0.24 * (1 - reach / 20)) & (reach < 16)] = Tissue.CSF
        layer[shallow] = grey
        core = _CEREBELLUM.radius(plane)
        cerebellum = brain & (core < 1)
        layer[cerebellum] = Tissue.GREY
        layer[cerebellum & (core < 0.55)] = Tissue.WHITE
        off_middle = np.abs(plane.x)
        away_from_core = (np.hypot(plane.y, plane.z - 8) > 38) & (plane.z > -20) & cavity
        layer[away_from_core & (off_middle < 1.3) & brain] = Tissue.CSF
        layer[away_from_core & (off_middle < 0.5)] = Tissue.FALX

    def _fold(self, plane: Plane, where: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Float:
        middle = _FOLD_SIZE / 2
        points = np.stack([axis[where] / _FOLD_STEP_MM + middle for axis in (plane.z, plane.y, plane.x)])
        fold: Float = ndimage.map_coordinates(self.folds, points, order=1, mode="grid-wrap", output=np.float32)
        return fold
