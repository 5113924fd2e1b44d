"""A model's answer to findings in patient coordinates."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gateways.imaging.midline import Midsagittal
from gateways.imaging.volume import SliceName, Volume
from schemas.base import Millimetres
from schemas.codes import Code
from schemas.events import Finding
from schemas.models import ModelClass

MOST: Final = 20
"""So many findings are reported one by one; a person needs no more to be called."""
_TOUCHING: Final = np.ones((3, 3, 3))


class Report(NamedTuple):
    """Findings, largest first, and what to know before trusting them."""

    findings: tuple[Finding, ...]
    cautions: tuple[str, ...]
    midline_shift_mm: float | None = None
    """None where it was not measured (:func:`gateways.imaging.shift.midline_shift_mm`)."""


def lesions(
    volume: Volume,
    labels: NDArray[np.uint8],
    classes: Iterable[ModelClass],
    scores: NDArray[np.float32],
    series_uid: str,
    *,
    probability: NDArray[np.uint8] | None = None,
    agreement: NDArray[np.uint8] | None = None,
    middle: Midsagittal | None = None,
) -> Report:
    """Connected pieces (26 neighbours) of each class of a label map [z, y, x], measured on acquired slices only.

    A piece below its class's least volume is not reported. ``scores`` holds one probability a class, in table order; it
    is that of each piece where the model gives no ``probability`` of voxels. ``probability`` and ``agreement`` are
    [z, y, x], 255 for 1; a piece gets their means. Without the ``middle`` of the head no piece has a side.
    """
    found: list[Finding] = []
    boxes = ndimage.find_objects(labels)
    for row, score in zip(classes, scores, strict=True):
        box = boxes[row.label - 1] if row.label <= len(boxes) else None
        if box is None:
            continue
        acquired = volume.acquired[box[0]][:, None, None]
        pieces, _ = ndimage.label((labels[box] == row.label) & acquired, _TOUCHING)
        sizes = np.bincount(pieces.ravel())
        inner = ndimage.find_objects(pieces)
        for number, size in enumerate(sizes[1:], start=1):
            if size * volume.voxel_ml < row.min_volume_ml:
                continue
            local = np.argwhere(pieces[inner[number - 1]] == number)
            corner = [outer.start + inside.start for outer, inside in zip(box, inner[number - 1], strict=True)]
            indices = local + corner
            found.append(
                _finding(
                    volume,
                    indices,
                    row,
                    series_uid,
                    probability=float(score) if probability is None else _mean(probability, indices),
                    agreement=None if agreement is None else _mean(agreement, indices),
                    middle=middle,
                )
            )
    found.sort(key=lambda finding: (-finding.volume_ml, finding.centroid_mm))
    # Of each class: many pieces of one must not push out another.
    nth: Counter[Code] = Counter()
    listed: list[Finding] = []
    rest: list[Finding] = []
    for finding in found:
        nth[finding.code] += 1
        (listed if nth[finding.code] <= MOST else rest).append(finding)
    if not rest:
        return Report(tuple(listed), ())
    volume_ml = sum(finding.volume_ml for finding in rest)
    return Report(tuple(listed), (f"{len(rest)} smaller findings, {volume_ml:.1f} ml together, are not listed",))


def classification(
    volume: Volume, classes: Iterable[ModelClass], scores: NDArray[np.float32], series_uid: str
) -> Report:
    """What a classifier says of a whole series: it locates nothing, so the finding is as large as the volume."""
    z, y, x = volume.voxels.shape
    corners = np.array([[0, 0, 0], [z - 1, y - 1, x - 1]])
    low, high, centre = _extent(volume, corners)
    middle = int(volume.acquired.nonzero()[0][volume.acquired.sum() // 2])
    findings = [
        Finding(
            code=row.code,
            probability=float(score),
            volume_ml=0.0,
            centroid_mm=centre,
            box_mm=(low, high),
            series_uid=series_uid,
            key_instance_uid=_name(volume, middle).sop_uid,
            key_frame=_name(volume, middle).frame,
        )
        for row, score in zip(classes, scores, strict=True)
        if score >= row.min_score
    ]
    findings.sort(key=lambda finding: -finding.probability)
    return Report(tuple(findings), ("the model locates nothing: place and key slice are those of the whole series",))


def _finding(
    volume: Volume,
    indices: NDArray[np.intp],
    row: ModelClass,
    series_uid: str,
    *,
    probability: float,
    agreement: float | None,
    middle: Midsagittal | None,
) -> Finding:
    low, high, centroid = _extent(volume, indices)
    key = _name(volume, int(np.bincount(indices[:, 0]).argmax()))
    return Finding(
        code=row.code,
        probability=probability,
        volume_ml=round(len(indices) * volume.voxel_ml, 3),
        centroid_mm=centroid,
        box_mm=(low, high),
        series_uid=series_uid,
        key_instance_uid=key.sop_uid,
        key_frame=key.frame,
        side=middle.side(centroid) if middle else None,
        agreement=agreement,
    )


def _mean(shares: NDArray[np.uint8], indices: NDArray[np.intp]) -> float:
    """Mean over voxels of what is stored as 0 to 255."""
    return round(float(shares[tuple(indices.T)].mean()) / 255, 4)


def _extent(volume: Volume, indices: NDArray[np.intp]) -> tuple[Millimetres, Millimetres, Millimetres]:
    """Least and greatest corner of the voxels [z, y, x], their edges included, and their centroid (LPS, mm)."""
    centres = indices[:, ::-1] @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    edge = np.abs(volume.affine[:3, :3]).sum(axis=1) / 2
    return _point(centres.min(axis=0) - edge), _point(centres.max(axis=0) + edge), _point(centres.mean(axis=0))


def _point(position: NDArray[np.float64]) -> Millimetres:
    x, y, z = (round(float(value), 2) for value in position)
    return x, y, z


def _name(volume: Volume, plane: int) -> SliceName:
    name = volume.slices[plane]
    assert name is not None, "only acquired planes are measured"
    return name
