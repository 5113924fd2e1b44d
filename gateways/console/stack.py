"""What a page needs to know of a series before any pixel of it, and the windows it is seen through."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateways.imaging.orientation import Edges
from schemas.base import NOTICE


@dataclass(frozen=True)
class Window:
    """Which Hounsfield units are shown from black to white."""

    name: str
    width: int
    level: int

    def grey(self, hounsfield_units: NDArray[np.int16]) -> NDArray[np.uint8]:
        """8-bit greys: the linear function of PS3.3, C.11.2.1.2.1, rounded to the nearest (viewer.js does the same)."""
        share = (hounsfield_units.astype(np.float64) - (self.level - 0.5)) / (self.width - 1) + 0.5
        grey: NDArray[np.uint8] = np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)
        return grey


WINDOWS: Final = {
    one.name: one
    for one in (
        Window("brain", 80, 40),
        Window("subdural", 215, 75),
        Window("stroke", 40, 40),
        Window("bone", 2800, 600),
    )
}
"""The presets, in the order of the keys 1 to 4."""


@dataclass(frozen=True)
class Slice:
    """A slice as it is shown."""

    sop_uid: str
    frame: int | None
    """Frame number from 1 in a multi-frame instance, else None."""
    position_mm: tuple[float, float, float]
    """Centre of the first stored voxel in patient coordinates (LPS)."""
    labels: tuple[int, ...]
    """What the label map marks on it."""


@dataclass(frozen=True)
class Mark:
    """Where a finding is to be seen, by index of slices."""

    key: int | None
    """The slice with most of it; None where it is not in this series."""
    slices: tuple[int, ...]
    """Those in whose part of the finding's box the label map marks anything."""


@dataclass(frozen=True)
class Stack:
    """What a page needs to know of a series before any pixel of it."""

    digest: str
    """Of the manifest."""
    slices: tuple[Slice, ...]
    """From the head to the feet (coronal: front to back, sagittal: right to left), one a position."""
    rows: int
    columns: int
    """Of a slice as it is shown, turned."""
    pixel_spacing_mm: tuple[float, float]
    """Between rows, between columns, as it is shown."""
    edges: Edges
    findings: tuple[Mark, ...]
    """One for each finding, in their order."""
    cautions: tuple[str, ...]

    @property
    def aspect(self) -> float:
        """Height of a pixel, in widths."""
        return self.pixel_spacing_mm[0] / self.pixel_spacing_mm[1]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture in its true proportions, for the attributes of an ``img``."""
        return self.columns, round(self.rows * self.aspect)

    @property
    def opening(self) -> int:
        """The slice to open with: the first finding's key slice, else the middle one."""
        keys = [mark.key for mark in self.findings if mark.key is not None]
        return keys[0] if keys else len(self.slices) // 2

    def for_page(self) -> dict[str, Any]:
        """What static/viewer.js reads from ``data-stack``."""
        edges = self.edges
        return {
            "slices": len(self.slices),
            "rows": self.rows,
            "columns": self.columns,
            "aspect": self.aspect,
            "edges": {"left": edges.left, "right": edges.right, "top": edges.top, "bottom": edges.bottom},
            "opening": self.opening,
            "keys": list(dict.fromkeys(mark.key for mark in self.findings if mark.key is not None)),
            "marked": [index for index, one in enumerate(self.slices) if one.labels],
            "windows": [{"name": one.name, "width": one.width, "level": one.level} for one in WINDOWS.values()],
            "notice": NOTICE,
        }
