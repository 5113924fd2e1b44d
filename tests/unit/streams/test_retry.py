"""Pauses double up to a cap; failures are told without repeating what caused them."""

from itertools import islice

import pytest
from pydantic import TypeAdapter, ValidationError

from schemas.envelope import NotAnEvent
from schemas.failures import Unavailable
from streams.retry import Backoff, describe


def test_pauses_double_up_to_the_cap() -> None:
    assert list(islice(Backoff(first_s=0.5, cap_s=3), 6)) == [0.5, 1, 2, 3, 3, 3]


def test_a_first_pause_above_the_cap_is_capped() -> None:
    assert list(islice(Backoff(first_s=9, cap_s=3), 2)) == [3, 3]


def test_our_own_errors_are_told_in_one_line() -> None:
    assert describe(Unavailable("away\n since noon")) == "away since noon"
    assert describe(NotAnEvent("no ce_type header")) == "no ce_type header"


def test_the_text_of_a_foreign_error_is_not_told() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(int).validate_python("PHANTOM^IPH")
    told = describe(caught.value)
    assert "PHANTOM" not in told
    assert told.startswith("in ")
    assert " line " in told


def test_an_error_never_raised_has_no_place() -> None:
    assert describe(ValueError("PHANTOM^IPH")) == "no place known"
