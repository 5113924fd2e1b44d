import pytest
from pydantic import ValidationError

from schemas.events import Gap
from streams.route import Gate, Route, fitting, route
from tests.unit.streams.examples import ROUTE, geometry, series

NO_TEXT = {"body_part": None, "study_description": None, "series_description": None}


def test_a_head_ct_goes_to_the_model() -> None:
    taken = route(series(), (ROUTE,))
    assert taken.route == ROUTE
    assert taken.reason == "CT of HEAD, 36 slices every 5 mm"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "localizer"),
        ({"sop_classes": ("1.2.840.10008.5.1.4.1.1.7",)}, "secondary capture"),
        ({"sop_classes": ("1.2.840.10008.5.1.4.1.1.7.4",)}, "secondary capture"),
        ({"body_part": "CHEST"}, "wrong body part: CHEST"),
        ({"modality": "MR"}, "no model for modality: MR"),
        ({"modality": None}, "no model for modality: unstated"),
        ({"geometry": None}, "no stack"),
        ({"geometry": geometry(slices=5)}, "too few slices: 5"),
        ({"geometry": geometry(spacing_mm=10.0)}, "too far apart: 10 mm"),
        ({"geometry": geometry(gaps=(Gap(after_mm=10, before_mm=40, missing=5),))}, "thick gap: 5 slices"),
        (NO_TEXT | {"geometry": geometry(extent_mm=400.0)}, "not the size of a head"),
        (NO_TEXT | {"series_description": "ABDOMEN 5MM"}, "names none that is read"),
    ],
)
def test_every_refusal_has_its_reason(changes: dict[str, object], reason: str) -> None:
    refused = route(series(**changes), (ROUTE,))
    assert refused.route is None
    assert reason in refused.reason


@pytest.mark.parametrize("text", ["Brain 5mm", "HEAD", "두부 CT"])
def test_the_description_stands_in_for_a_missing_body_part(text: str) -> None:
    assert route(series(**NO_TEXT | {"series_description": text}), (ROUTE,)).route == ROUTE


def test_a_series_without_any_text_is_taken_by_the_size_of_a_head() -> None:
    taken = route(series(**NO_TEXT), (ROUTE,))
    assert taken.route == ROUTE
    assert "the size of a head" in taken.reason


def test_a_site_may_refuse_series_that_state_no_body_part() -> None:
    strict = ROUTE.model_copy(update={"unstated_extent_mm": None})
    assert route(series(**NO_TEXT), (strict,)).reason == "body part unstated"


def test_the_first_route_that_fits_is_taken() -> None:
    bone = Route(model="bone", exclude_kernel="^H3")
    assert route(series(), (bone, ROUTE)).route == ROUTE
    assert route(series(), (bone,)).reason == "kernel not read: H31s"


def test_a_pattern_that_does_not_compile_is_refused() -> None:
    with pytest.raises(ValidationError, match="is no regular expression"):
        Route(model="ich", body_part_words="(")


def test_every_route_that_fits_is_known_in_order() -> None:
    bone, other = Route(model="bone", exclude_kernel="^H3"), Route(model="other", version="2")
    assert [taken.route for taken in fitting(series(), (ROUTE, bone, other))] == [ROUTE, other]
    assert fitting(series(image_type=("LOCALIZER",)), (ROUTE, other)) == ()


@pytest.mark.parametrize("wrong", ["five", "five@", "@1", "five@one", "five@1@2"])
def test_a_second_model_is_named_with_its_version(wrong: str) -> None:
    with pytest.raises(ValidationError):
        Route(model="ich", confirm=wrong)
    with pytest.raises(ValidationError):
        Gate(model=wrong, concept="SCT:1")


def test_a_route_knows_every_model_it_asks() -> None:
    route = Route(model="quick", confirm="five@2", gate=Gate(model="gate@3", concept="99SINSOK:NOT_A_HEAD"))
    assert route.models == (("quick", "1"), ("five", "2"), ("gate", "3"))
    assert route.readers == ("quick", "five")
