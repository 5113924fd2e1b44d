"""What a page needs to know of a series before any pixel of it, and the windows it is seen through."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateways.imaging.orientation import Edges


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


class Mark(NamedTuple):
    """Where a finding is to be seen."""

    key: int | None
    """The slice with most of it, by its index; None where it is not in this series."""
    label: int | None
    """How the label map marks it; None where it does not."""


@dataclass(frozen=True)
class Stack:
    """What a page needs to know of a series before any pixel of it."""

    labels: tuple[tuple[int, ...], ...]
    """What the label map marks, slice by slice: from the head to the feet (coronal: front to back, sagittal: right to
    left), one a position."""
    rows: int
    columns: int
    """Of a slice as it is shown, turned."""
    pixel_spacing_mm: tuple[float, float]
    """Between rows, between columns, as it is shown."""
    edges: Edges
    marks: tuple[Mark, ...]
    """One for each finding, in their order."""
    cautions: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many slices there are."""
        return len(self.labels)

    @property
    def aspect(self) -> float:
        """Height of a pixel, in widths."""
        return self.pixel_spacing_mm[0] / self.pixel_spacing_mm[1]

    def opening(self, finding: int | None = None) -> int:
        """The slice to open with: the key slice of this finding, else of the first that has one, else the middle."""
        asked = self.marks[finding : finding + 1] if finding is not None else ()
        keys = [mark.key for mark in (*asked, *self.marks) if mark.key is not None]
        return keys[0] if keys else self.count // 2

    def for_page(self) -> dict[str, Any]:
        """What static/viewer.js reads."""
        edges = self.edges
        return {
            "slices": self.count,
            "rows": self.rows,
            "columns": self.columns,
            "aspect": self.aspect,
            "edges": {"left": edges.left, "right": edges.right, "top": edges.top, "bottom": edges.bottom},
            "opening": self.opening(),
            "keys": [mark.key for mark in self.marks],
            "marked": [index for index, labels in enumerate(self.labels) if labels],
            "windows": [{"name": one.name, "width": one.width, "level": one.level} for one in WINDOWS.values()],
        }
