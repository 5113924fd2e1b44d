"""Small valid series in milliseconds, for tests that care for the journey of a study and not for its picture."""

from typing import Final

import numpy as np
from pydicom.dataset import Dataset

from sinsok.phantom.dicom import SeriesHeader, ct_images
from sinsok.phantom.space import Grid

_HU: Final = 35.0


def small_series(
    study: str, series: int = 1, *, slices: int = 14, size: int = 64, body_part: str = "HEAD"
) -> tuple[Dataset, ...]:
    """CT slices of ``size`` pixels, 5 mm apart, in series number ``series`` of the study named ``study``.

    The same names give the same UIDs; series of one ``study`` share its Study Instance UID. No two slices of a
    series have the same pixels.
    """
    header = SeriesHeader(study, "small", 0, "CT", body_part, "CT", "5.0 H31s", series)
    grid = Grid.centred(slices, 5.0, size=size, pixel_mm=250 / size, middle_mm=(0.0, 0.0, 0.0))
    ramp = np.arange(slices, dtype=np.float32)[:, None, None]
    return tuple(ct_images(header, np.full(grid.shape, _HU, dtype=np.float32) + ramp, grid))
