"""Is a volume a head CT that a model made for head CT can be asked about?

Each threshold stands beside its reason. A refusal means that the answer would mean nothing; a caution means that it
may be wrong in a way that is said. What a gate cannot see it does not vouch for.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from gateways.imaging.head import Head
from gateways.imaging.volume import Volume

LEAST_CAVITY_ML: Final = 100.0
"""A newborn's brain has 350 ml, an adult's 1200: less is no head, or too few slices of one to say anything."""
AIR_HU: Final = (-1100.0, -900.0)
"""Air is -1000 by definition; scanners keep within 30 of it, and beam hardening moves it by a few tens."""
DARK_HU: Final = -500.0
"""Halfway between air and fat or water: below it is air, also where its units are wrong by a few hundred."""
NOT_MEASURED_HU: Final = -1020.0
"""Scanners write their least value, -1024, where they did not measure."""
LEAST_AIR: Final = 0.001
"""Share of air in a field of view: around the head, or else in sinuses and ears."""
BRAIN_POSSIBLE_HU: Final = (0.0, 80.0)
"""Median inside the skull: from fluid alone to blood alone."""
BRAIN_USUAL_HU: Final = (20.0, 45.0)
"""White matter is near 28 and grey near 37. Atrophy and oedema lower the median, contrast raises it by 5 to 15."""
VESSEL_HU: Final = (100.0, 300.0)
"""Clotted blood stays below 100; enhanced vessels are above it, and bone is kept away from."""
VESSEL_ML: Final = 2.0
"""Calcified pineal gland, choroid plexus and falx have together less than this; enhanced vessels and sinuses more."""
METAL_HU: Final = 2800.0
"""Dense petrous bone reaches 2200. Teeth reach more, but lie below the slices that are looked at."""
METAL_ML: Final = 0.02
"""A clip or a coil; single bright voxels are noise."""
STREAK_HU: Final = (-500.0, -25.0)
"""Nothing in a brain is that dark but fat, in small amounts, and the streaks of metal; gas is darker."""
STREAK_ML: Final = 2.0
TOP_CM2: Final = 30.0
"""Section of the cavity on the last slice. A dome of that section is 7 mm high: more than a usual slice may miss."""
BELOW_MM: Final = 20.0
"""Below the lowest section that the skull encloses lie 30 to 45 mm of posterior fossa."""


class Quality(NamedTuple):
    """Whether a volume may be read, and what to know of the answer."""

    refusal: str | None
    """Why a model made for head CT has nothing to say of it; None where it may be asked."""
    cautions: tuple[str, ...]


UNGATED: Final = Quality(None, ())
"""Of a volume for a model that does not say what it is for."""


def head_ct_quality(volume: Volume, head: Head) -> Quality:
    """Judge a volume by the head found in it (:func:`gateways.imaging.head.find_head`)."""
    cavity_ml = float(head.cavity.sum()) * head.voxel_ml
    if cavity_ml < LEAST_CAVITY_ML or not head.deep.any():
        return Quality("no head in the field of view: no skull that encloses a brain", ())
    if (wrong := _wrong_units(head)) is not None:
        return Quality(f"Hounsfield units are not plausible: {wrong}", ())
    brain = float(np.median(head.hu[head.deep]))
    cautions = [*_coverage(head), *(_streaks(volume, head) or _contrast(head))]
    if not BRAIN_USUAL_HU[0] <= brain <= BRAIN_USUAL_HU[1]:
        low, high = BRAIN_USUAL_HU
        cautions.append(f"the brain reads {brain:.0f} HU at its median, usual is {low:.0f} to {high:.0f}")
    return Quality(None, tuple(cautions))


def _wrong_units(head: Head) -> str | None:
    """What cannot be in Hounsfield units. Air is judged by its most frequent value."""
    dark = head.hu[head.hu < DARK_HU]
    if dark.size < LEAST_AIR * head.hu.size:
        return "nothing in the field of view reads as air"
    measured = dark[dark > NOT_MEASURED_HU]
    if measured.size >= LEAST_AIR * head.hu.size:
        edges = np.arange(NOT_MEASURED_HU, DARK_HU + 10, 10)
        air = float(edges[np.histogram(measured, edges)[0].argmax()] + 5)
        if not AIR_HU[0] <= air <= AIR_HU[1]:
            return f"air reads {air:.0f}, not -1000"
    brain = float(np.median(head.hu[head.deep]))
    if not BRAIN_POSSIBLE_HU[0] <= brain <= BRAIN_POSSIBLE_HU[1]:
        return f"the inside of the skull reads {brain:.0f}"
    return None


def _coverage(head: Head) -> Iterator[str]:
    sections = head.cavity.sum(axis=(1, 2)) * (head.spacing_mm[1] * head.spacing_mm[2] / 100)
    planes = np.flatnonzero(sections)
    scanned = len(planes) * head.spacing_mm[0]
    if sections[-1] > TOP_CM2:
        radius = np.sqrt(sections.max() / np.pi)
        missing = 10 * (radius - np.sqrt(max(radius**2 - sections[-1] / np.pi, 0)))
        yield f"the brain is cut off at the top: some {missing:.0f} mm or more of it were not scanned"
    if planes[0] == 0:
        yield f"the brain is cut off at the bottom: only {scanned:.0f} mm of it were scanned"
    elif planes[0] * head.spacing_mm[0] < BELOW_MM:
        below = planes[0] * head.spacing_mm[0]
        yield f"the posterior fossa may be cut off: the scan reaches {below:.0f} mm below the closed skull"
    if (head.cavity & head.cut).any():
        yield "the head is cut off at the edge of the field of view"


def _streaks(volume: Volume, head: Head) -> tuple[str, ...]:
    streaks = _ml_within(STREAK_HU, head)
    if streaks <= STREAK_ML:
        return ()
    if float((volume.voxels > METAL_HU).sum()) * volume.voxel_ml > METAL_ML:
        return (
            f"metal: its streaks may hide blood or look like it ({streaks:.0f} ml of the brain are dark with them)",
        )
    return (f"streaks or noise: {streaks:.0f} ml inside the skull are darker than any brain",)


def _contrast(head: Head) -> tuple[str, ...]:
    """Not asked where there are streaks, which are as bright as vessels."""
    vessels = _ml_within(VESSEL_HU, head)
    if vessels <= VESSEL_ML:
        return ()
    return (f"contrast: vessels may look like blood ({vessels:.0f} ml inside the brain read 100 to 300 HU)",)


def _ml_within(hu: tuple[float, float], head: Head) -> float:
    inside = head.hu[head.deep]
    return float(((inside > hu[0]) & (inside < hu[1])).sum()) * head.voxel_ml
