"""The stack that image planes form, from their positions and orientations alone (DICOM PS3.3, C.7.6.2).

What counts as a gap is a matter of judgement. Head CTs are often taken with thin slices at the skull base and thick
ones above, so a change of spacing is none. Distances between neighbouring slices are therefore read as *runs* of equal
distance, and a run of three or more is a spacing that somebody chose. A run is a gap where its distance exceeds 1.6
times the chosen spacing on both sides of it. A chosen run at an end of the stack, with a chosen run on one side only,
is a change of spacing; a shorter run there is a gap. Where no run is long enough to be chosen, the lower median of all
distances stands in for it.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import acos, degrees, isfinite, sqrt
from statistics import median, median_low
from typing import Final

from schemas.base import Record
from schemas.events import Gap, Geometry

FARTHEST_MM: Final = 1e5
"""What lies farther from the origin than 100 m was not measured by a scanner."""

MOST_GAPS: Final = 100
SAME_PLACE_MM: Final = 0.05
SAME_DIRECTION: Final = 0.9998  # cosine of 1.1 degrees
SAME_SPACING: Final = 0.1
GAP_FACTOR: Final = 1.6
CHOSEN: Final = 3

Vector = tuple[float, float, float]
Orientation = tuple[float, float, float, float, float, float]


class Plane(Record):
    """One image plane: an instance, or a frame of a multi-frame instance."""

    position_mm: Vector
    orientation: Orientation
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float]


def geometry(planes: Iterable[Plane]) -> Geometry | None:
    """The stack the planes form; None where none of them is usable: at right angles and in reach of a scanner.

    Planes that differ from the most in orientation or matrix make the stack not contiguous and are left out of it.
    """
    usable = [plane for plane in planes if _in_reach(plane.position_mm) and _normal(plane.orientation) is not None]
    stacks: list[list[Plane]] = []
    for plane in sorted(usable, key=lambda plane: (plane.orientation, plane.position_mm)):
        stack = next((stack for stack in stacks if _alike(stack[0], plane)), None)
        if stack is None:
            stacks.append(stack := [])
        stack.append(plane)
    if not stacks:
        return None
    return _stack(max(stacks, key=len), alone=len(stacks) == 1)


def _stack(planes: list[Plane], alone: bool) -> Geometry:
    first = planes[0]
    normal = _normal(first.orientation)
    assert normal is not None
    slices: list[tuple[float, Plane]] = []
    for at, plane in sorted(((_dot(p.position_mm, normal), p) for p in planes), key=lambda pair: pair[0]):
        if not slices or at - slices[-1][0] > SAME_PLACE_MM:
            slices.append((at, plane))
    places = [at for at, _ in slices]
    distances = [b - a for a, b in pairwise(places)]
    gaps = _gaps(places, distances)
    return Geometry(
        slices=len(slices),
        rows=first.rows,
        columns=first.columns,
        pixel_spacing_mm=first.pixel_spacing_mm,
        spacing_mm=round(median(distances), 4) if distances else 0.0,
        extent_mm=round(places[-1] - places[0], 4),
        orientation=first.orientation,
        tilt_deg=_tilt(slices[0][1], slices[-1][1], normal),
        duplicate_positions=len(planes) - len(slices),
        gaps=gaps,
        contiguous=alone and len(slices) >= 2 and not gaps,
    )


def _gaps(places: Sequence[float], distances: Sequence[float]) -> tuple[Gap, ...]:
    """The gaps, from the first on; where they are too many to list, the last one stands for all that remain."""
    runs: list[tuple[int, int]] = []  # first and one past the last distance
    for number, distance in enumerate(distances):
        if runs and abs(distance - distances[runs[-1][0]]) <= SAME_SPACING * distances[runs[-1][0]] + SAME_PLACE_MM:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    chosen = [(begin, end) for begin, end in runs if end - begin >= CHOSEN]
    found = []
    for begin, end in runs:
        before = [distances[other[0]] for other in chosen if other[1] <= begin][-1:]
        after = [distances[other[0]] for other in chosen if other[0] >= end][:1]
        if end - begin >= CHOSEN and not (before and after):
            continue
        usual = max(before + after, default=0.0) or median_low(distances)
        for number in range(begin, end):
            if distances[number] > GAP_FACTOR * usual:
                missing = max(1, round(distances[number] / usual) - 1)
                found.append(
                    Gap(after_mm=round(places[number], 4), before_mm=round(places[number + 1], 4), missing=missing)
                )
    if rest := found[MOST_GAPS - 1 :]:
        missing = sum(gap.missing for gap in rest)
        found[MOST_GAPS - 1 :] = [Gap(after_mm=rest[0].after_mm, before_mm=rest[-1].before_mm, missing=missing)]
    return tuple(found)


def _tilt(first: Plane, last: Plane, normal: Vector) -> float:
    offset = tuple(b - a for a, b in zip(first.position_mm, last.position_mm, strict=True))
    length = sqrt(sum(c * c for c in offset))
    if length <= SAME_PLACE_MM:
        return 0.0
    return round(degrees(acos(min(1.0, abs(_dot(offset, normal)) / length))), 3)


def _alike(one: Plane, other: Plane) -> bool:
    return (one.rows, one.columns) == (other.rows, other.columns) and all(
        _dot(a, b) > SAME_DIRECTION
        for a, b in (
            (one.orientation[:3], other.orientation[:3]),
            (one.orientation[3:], other.orientation[3:]),
        )
    )


def _in_reach(position: Vector) -> bool:
    return all(abs(c) <= FARTHEST_MM for c in position)  # which no NaN is


def _normal(orientation: Orientation) -> Vector | None:
    """The unit slice normal, row direction x column direction; None where the directions are no right angle."""
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = sqrt(_dot(normal, normal))
    if not isfinite(length) or abs(length - 1) > 0.05:
        return None
    return (normal[0] / length, normal[1] / length, normal[2] / length)


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
