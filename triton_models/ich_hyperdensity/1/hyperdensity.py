"""Finds hyperdense blood inside the skull by rules: numpy and scipy, no weights.

Fresh blood is denser than brain (50 to 90 HU against 25 to 40). So are bone, its blurred edge, calcium, the falx and
the venous sinuses. The rules below keep what is dense and lies well inside the brain, is thick, and is no calcium.
They are written in millimetres, so slice thickness and pixel size may be what they are.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Voxels = NDArray[np.float32]
Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]

IN_PLANE_MM: Final = 1.0
THROUGH_PLANE_MM: Final = 2.5
"""Voxels are averaged up to about this size: less noise, less work, and no bleed that matters is smaller."""

BONE_HU: Final = 200.0
SKULL_GAP_MM: Final = 6.0
"""Openings of the skull up to twice this wide count as closed where a head has to be told from anything else."""
BASE_GAP_MM: Final = 12.0
"""The same at the skull base, once it is known to be a head."""
BRAIN_HU: Final = (5.0, 95.0)
CORE_MM: Final = 8.0
"""The brain's core is what lies deeper than this; it tells brain from orbit, neck and scalp."""
CORE_MIN_ML: Final = 150.0
"""A head has at least this much core."""
BRAIN_MEDIAN_HU: Final = (15.0, 46.0)

CALCIUM_HU: Final = 100.0
CALCIUM_SHARE: Final = 0.1
SPECK_ML: Final = 1.0
SPECK_HU: Final = 72.0
"""Something small that reaches this is calcium blurred by a thick slice: the pineal gland, the choroid plexus."""


class Rule(NamedTuple):
    """What blood at some depth must look like."""

    seed_hu: float
    """At least this dense after smoothing, over a disc of ``radius_mm``."""
    grow_hu: float
    """Denser neighbours than this belong to it too ..."""
    grow_mm: float
    """... this far."""
    bone_mm: float
    """Farther than this from any bone."""
    radius_mm: float
    min_ml: float


DEEP: Final = Rule(seed_hu=48.0, grow_hu=42.0, grow_mm=4.0, bone_mm=8.0, radius_mm=1.5, min_ml=0.4)
RULES: Final = (DEEP,)


def find(volume: NDArray[np.int16], spacing_mm: Spacing) -> tuple[NDArray[np.uint8], float]:
    """Label map and certainty of a head CT.

    ``volume`` is in Hounsfield units [z, y, x], ``spacing_mm`` its voxel size [z, y, x]. The label map has the same
    shape, 1 where blood was found. Raises ValueError where no brain is found: what nobody looked at must not pass for
    healthy.
    """
    steps = _steps(volume.shape, spacing_mm)
    coarse = _average(volume, steps)
    spacing = (spacing_mm[0] * steps[0], spacing_mm[1] * steps[1], spacing_mm[2] * steps[2])
    voxel_ml = spacing[0] * spacing[1] * spacing[2] / 1000
    labels = np.zeros(volume.shape, np.uint8)

    bone = coarse > BONE_HU
    smooth = ndimage.gaussian_filter(np.clip(coarse, -50, 200), [0, 1 / spacing[1], 1 / spacing[2]])
    depth = _depth(bone, spacing)
    brain = _brain(smooth, bone, depth, spacing, voxel_ml)
    if brain is None:
        raise ValueError("no brain is found in the volume: nothing was read")
    found = np.zeros_like(bone)
    score = 0.0
    for rule in RULES:
        for lesion in _lesions(smooth, depth, brain, rule, spacing, voxel_ml):
            found[lesion] = True
            contrast = float(smooth[lesion].mean() - np.median(smooth[brain]))
            score = max(score, certainty(len(lesion[0]) * voxel_ml, contrast))
    _paint(labels, found, steps)
    return labels, score


def certainty(volume_ml: float, contrast_hu: float) -> float:
    """How sure the rules are of one lesion, 0 to 1: a logistic in its size and contrast, chosen and not calibrated.

    0.5 at 0.5 ml and 16 HU above the brain around; a small faint spot comes near 0.2, a large dense one near 1.
    """
    return float(1 / (1 + np.exp(-(0.9 * np.log(max(volume_ml, 0.01) / 0.5) + 0.15 * (contrast_hu - 16)))))


def _steps(shape: tuple[int, ...], spacing: Spacing) -> tuple[int, int, int]:
    """How many voxels are averaged into one along each axis."""
    wanted = (THROUGH_PLANE_MM, IN_PLANE_MM, IN_PLANE_MM)
    z, y, x = (max(1, min(round(w / s), n)) for w, s, n in zip(wanted, spacing, shape, strict=True))
    return z, y, x


def _average(volume: NDArray[np.int16], steps: tuple[int, int, int]) -> Voxels:
    """Block averages; a remainder at the far edges is left out."""
    for axis, step in enumerate(steps):
        if step > 1:
            whole = volume.shape[axis] // step * step
            parts = [
                volume[tuple(slice(start, whole, step) if a == axis else slice(None) for a in range(3))]
                for start in range(step)
            ]
            volume = sum((part.astype(np.float32) for part in parts[1:]), parts[0].astype(np.float32)) / step
    return volume.astype(np.float32)


