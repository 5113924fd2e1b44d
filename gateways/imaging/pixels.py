"""Pixel data to Hounsfield units (DICOM PS3.3, C.7.6.3 and C.11.1).

The photometric interpretation plays no part: MONOCHROME1 says how to display, and the rescale gives Hounsfield units
from the stored values either way.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

from gateways.imaging.frames import Frame
from schemas.failures import Unreadable

AIR_HU: Final = -1024
"""What lies outside the reconstruction circle, and the least value of a volume."""


def stored_values(ds: Dataset, frame: int | None = None) -> NDArray[np.int32]:
    """Stored pixel values, [frame, row, column], decompressed, without the bits beyond Bits Stored.

    Of all frames, or of the one with this index alone.

    Every transfer syntax pydicom and its plugins decode. Raises :class:`schemas.failures.Unreadable`.
    """
    if "PixelData" not in ds:
        raise Unreadable("an image has no pixel data")
    if int(ds.get("SamplesPerPixel") or 1) != 1:
        raise Unreadable("an image is in colour: it is a picture, not a measurement")
    syntax = ds.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise Unreadable("an image does not say its transfer syntax")
    try:
        raw = pixel_array(ds, raw=True, index=frame)
    except Exception as error:  # a dozen decoders, each with errors of its own, at the edge to their code
        raise Unreadable(
            f"pixel data cannot be decoded: {type(error).__name__}, transfer syntax {syntax.name}"
        ) from error
    values = _significant(raw, ds)
    return values.reshape(-1, *values.shape[-2:])


def _significant(raw: NDArray[Any], ds: Dataset) -> NDArray[np.int32]:
    """The stored bits only, sign-extended: overlays and garbage live above them.

    A CT image's High Bit is one less than Bits Stored (PS3.3, C.8.2.1.1); decoders would cut off anything higher.
    """
    stored, high = int(ds.BitsStored), int(ds.HighBit)
    if not 1 <= stored <= int(ds.BitsAllocated) <= 16 or high != stored - 1:
        raise Unreadable(f"no CT image: {ds.BitsAllocated} bits allocated, {stored} stored, high bit {high}")
    values = raw.astype(np.int32)
    values &= (1 << stored) - 1
    if int(ds.PixelRepresentation) == 1:
        sign = 1 << (stored - 1)
        values = (values ^ sign) - sign
    return values


def hounsfield(values: NDArray[np.int32], frame: Frame, ds: Dataset) -> NDArray[np.int16]:
    """One frame in Hounsfield units, [row, column]; padding becomes air."""
    scaled = values * frame.slope + frame.intercept if frame.slope != 1 else values + frame.intercept
    padding = _padding(ds)
    if padding is not None:
        low, high = padding
        scaled = np.where((values >= low) & (values <= high), AIR_HU, scaled)
    bounded: NDArray[np.int16] = np.clip(np.rint(scaled), AIR_HU, np.iinfo(np.int16).max).astype(np.int16)
    return bounded


def _padding(ds: Dataset) -> tuple[int, int] | None:
    """Least and greatest stored value that mean "no image here" (PS3.3, C.7.5.1.1.2)."""
    value, limit = ds.get("PixelPaddingValue"), ds.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    other = limit if isinstance(limit, int) else value
    return min(value, other), max(value, other)
