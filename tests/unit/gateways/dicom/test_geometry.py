from math import cos, radians, sin
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.dicom.geometry import FARTHEST_MM, MOST_GAPS, Plane, geometry

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def plane(z: float, *, y: float = 0.0, orientation: tuple[float, ...] = AXIAL, rows: int = 512) -> Plane:
    return Plane.model_validate(
        {
            "position_mm": (-125.0, y, z),
            "orientation": orientation,
            "rows": rows,
            "columns": 512,
            "pixel_spacing_mm": (0.5, 0.5),
        }
    )


def stack(*places: float) -> list[Plane]:
    return [plane(z) for z in places]


def test_no_planes_form_no_stack():
    assert geometry([]) is None


def test_planes_without_a_normal_form_no_stack():
    assert geometry([plane(0, orientation=(1, 0, 0, 1, 0, 0))]) is None


def test_one_slice_is_a_stack_that_is_not_contiguous():
    found = geometry([plane(7)])
    assert found is not None
    assert (found.slices, found.spacing_mm, found.extent_mm, found.tilt_deg) == (1, 0, 0, 0)
    assert not found.contiguous


def test_an_even_stack_is_contiguous_in_whatever_order_it_comes():
    planes = stack(*(5.0 * n for n in range(30)))
    Random(1).shuffle(planes)
    found = geometry(planes)
    assert found is not None
    assert (found.slices, found.spacing_mm, found.extent_mm) == (30, 5, 145)
    assert found.contiguous
    assert found.gaps == ()


def test_a_missing_slice_is_a_gap():
    found = geometry(stack(0, 5, 10, 20, 25, 30, 35))
    assert found is not None
    assert [(gap.after_mm, gap.before_mm, gap.missing) for gap in found.gaps] == [(10, 20, 1)]
    assert not found.contiguous


def test_a_large_hole_says_how_many_are_missing():
    found = geometry(stack(0, 5, 10, 15, 45, 50, 55, 60))
    assert found is not None
    assert [gap.missing for gap in found.gaps] == [5]


def test_two_holes_side_by_side_are_two_gaps():
    found = geometry(stack(0, 5, 10, 15, 25, 35, 40, 45, 50))
    assert found is not None
    assert [(gap.after_mm, gap.missing) for gap in found.gaps] == [(15, 1), (25, 1)]


def test_every_other_slice_missing_in_the_middle_is_a_gap():
    found = geometry(stack(0, 5, 10, 15, 25, 35, 45, 55, 60, 65, 70))
    assert found is not None
    assert sum(gap.missing for gap in found.gaps) == 4


def test_a_last_slice_too_far_away_is_a_gap():
    found = geometry(stack(0, 5, 10, 15, 20, 30))
    assert found is not None
    assert [gap.after_mm for gap in found.gaps] == [20]


def test_thin_slices_at_the_base_and_thick_ones_above_are_contiguous():
    found = geometry(stack(*(2.5 * n for n in range(10)), *(25 + 5 * n for n in range(15))))
    assert found is not None
    assert found.contiguous
    assert found.spacing_mm == 5


def test_a_hole_where_the_spacing_changes_is_a_gap():
    found = geometry(stack(*(2.5 * n for n in range(10)), *(40 + 5 * n for n in range(10))))
    assert found is not None
    assert [(gap.after_mm, gap.before_mm) for gap in found.gaps] == [(22.5, 40)]


def test_three_slices_with_a_hole():
    found = geometry(stack(0, 5, 15))
    assert found is not None
    assert [gap.missing for gap in found.gaps] == [1]


def test_positions_rounded_by_the_scanner_are_even():
    found = geometry(stack(*(round(4.83 * n, 1) for n in range(20))))
    assert found is not None
    assert found.contiguous


def test_a_slice_at_the_same_place_is_a_duplicate():
    found = geometry(stack(0, 5, 5.01, 10, 10))
    assert found is not None
    assert (found.slices, found.duplicate_positions, found.contiguous) == (3, 2, True)


def test_tilt_is_the_angle_between_the_stacking_and_the_normal():
    tilt = radians(17.5)
    tilted = (1.0, 0.0, 0.0, 0.0, cos(tilt), sin(tilt))
    found = geometry([plane(5.0 * n, orientation=tilted) for n in range(10)])
    assert found is not None
    assert found.tilt_deg == pytest.approx(17.5, abs=0.01)
    assert found.spacing_mm == pytest.approx(5 * cos(tilt), abs=0.001)
    assert found.contiguous


def test_an_oblique_stack_along_its_normal_has_no_tilt():
    angle = radians(30)
    normal = (0.0, -sin(angle), cos(angle))
    oblique = (1.0, 0.0, 0.0, 0.0, cos(angle), sin(angle))
    planes = [
        plane(0).model_copy(update={"position_mm": tuple(3 * n * c for c in normal), "orientation": oblique})
        for n in range(8)
    ]
    found = geometry(planes)
    assert found is not None
    assert found.tilt_deg == pytest.approx(0, abs=0.01)
    assert found.spacing_mm == pytest.approx(3)


def test_a_scout_among_the_slices_makes_the_stack_not_contiguous():
    scout = plane(100, orientation=(1, 0, 0, 0, 0, -1))
    found = geometry([*stack(0, 5, 10, 15), scout])
    assert found is not None
    assert (found.slices, found.contiguous, found.gaps) == (4, False, ())
    assert found.orientation == AXIAL


def test_another_matrix_among_the_slices_makes_the_stack_not_contiguous():
    found = geometry([*stack(0, 5, 10, 15), plane(20, rows=256)])
    assert found is not None
    assert (found.rows, found.contiguous) == (512, False)


def test_a_place_no_scanner_reaches_is_left_out():
    found = geometry(stack(0, 0.06, 0.12, 0.18, 1e308))
    assert found is not None
    assert (found.slices, found.gaps) == (4, ())


def test_gaps_too_many_to_list_are_summed_up_in_the_last():
    holes = 3 * MOST_GAPS
    places = [z for hole in range(holes + 1) for z in (20 * hole, 20 * hole + 5, 20 * hole + 10)]
    found = geometry(stack(*places[1:-1], -5, 0, 20 * holes + 10, 20 * holes + 15))
    assert found is not None
    assert len(found.gaps) == MOST_GAPS
    assert sum(gap.missing for gap in found.gaps) == holes
    assert found.gaps[-1].before_mm == 20 * holes


EXTREMES = st.sampled_from([0.0, -0.0, 5e-324, -FARTHEST_MM, FARTHEST_MM, 0.05, 1.0])
COORDINATE = st.one_of(EXTREMES, st.floats(-FARTHEST_MM, FARTHEST_MM))
COSINE = st.one_of(EXTREMES, st.floats(allow_nan=False, allow_infinity=False))
PLANE = st.builds(
    Plane,
    position_mm=st.tuples(COORDINATE, COORDINATE, COORDINATE),
    orientation=st.one_of(st.just(AXIAL), st.tuples(COSINE, COSINE, COSINE, COSINE, COSINE, COSINE)),
    rows=st.integers(0, 65535),
    columns=st.just(512),
    pixel_spacing_mm=st.tuples(COORDINATE, COORDINATE),
)


@given(st.lists(PLANE, max_size=30))
def test_whatever_planes_there_are_they_are_described(planes):
    found = geometry(planes)
    assert found is None or 1 <= found.slices + found.duplicate_positions <= len(planes)
