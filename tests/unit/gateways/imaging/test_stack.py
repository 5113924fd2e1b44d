"""Slices of several spacings on one grid, so that volumes add up."""

from itertools import accumulate

import numpy as np
import pytest

from gateways.dicom.geometry import Plane, geometry
from gateways.imaging.stack import grid
from schemas.failures import Unreadable

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


SPACINGS = [(2.0, 5.0), (3.0, 7.0), (3.0, 8.0), (1.25, 5.0), (2.5, 5.0), (4.8, 5.0), (7.0, 7.5), (0.625, 8.0)]


def heights(*steps: float) -> list[float]:
    return list(accumulate(steps, initial=0.0))


def fit(zs: list[float]):
    return grid([np.array([0.0, 0.0, z]) for z in zs], AXIAL, (0.5, 0.5))


@pytest.mark.parametrize(("thin", "thick"), SPACINGS)
def test_a_head_taken_thin_below_and_thick_above_is_a_volume(thin: float, thick: float):
    zs = heights(*[thin] * 12, *[thick] * 18)
    planes = [
        Plane(position_mm=(0, 0, z), orientation=AXIAL, rows=2, columns=2, pixel_spacing_mm=(0.5, 0.5)) for z in zs
    ]
    seen = geometry(planes)
    assert seen is not None
    assert seen.contiguous
    fitted = fit(zs)
    top = fitted.affine @ (0, 0, len(fitted.planes) - 1, 1)
    assert top[2] == pytest.approx(zs[-1])
    assert fitted.cautions


@pytest.mark.parametrize(("thin", "thick"), [(2.0, 5.0), (3.0, 8.0), (1.25, 5.0)])
def test_what_spans_thin_and_thick_slices_keeps_its_volume(thin: float, thick: float):
    zs = np.array(heights(*[thin] * 12, *[thick] * 18))
    fitted = fit(list(zs))
    low, high = thin * 4, thin * 12 + thick * 9
    marked = (zs >= low) & (zs <= high)
    planes = sum(marked[index] for index in fitted.planes if index is not None)
    assert planes * fitted.spacing_mm[0] == pytest.approx(high - low + (thin + thick) / 2, rel=0.06)


@pytest.mark.parametrize(("thin", "thick"), SPACINGS)
def test_a_ball_in_thin_and_thick_slices_keeps_its_volume(thin: float, thick: float):
    radius, middle = 45.0, round(60 / thin) * thin
    zs = np.array(heights(*[thin] * round(60 / thin), *[thick] * round(60 / thick)))
    areas = np.pi * np.clip(radius**2 - (zs - middle) ** 2, 0, None)
    fitted = fit(list(zs))
    measured = sum(areas[index] for index in fitted.planes if index is not None) * fitted.spacing_mm[0]
    assert measured == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)


def test_slices_that_all_but_touch_do_not_blow_a_stack_up():
    with pytest.raises(Unreadable):
        fit(heights(*[0.02] * 4, *[5.0] * 20))


def test_slices_missing_among_two_spacings_are_said_and_stay_empty():
    fitted = fit(heights(*[2.0] * 10, *[5.0] * 6, 30.0, *[5.0] * 6))
    assert None in fitted.planes
    assert any("missing" in caution for caution in fitted.cautions)


def test_distances_nobody_chose_are_no_volume():
    with pytest.raises(Unreadable, match="unevenly spaced"):
        fit(heights(1.0, 3.3, 0.4, 7.7, 2.1, 5.9))
