"""The label map of a reading, slice by slice of the source: which planes show a slice, which label is which finding.

Its archive holds ``labels`` [z, y, x], ``affine`` and ``sop_uids``, and may hold ``frames`` and ``probability``. Newer
ones hold the smallest box of ``labels`` with all that is marked as well: ``box_labels``, ``box_origin`` and ``shape``
(:func:`gateways.inference.triton.label_map_archive`).
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gateways.imaging.volume import SliceName
from gateways.pacs.objects.sources import SourceSeries
from schemas.base import ObjectRef
from schemas.events import Finding
from schemas.failures import Unreadable

_TOUCHING: Final = np.ones((3, 3, 3))
_SAME_VOLUME_ML: Final = 0.002
"""Volumes of findings are rounded to a microlitre."""


@dataclass(frozen=True)
class LabelMap:
    """What a model marked, on the planes of its volume."""

    labels: NDArray[np.uint8]
    """Of the box that was read; all around it is unmarked."""
    origin: tuple[int, int, int]
    """Where in the volume the box begins, z, y, x."""
    shape: tuple[int, int]
    """Rows and columns of a whole plane."""
    affine: NDArray[np.float64]
    """4x4, voxel index (x, y, z, 1) to patient coordinates (LPS, mm)."""
    planes: dict[SliceName, list[int]]
    """The planes that show a slice, the nearest to it first, slices ascending; planes without a slice are in none."""
    probability: NDArray[np.uint8] | None
    """Of the whole volume."""

    @property
    def spacing_mm(self) -> float:
        """From one plane to the next, along their normal."""
        normal = np.cross(self.affine[:3, 0], self.affine[:3, 1])
        return float(abs(self.affine[:3, 2] @ normal) / np.linalg.norm(normal))

    def slice_labels(self, name: SliceName) -> NDArray[np.uint8]:
        """The labels [y, x] on a slice. Where a thick slice stands on several planes, the nearest has the word."""
        first, *others = self.planes[name]
        shown = self._boxed(first)
        for z in others:
            shown = np.where(shown > 0, shown, self._boxed(z))
        whole = np.zeros(self.shape, np.uint8)
        _, top, left = self.origin
        whole[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
        return whole

    def _boxed(self, z: int) -> NDArray[np.uint8]:
        """The part of a plane that lies in the box."""
        plane: NDArray[np.uint8] = self.labels[z - self.origin[0]]
        return plane

    def slice_probability(self, name: SliceName) -> NDArray[np.uint8] | None:
        """Probabilities [y, x] on a slice, 255 for 1; None where the model gave none."""
        if self.probability is None:
            return None
        strongest: NDArray[np.uint8] = self.probability[self.planes[name]].max(axis=0)
        return strongest

    def marked(self, wanted: Iterable[int]) -> list[SliceName]:
        """The slices that show any of these labels, ascending."""
        labels = list(wanted)
        return [
            name
            for name, planes in self.planes.items()
            if any((self._boxed(z) == label).any() for z in planes for label in labels)
        ]

    def around(self, finding: Finding) -> set[SliceName]:
        """The slices a finding's box reaches."""
        reached = self._box(finding)[0]
        return {name for name, planes in self.planes.items() if any(reached.start <= z < reached.stop for z in planes)}

    def label_of(self, finding: Finding) -> int | None:
        """The label of a finding: that of the piece with its place and its volume. None where there is no such piece.

        The archive does not name its labels. A finding was measured from a connected piece of one label
        (:func:`gateways.imaging.lesions.lesions`), so the piece is still there to be found.
        """
        box = tuple(
            slice(max(side.start - start, 0), max(side.stop - start, 0))
            for side, start in zip(self._box(finding), self.origin, strict=True)
        )
        acquired = np.zeros(len(self.labels), bool)
        acquired[[z - self.origin[0] for planes in self.planes.values() for z in planes]] = True
        inside = self.labels[box] * acquired[box[0]][:, None, None]
        present = np.flatnonzero(np.bincount(inside.ravel(), minlength=2)[1:]) + 1
        if len(present) < 2:
            return int(present[0]) if len(present) else None
        return min((self._distance(finding, inside == label, box), int(label)) for label in present)[1]

    def _box(self, finding: Finding) -> tuple[slice, slice, slice]:
        """The voxels [z, y, x] around a finding's box."""
        corners = np.array([[side[axis] for side in finding.box_mm] for axis in range(3)])
        points = np.stack(np.meshgrid(*corners), axis=-1).reshape(-1, 3) - self.affine[:3, 3]
        indices = np.linalg.solve(self.affine[:3, :3], points.T)[::-1]
        low, high = np.floor(indices.min(axis=1)).astype(int), np.ceil(indices.max(axis=1)).astype(int) + 1
        z, y, x = (slice(max(int(a), 0), max(int(b), 0)) for a, b in zip(low, high, strict=True))
        return z, y, x

    def _distance(self, finding: Finding, mask: NDArray[np.bool_], box: tuple[slice, ...]) -> tuple[bool, float]:
        """How far the nearest piece of the mask is from the finding; a piece of its volume comes before all others."""
        pieces = ndimage.label(mask, _TOUCHING)[0][mask] - 1
        voxels = np.bincount(pieces)
        volumes = voxels * abs(np.linalg.det(self.affine[:3, :3])) / 1000
        corner = np.array([side.start for side in box]) + self.origin
        # scipy's center_of_mass looks at the whole box for each piece.
        centres = np.stack([np.bincount(pieces, axis) for axis in mask.nonzero()], axis=1) / voxels[:, None] + corner
        places = centres[:, ::-1] @ self.affine[:3, :3].T + self.affine[:3, 3]
        away = np.linalg.norm(places - np.array(finding.centroid_mm), axis=1)
        other = np.abs(volumes - finding.volume_ml) > _SAME_VOLUME_ML
        return min((bool(differs), float(distance)) for differs, distance in zip(other, away, strict=True))


