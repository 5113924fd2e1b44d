"""A reading's label map, plane by plane, and the outlines of what it marks."""

import io
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from schemas.failures import Unreadable


@dataclass(frozen=True)
class LabelMap:
    """What :func:`gateways.inference.triton.label_map_archive` kept: the labels of the box that holds all marks."""

    labels: NDArray[np.uint8]
    origin: tuple[int, int, int]
    """Where in the volume the box begins, z, y, x."""
    shape: tuple[int, int, int]
    """Of the volume."""
    sop_uids: tuple[str, ...]
    """Of the image on each plane; empty where none was acquired."""

    def plane(self, z: int) -> NDArray[np.uint8]:
        """The labels [y, x] of a whole plane."""
        whole = np.zeros(self.shape[1:], np.uint8)
        depth, rows, columns = self.labels.shape
        start, top, left = self.origin
        if start <= z < start + depth:
            whole[top : top + rows, left : left + columns] = self.labels[z - start]
        return whole


def read_label_map(content: bytes) -> LabelMap:
    """Raises :class:`schemas.failures.Unreadable` where these bytes are no label map."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            # The archive inflates what is asked for: not `labels` of the whole volume, which readings of before have.
            boxed = "box_labels" in archive
            labels = archive["box_labels" if boxed else "labels"]
            origin = tuple(map(int, archive["box_origin"])) if boxed else (0, 0, 0)
            shape = tuple(map(int, archive["shape"])) if boxed else labels.shape
            sop_uids = tuple(map(str, archive["sop_uids"]))
    except (ValueError, TypeError, KeyError, BadZipFile, EOFError, OSError) as error:
        raise Unreadable(f"a label map is no label map: {type(error).__name__}") from None
    whole = labels.ndim == len(origin) == len(shape) == 3 and all(
        start >= 0 and start + length <= size for start, length, size in zip(origin, labels.shape, shape, strict=True)
    )
    if labels.dtype != np.uint8 or not whole or len(sop_uids) != shape[0]:
        raise Unreadable("a label map is no label map: its arrays do not fit each other")
    return LabelMap(labels, (origin[0], origin[1], origin[2]), (shape[0], shape[1], shape[2]), sop_uids)


def outline(mask: NDArray[np.bool_]) -> str:
    """The border of a mask [row, column] as SVG path data, exact to the pixel; empty where nothing is marked.

    A pixel covers the unit square from (column, row) on. Filled by either rule (``evenodd`` or ``nonzero``) the path
    covers the pixels of the mask and no others. A canvas takes it as ``new Path2D(data)``.
    """
    onward = _steps(mask)
    parts = []
    while onward:
        corner = start = next(iter(onward))
        parts.append(f"M{start[0]} {start[1]}")
        before: tuple[int, int] | None = None
        run = 0
        while True:
            ways = onward[corner]
            # Where two pixels touch at a corner the path keeps to the pixel it is on.
            way = next((one for one in ways if before and one == (-before[1], before[0])), ways[0])
            ways.remove(way)
            if not ways:
                del onward[corner]
            if before is not None and way != before:
                parts.append(_line(before, run))
                run = 0
            before, run = way, run + 1
            corner = corner[0] + way[0], corner[1] + way[1]
            if corner == start:
                break
        parts.append("z")
    return "".join(parts)


def _steps(mask: NDArray[np.bool_]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """The unit steps (dx, dy) along the border from each corner (x, y), what is marked on the right hand."""
    around = np.pad(mask, 1)
    inside = around[1:-1, 1:-1]
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # For each side of a marked pixel: its neighbour there, the corner where the step begins, the step.
    for neighbour, (x0, y0), step in (
        (around[:-2, 1:-1], (0, 0), (1, 0)),
        (around[1:-1, 2:], (1, 0), (0, 1)),
        (around[2:, 1:-1], (1, 1), (-1, 0)),
        (around[1:-1, :-2], (0, 1), (0, -1)),
    ):
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            steps.setdefault((x + x0, y + y0), []).append(step)
    return dict(sorted(steps.items(), key=lambda one: (one[0][1], one[0][0])))


def _line(step: tuple[int, int], length: int) -> str:
    dx, dy = step
    return f"h{dx * length}" if dx else f"v{dy * length}"
