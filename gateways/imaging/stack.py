"""Slices to a grid: order, duplicates, gaps and the affine (DICOM PS3.3, C.7.6.2.1.1). Knows positions, not pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateways.imaging.frames import Vector
from schemas.failures import Unreadable

SAME_POSITION_MM: Final = 0.01
OFF_GRID: Final = 0.25
"""How far from its place a slice may lie, as a share of the slice spacing, before no grid describes the stack."""
UNEVEN: Final = 0.05
"""From which share of the slice spacing on the reader is told."""
DRIFT_MM: Final = 0.5


@dataclass(frozen=True)
class Grid:
    """Evenly spaced planes and the slice that stands on each."""

    planes: tuple[int | None, ...]
    """For each plane, ascending along the normal: index of the slice on it, None where none was acquired."""
    affine: Vector
    """4x4, voxel index (x, y, z, 1) to patient coordinates (LPS, mm). With a tilted gantry its z column is slanted."""
    spacing_mm: tuple[float, float, float]
    """z, y, x; z along the slice normal, so that the product is the volume of a voxel."""
    cautions: tuple[str, ...]


def normal_of(orientation: Sequence[float]) -> Vector:
    """Unit normal of a plane from its six direction cosines.

    Raises :class:`schemas.failures.Unreadable` where they do not span a plane.
    """
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(row @ column) > 0.01:
        raise Unreadable("Image Orientation (Patient) does not span a plane")
    normal: Vector = np.cross(row, column)
    return normal / np.linalg.norm(normal)


def at_positions(heights: Sequence[float]) -> list[list[int]]:
    """Indices grouped by position (mm along the normal), ascending; within a group they keep their order."""
    groups: list[list[int]] = []
    for index in sorted(range(len(heights)), key=lambda i: heights[i]):
        if groups and heights[index] - heights[groups[-1][0]] <= SAME_POSITION_MM:
            groups[-1].append(index)
        else:
            groups.append([index])
    return [sorted(group) for group in groups]


def grid(positions: Sequence[Vector], orientation: Sequence[float], pixel_spacing: tuple[float, float]) -> Grid:
    """The grid on which slices at these positions lie, one slice a position, ascending along the normal.

    A gap leaves planes without a slice and is said in the cautions. Raises :class:`schemas.failures.Unreadable` where
    the slices are too few or too uneven for any grid.
    """
    normal = normal_of(orientation)
    if len(positions) < 2:
        raise Unreadable("a volume needs at least two slices at different positions")
    heights = np.array([position @ normal for position in positions])
    steps = np.diff(heights)
    for step in (float(np.median(steps)), float(steps.min())):
        places = (heights - heights[0]) / step
        # Rounding errors of the step must not add up over a long stack: the step is fitted to all slices.
        numbers = np.rint(np.concatenate([[0], np.cumsum(np.maximum(np.rint(steps / step), 1))]))
        step = float(heights[-1] - heights[0]) / float(numbers[-1])
        places = (heights - heights[0]) / step
        deviation = float(np.abs(places - numbers).max())
        if deviation <= OFF_GRID:
            break
    else:
        raise Unreadable(f"slices are unevenly spaced ({steps.min():.2f} to {steps.max():.2f} mm): they form no volume")
    missing = int(numbers[-1]) + 1 - len(positions)
    if missing > len(positions):
        raise Unreadable(f"more slices are missing ({missing}) than are there ({len(positions)})")
    planes: list[int | None] = [None] * (int(numbers[-1]) + 1)
    for index, number in enumerate(numbers):
        planes[int(number)] = index
    cautions = []
    if missing:
        cautions.append(f"{missing} of {len(planes)} slices are missing: nothing was measured there")
    if deviation > UNEVEN:
        cautions.append(f"slice spacing is uneven, up to {deviation * step:.1f} mm off its place")
    offset = (positions[-1] - positions[0]) / float(numbers[-1])
    drift = max(
        float(np.linalg.norm(np.cross(normal, position - positions[0] - offset * number)))
        for position, number in zip(positions, numbers, strict=True)
    )
    if drift > DRIFT_MM:
        cautions.append(f"slices are shifted sideways by up to {drift:.1f} mm against each other")
    between_rows, between_columns = pixel_spacing
    affine = np.eye(4)
    affine[:3, 0] = np.array(orientation[:3]) * between_columns
    affine[:3, 1] = np.array(orientation[3:]) * between_rows
    affine[:3, 2] = offset
    affine[:3, 3] = positions[0]
    return Grid(tuple(planes), affine, (step, between_rows, between_columns), tuple(cautions))
