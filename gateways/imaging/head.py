"""The head in a CT volume, coarsely: its skull and what the skull encloses, on a grid of about 2 mm.

Quality gates and the midsagittal plane need no fine voxels; on this grid they cost a fraction of a second.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gateways.imaging.volume import Volume

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

GRID_MM: Final = 2.0
BONE_HU: Final = 300.0
"""Above brain, blood and enhanced vessels; below a thin skull after averaging over the grid."""
TISSUE_HU: Final = -200.0
"""Between air and fat."""
CLEAR_OF_BONE_MM: Final = 6.0
"""So far reaches the brightening of bone: blur and partial volume of a slice."""
_LEAK_MM: Final = 4.0
"""Sutures, foramina and burr holes up to twice this wide do not open a skull."""
_LEAST_SECTION_MM2: Final = 1500.0
"""A foramen magnum or a spinal canal is smaller, less than 1000 mm2; a newborn's brain at its widest is over 5000."""
_LEAST_RING: Final = 0.5
"""Share of bone around a section of the cavity; the rest may be the edge of the field of view."""


@dataclass(frozen=True)
class Head:
    """A volume on a coarse grid in its own axes, turned so that x goes left, y back and z up, and its skull."""

    hu: Float
    """Hounsfield units [z, y, x]."""
    affine: NDArray[np.float64]
    """4x4, index (x, y, z, 1) to patient coordinates (LPS, mm)."""
    spacing_mm: tuple[float, float, float]
    """z, y, x."""
    bone: Mask
    cavity: Mask
    """What the skull encloses, skull not included. Empty where there is no skull."""
    cut: Mask
    """Tissue on the edge of the field of view, in the plane."""

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @cached_property
    def deep(self) -> Mask:
        """The cavity, clear of bone."""
        return self.cavity & ~widened(self.bone, CLEAR_OF_BONE_MM, self.spacing_mm)

    def millimetres(self, indices: NDArray[np.intp] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Patient coordinates (x, y, z) of places on the grid [z, y, x], one a row."""
        positions: NDArray[np.float64] = indices[:, ::-1] @ self.affine[:3, :3].T + self.affine[:3, 3]
        return positions


def find_head(volume: Volume) -> Head:
    """The volume on the coarse grid, and the skull in it if there is one."""
    hu, affine = _coarse(volume)
    spacing = tuple(float(step) for step in np.linalg.norm(affine[:3, 2::-1], axis=0))
    assert len(spacing) == 3
    bone = hu > BONE_HU
    cut = np.zeros_like(bone)
    for edge in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        cut[edge] = hu[edge] > TISSUE_HU
    return Head(hu, affine, spacing, bone, _cavity(bone, cut, spacing), cut)


def widened(mask: Mask, by_mm: float, spacing_mm: tuple[float, ...]) -> Mask:
    """The mask and all voxels within ``by_mm`` along the axes; an axis of spacing infinity is left alone."""
    size = [2 * round(by_mm / step) + 1 for step in spacing_mm]
    wide: Mask = ndimage.maximum_filter(mask.view(np.uint8), size).view(np.bool_)
    return wide


def _coarse(volume: Volume) -> tuple[Float, NDArray[np.float64]]:
    """Voxels averaged to about 2 mm (of every run of them two along each axis are enough), in patient order."""
    steps = np.linalg.norm(volume.affine[:3, 2::-1], axis=0)
    factors = [min(max(round(GRID_MM / step), 1), size) for step, size in zip(steps, volume.voxels.shape, strict=True)]
    shape = [size // factor for size, factor in zip(volume.voxels.shape, factors, strict=True)]
    taken = [sorted({0, factor // 2}) for factor in factors]
    total = np.zeros(shape, np.int32)
    for offsets in product(*taken):
        runs = zip(offsets, factors, shape, strict=True)
        total += volume.voxels[tuple(slice(first, first + step * count, step) for first, step, count in runs)]
    hu = (total / np.float32(np.prod([len(offsets) for offsets in taken]))).astype(np.float32)
    affine = volume.affine.copy()
    middle = np.array([np.mean(offsets) for offsets in taken])[::-1]
    affine[:3, 3] += affine[:3, :3] @ middle
    affine[:3, :3] *= np.array(factors)[::-1]
    return _in_patient_order(hu, affine)


def _in_patient_order(hu: Float, affine: NDArray[np.float64]) -> tuple[Float, NDArray[np.float64]]:
    """Permute and flip the axes so that index x runs to the left, y to the back and z to the top, as near as can be."""
    along = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    order = max(permutations(range(3)), key=lambda axes: sum(abs(along[row, axis]) for row, axis in enumerate(axes)))
    turned = np.eye(4)
    turned[:3, :3] = affine[:3, list(order)]
    turned[:3, 3] = affine[:3, 3]
    hu = hu.transpose([2 - axis for axis in reversed(order)])
    for row in range(3):
        if turned[row, row] < 0:
            turned[:3, 3] += turned[:3, row] * (hu.shape[2 - row] - 1)
            turned[:3, row] *= -1
            hu = np.flip(hu, 2 - row)
    return np.ascontiguousarray(hu), turned


def _cavity(bone: Mask, cut: Mask, spacing_mm: tuple[float, ...]) -> Mask:
    """What rings of bone enclose, slice by slice; the largest piece of it."""
    in_plane = (float("inf"), *spacing_mm[1:])
    wall = widened(bone, _LEAK_MM, in_plane)
    flat = np.zeros((3, 3, 3), bool)
    flat[1] = ndimage.generate_binary_structure(2, 1)
    sections, count = ndimage.label(~(wall | cut), flat)
    if not count:
        return np.zeros_like(bone)
    areas = np.bincount(sections.ravel()) * spacing_mm[1] * spacing_mm[2]
    around = ndimage.maximum_filter(sections, (1, 3, 3))
    rim = (around > 0) & (sections == 0)
    bony, whole = (np.bincount(around[part], minlength=count + 1) for part in (rim & wall, rim))
    keep = (areas >= _LEAST_SECTION_MM2) & (bony >= _LEAST_RING * whole)
    for edge in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        keep[sections[edge]] = False
    keep[0] = False
    pieces, number = ndimage.label(keep[sections])
    if not number:
        return np.zeros_like(bone)
    largest: Mask = pieces == 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    return widened(largest, _LEAK_MM, in_plane) & ~bone
