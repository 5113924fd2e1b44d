"""What a CT instance says about each of its frames: where it lies and how its numbers become Hounsfield units.

A CT Image has one frame with its attributes at the top level (DICOM PS3.3, A.3); an Enhanced CT Image has many, with
theirs in functional groups, shared or per frame (A.38, C.7.6.16). Both become the same list of :class:`Frame`.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from schemas.failures import Unreadable

HOUNSFIELD: Final = frozenset({"", "HU", "HU_MOD"})
"""Rescale Types that are Hounsfield units; a CT Image without one means them too (PS3.3, C.8.2.1)."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """One image of an instance. Positions and directions are patient coordinates (LPS, mm)."""

    index: int
    """Within the instance, from 0."""
    multi_frame: bool
    acquisition: int
    instance_number: int
    localizer: bool
    position: Vector | None
    """Centre of the first voxel (ImagePositionPatient); None where the frame lies nowhere."""
    orientation: tuple[float, ...] | None
    """Direction cosines along a row, then along a column (ImageOrientationPatient)."""
    pixel_spacing: tuple[float, float] | None
    """Millimetres between rows, between columns."""
    slope: float
    intercept: float
    rescale_type: str


def frames(ds: Dataset) -> list[Frame]:
    """The frames of a CT instance, in the order they are stored.

    Raises :class:`schemas.failures.Unreadable` where a frame does not say how its numbers become Hounsfield units.
    """
    per_frame = ds.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        count = int(ds.get("NumberOfFrames") or 1)
        if count != 1:
            raise Unreadable("a multi-frame instance has no per-frame functional groups: its frames lie nowhere")
        return [_frame(0, False, ds, [ds])]
    shared = ds.get("SharedFunctionalGroupsSequence") or []
    return [_frame(index, True, ds, [groups, *shared]) for index, groups in enumerate(per_frame)]


def _frame(index: int, multi_frame: bool, ds: Dataset, groups: list[Dataset]) -> Frame:
    def value(sequence: str, keyword: str) -> Any:
        """The value in the frame's own functional group, else in the shared one, else at the top level."""
        for group in groups:
            items = group.get(sequence)
            if items and items[0].get(keyword) is not None:
                return items[0].get(keyword)
        return ds.get(keyword)

    slope = value("PixelValueTransformationSequence", "RescaleSlope")
    intercept = value("PixelValueTransformationSequence", "RescaleIntercept")
    if slope is None or intercept is None:
        raise Unreadable("an image has no Rescale Slope and Intercept: its numbers are no Hounsfield units")
    position = _numbers(value("PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = _numbers(value("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    spacing = _numbers(value("PixelMeasuresSequence", "PixelSpacing"), 2)
    image_type = value("CTImageFrameTypeSequence", "FrameType") or ds.get("ImageType") or ()
    return Frame(
        index=index,
        multi_frame=multi_frame,
        acquisition=_whole(value("FrameContentSequence", "FrameAcquisitionNumber") or ds.get("AcquisitionNumber")),
        instance_number=_whole(ds.get("InstanceNumber")),
        localizer="LOCALIZER" in [str(part).upper() for part in image_type],
        position=None if position is None else np.array(position),
        orientation=orientation,
        pixel_spacing=None if spacing is None or min(spacing) <= 0 else (spacing[0], spacing[1]),
        slope=float(slope),
        intercept=float(intercept),
        rescale_type=str(value("PixelValueTransformationSequence", "RescaleType") or "").strip().upper(),
    )


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """A multi-valued decimal string as floats; None where it is absent, of another length or not finite."""
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) != count:
        return None
    numbers = tuple(float(part) for part in value)
    return numbers if np.isfinite(numbers).all() else None


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
