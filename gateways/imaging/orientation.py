"""How a stored slice is turned so that it is seen as radiologists see it, and which way its edges face then."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateways.imaging.frames import Vector

_TOWARDS: Final = ("L", "R"), ("P", "A"), ("H", "F")
"""Letters for the positive and the negative direction of x, y and z in patient coordinates (LPS)."""


@dataclass(frozen=True)
class Edges:
    """The direction of the patient at each edge of a picture: R, L, A, P, H or F, the nearest one."""

    left: str
    right: str
    top: str
    bottom: str


@dataclass(frozen=True)
class Turn:
    """Transposed first, then mirrored.

    Axial slices: the patient's right on the viewer's left, anterior up. Coronal ones: the right on the left, the head
    up. Sagittal ones: anterior on the left, the head up.
    """

    transposed: bool
    rows_mirrored: bool
    columns_mirrored: bool
    edges: Edges
    in_order: bool
    """Whether stored planes, which ascend along their normal, already stand in the order they are scrolled through.

    That is from the head to the feet, in coronal stacks from front to back, in sagittal ones from right to left.
    """

    def apply(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A view of a plane [row, column] as it is to be seen."""
        turned = plane.T if self.transposed else plane
        return turned[:: -1 if self.rows_mirrored else 1, :: -1 if self.columns_mirrored else 1]


def turn(orientation: tuple[float, ...]) -> Turn:
    """The turn for an Image Orientation (Patient) that spans a plane (DICOM PS3.3, C.7.6.2.1.1)."""
    across, down = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(across, down)
    # Columns run along the earlier of the patient's axes: to the left, else to the back; rows along the later one.
    transposed = _axis(across) > _axis(down)
    if transposed:
        across, down = down, across
    columns_mirrored = bool(across[_axis(across)] < 0)
    if columns_mirrored:
        across = -across
    # Rows run to the back in axial planes and to the feet, against z, in the others.
    rows_mirrored = bool((down[_axis(down)] < 0) != (_axis(down) == 2))
    if rows_mirrored:
        down = -down
    edges = Edges(_letter(-across), _letter(across), _letter(-down), _letter(down))
    along = _axis(normal)
    return Turn(transposed, rows_mirrored, columns_mirrored, edges, bool((normal[along] > 0) != (along == 2)))


def _axis(direction: Vector) -> int:
    return int(np.abs(direction).argmax())


def _letter(direction: Vector) -> str:
    axis = _axis(direction)
    return _TOWARDS[axis][0 if direction[axis] > 0 else 1]