def _depth(bone: Mask, spacing: Spacing) -> Voxels:
    """Millimetres to the nearest bone in the slice; a slice without bone is infinitely deep."""
    depth = np.full(bone.shape, np.inf, np.float32)
    for plane, out in zip(bone, depth, strict=True):
        if plane.any():
            out[:] = ndimage.distance_transform_edt(~plane, sampling=spacing[1:])
    return depth


def _brain(smooth: Voxels, bone: Mask, depth: Voxels, spacing: Spacing, voxel_ml: float) -> Mask | None:
    """What lies within the skull, as one piece around the core of the brain; None where this is no head."""
    soft = (smooth > BRAIN_HU[0]) & (smooth < BRAIN_HU[1]) & ~bone
    deep = soft & (depth > CORE_MM)
    pieces, _ = ndimage.label(deep & _enclosed(depth, SKULL_GAP_MM))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    core = pieces == sizes.argmax()
    if sizes.max() * voxel_ml < CORE_MIN_ML or not BRAIN_MEDIAN_HU[0] < np.median(smooth[core]) < BRAIN_MEDIAN_HU[1]:
        return None
    # It is a head: now what hangs together with that core may also lie where the skull base is wide open.
    inside = _enclosed(depth, BASE_GAP_MM)
    pieces, count = ndimage.label(deep & inside)
    belongs = np.zeros(count + 1, np.bool_)
    belongs[pieces[core]] = True
    belongs[0] = False
    brain: Mask = _dilate(belongs[pieces], CORE_MM, spacing) & inside & ~bone
    return brain


def _enclosed(depth: Voxels, gap_mm: float) -> Mask:
    """What bone encloses in the slice, openings up to twice ``gap_mm`` wide taken as closed."""
    inside = np.zeros(depth.shape, np.bool_)
    for near, out in zip(depth <= gap_mm, inside, strict=True):
        if near.any():
            out[:] = ndimage.binary_fill_holes(near)
    return inside


def _lesions(
    smooth: Voxels, depth: Voxels, brain: Mask, rule: Rule, spacing: Spacing, voxel_ml: float
) -> list[tuple[NDArray[np.intp], ...]]:
    """The places that keep the rule, each as the indices of its voxels."""
    allowed = brain & (_clearance(depth) > rule.bone_mm)
    disc = _disc(rule.radius_mm, spacing)
    seeds = ndimage.binary_opening(allowed & (smooth > rule.seed_hu) & (smooth < BRAIN_HU[1]), disc)
    if not seeds.any():
        return []
    grown = _dilate(seeds, rule.grow_mm, spacing) & allowed & (smooth > rule.grow_hu)
    pieces, _ = ndimage.label(grown, np.ones((3, 3, 3)))
    lesions = []
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[box] == number
        volume_ml = float(piece.sum()) * voxel_ml
        if volume_ml < rule.min_ml or not (piece & seeds[box]).any() or _calcified(smooth[box][piece], volume_ml):
            continue
        indices = np.nonzero(piece)
        lesions.append(tuple(axis + edge.start for axis, edge in zip(indices, box, strict=True)))
    return lesions


def _calcified(densities: Voxels, volume_ml: float) -> bool:
    speck = volume_ml < SPECK_ML and float(densities.max()) > SPECK_HU
    return speck or float((densities > CALCIUM_HU).mean()) > CALCIUM_SHARE


def _clearance(depth: Voxels) -> Voxels:
    """The least depth among a voxel and those above and below it: thick slices blur a sloping skull into the brain."""
    clearance = depth.copy()
    np.minimum(clearance[1:], depth[:-1], out=clearance[1:])
    np.minimum(clearance[:-1], depth[1:], out=clearance[:-1])
    return clearance


def _disc(radius_mm: float, spacing: Spacing) -> Mask:
    """A disc in the slice, [1, y, x]."""
    reach_y, reach_x = (int(radius_mm / step) for step in spacing[1:])
    y, x = np.ogrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    disc: Mask = (((y * spacing[1]) ** 2 + (x * spacing[2]) ** 2) <= radius_mm**2)[None]
    return disc


def _dilate(mask: Mask, radius_mm: float, spacing: Spacing) -> Mask:
    """Everything within a radius in the slice; through the slices by whole slices that fit the radius."""
    grown = np.zeros_like(mask)
    for plane, out in zip(mask, grown, strict=True):
        if plane.any():
            out[:] = ndimage.distance_transform_edt(~plane, sampling=spacing[1:]) <= radius_mm
    slices = int(radius_mm / spacing[0])
    return ndimage.binary_dilation(grown, np.ones((2 * slices + 1, 1, 1))) if slices else grown


def _paint(labels: NDArray[np.uint8], found: Mask, steps: tuple[int, int, int]) -> None:
    """Write the coarse mask into the label map, in place."""
    fine = found
    for axis, step in enumerate(steps):
        fine = fine.repeat(step, axis)
    z, y, x = fine.shape
    labels[:z, :y, :x] = fine