def read_label_map(series: SourceSeries, ref: ObjectRef, *, probability: bool) -> LabelMap:
    """The label map of a series, with the model's probabilities where they are wanted and there are any.

    Raises :class:`schemas.failures.Unavailable` where the store is away and :class:`schemas.failures.Unreadable` where
    the archive is gone or none.
    """
    try:
        with np.load(io.BytesIO(series.store.read(ref)), allow_pickle=False) as archive:
            # The archive inflates what is asked for, so ask for no more.
            boxed = "box_labels" in archive
            labels: NDArray[Any] = archive["box_labels" if boxed else "labels"]
            origin = tuple(archive["box_origin"].tolist()) if boxed else (0, 0, 0)
            shape = tuple(archive["shape"].tolist()) if boxed else labels.shape
            affine, sop_uids = archive["affine"].astype(float), archive["sop_uids"]
            numbers = archive.get("frames")
            shares = archive.get("probability") if probability else None
    except (ValueError, TypeError, KeyError, BadZipFile, EOFError, OSError) as error:
        raise Unreadable(f"a label map is no label map: {type(error).__name__}") from None
    whole = labels.ndim == len(origin) == len(shape) == 3 and all(
        start >= 0 and start + length <= size for start, length, size in zip(origin, labels.shape, shape, strict=True)
    )
    if labels.dtype != np.uint8 or not whole or affine.shape != (4, 4) or len(sop_uids) != shape[0]:
        raise Unreadable("a label map is no label map: its arrays do not fit each other")
    planes: dict[SliceName, list[int]] = {}
    for z, plane in enumerate(labels, start=origin[0]):
        sop_uid = str(sop_uids[z])
        # A plane that shows nothing needs no name, and its image need not be read for it.
        if sop_uid and plane.any():
            number = int(numbers[z]) if numbers is not None else _frame_number(series, sop_uid, affine, z)
            planes.setdefault(SliceName(sop_uid, number or None), []).append(z)
    for name, shown in planes.items():
        if len(shown) > 1:
            shown.sort(key=lambda z: (_away_mm(series, name, affine, z), z))
    return LabelMap(labels, (origin[0], origin[1], origin[2]), (shape[1], shape[2]), affine, planes, shares)


def _frame_number(series: SourceSeries, sop_uid: str, affine: NDArray[np.float64], z: int) -> int:
    """Which frame of a multi-frame instance stands on a plane: the nearest of the first acquisition; 0 for no frame."""
    listed = [one for one in series.frames(sop_uid) if one.position is not None and not one.localizer]
    if not listed or not listed[0].multi_frame:
        return 0
    return min((round(_off_mm(one.position, affine, z), 2), one.acquisition, one.index) for one in listed)[2] + 1


def _away_mm(series: SourceSeries, name: SliceName, affine: NDArray[np.float64], z: int) -> float:
    position = series.frame(name).position
    return 0.0 if position is None else _off_mm(position, affine, z)


def _off_mm(position: Any, affine: NDArray[np.float64], z: int) -> float:
    """From a position to a plane, along the planes' normal."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    return float(abs((position - affine[:3, 2] * z - affine[:3, 3]) @ normal) / np.linalg.norm(normal))
