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
SAME_SPACING: Final = 0.1
CHOSEN: Final = 3
"""A distance between slices that occurs so often in a row was chosen (as gateways/dicom/geometry.py has it)."""
MOST_PLANES: Final = 1024
"""Of a stack of several spacings: a few slices that all but touch must not blow it up."""


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
    chosen = _chosen(steps)
    alike = not chosen or max(chosen) <= (1 + SAME_SPACING) * min(chosen)
    first, second = (_even, _several_spacings) if alike else (_several_spacings, _even)
    fitted = first(heights, steps) or second(heights, steps)
    if fitted is None:
        raise Unreadable(f"slices are unevenly spaced ({steps.min():.2f} to {steps.max():.2f} mm): they form no volume")
    offset = (positions[-1] - positions[0]) / (fitted.heights[-1] / fitted.step)
    drift = max(
        float(np.linalg.norm(np.cross(normal, position - positions[0] - offset * height / fitted.step)))
        for position, height in zip(positions, fitted.heights, strict=True)
    )
    cautions = list(fitted.cautions)
    if drift > DRIFT_MM:
        cautions.append(f"slices are shifted sideways by up to {drift:.1f} mm against each other")
    between_rows, between_columns = pixel_spacing
    affine = np.eye(4)
    affine[:3, 0] = np.array(orientation[:3]) * between_columns
    affine[:3, 1] = np.array(orientation[3:]) * between_rows
    affine[:3, 2] = offset
    affine[:3, 3] = positions[0]
    return Grid(fitted.planes, affine, (fitted.step, between_rows, between_columns), tuple(cautions))


@dataclass(frozen=True)
class _Fit:
    """Planes every ``step`` mm; ``heights`` (mm above the first) are where the slices are taken to stand."""

    planes: tuple[int | None, ...]
    step: float
    heights: Vector
    cautions: tuple[str, ...]


def _even(heights: Vector, steps: Vector) -> _Fit | None:
    """One slice a plane, planes without a slice where some are missing; None where the slices fit no such grid."""
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
        return None
    missing = int(numbers[-1]) + 1 - len(heights)
    if missing > len(heights):
        raise Unreadable(f"more slices are missing ({missing}) than are there ({len(heights)})")
    planes: list[int | None] = [None] * (int(numbers[-1]) + 1)
    for index, number in enumerate(numbers):
        planes[int(number)] = index
    cautions = []
    if missing:
        cautions.append(_missing(missing, len(planes)))
    if deviation > UNEVEN:
        cautions.append(f"slice spacing is uneven, up to {deviation * step:.1f} mm off its place")
    return _Fit(tuple(planes), step, numbers * step, tuple(cautions))


def _several_spacings(heights: Vector, steps: Vector) -> _Fit | None:
    """Planes at the finest spacing, each showing the slice nearest to it, for stacks of more than one slice spacing.

    Head CTs are taken thin at the skull base and thick above. A thick slice stands on as many planes as it is thick, so
    that volumes add up. So it is with 4.8 mm below and 5 mm above, which no even grid follows for long. None for
    distances nobody chose.
    """
    chosen = _chosen(steps)
    if not chosen:
        return None
    finest, widest = min(chosen), max(chosen)
    odd = [step for step in steps if step < (1 - SAME_SPACING) * finest]
    count = round(float(heights[-1] - heights[0]) / finest) + 1
    if odd or count > MOST_PLANES:
        return None
    step = float(heights[-1] - heights[0]) / (count - 1)
    above = heights - heights[0]
    distances = np.abs(above[None, :] - (np.arange(count) * step)[:, None])
    near = distances.min(axis=1) <= 0.5 * (1 + SAME_SPACING) * widest + 0.5 * step
    planes = tuple(int(index) if close else None for index, close in zip(distances.argmin(axis=1), near, strict=True))
    cautions = [f"slices {finest:.2f} to {widest:.2f} mm apart: thick ones stand on several planes"]
    if missing := planes.count(None):
        cautions.append(_missing(missing, count))
    return _Fit(planes, step, above, tuple(cautions))


def _chosen(steps: Vector) -> list[float]:
    """The slice spacings of a stack: those that occur often enough in a row."""
    runs: list[list[float]] = []
    for step in steps:
        if runs and abs(step - runs[-1][0]) <= SAME_SPACING * runs[-1][0]:
            runs[-1].append(float(step))
        else:
            runs.append([float(step)])
    return [float(np.median(run)) for run in runs if len(run) >= CHOSEN]


def _missing(missing: int, count: int) -> str:
    return f"{missing} of {count} slices are missing: nothing was measured there"
