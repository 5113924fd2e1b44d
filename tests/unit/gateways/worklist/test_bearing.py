"""What a result means for a worklist."""

import pytest

from gateways.worklist import bearing
from schemas.events import Outcome, Priority
from tests.unit.gateways.worklist.examples import finding, triaged

STAT = triaged(finding())
URGENT = triaged(finding(), priority=Priority.URGENT)
NOTHING = triaged(revision=2)


def is_told(result, told, before=None, *, unconfirmed=True):
    return bearing.is_told(result, told, before, unconfirmed=unconfirmed)


def test_what_was_never_raised_and_is_routine_is_not_told():
    assert not is_told(NOTHING, None)
    assert not is_told(NOTHING, Priority.ROUTINE)
    assert not is_told(triaged(finding(), priority=Priority.ROUTINE), None)


@pytest.mark.parametrize("told", [None, Priority.ROUTINE, Priority.URGENT, Priority.STAT])
def test_a_finding_that_is_as_urgent_or_more_is_told(told):
    assert is_told(STAT, told)
    assert bearing.moves(STAT, told, lower=True) is (told is not Priority.STAT)


def test_an_unconfirmed_result_is_told_where_the_site_does_not_wait():
    first = triaged(finding(), unconfirmed=True, final=False)
    assert is_told(first, None)
    assert not is_told(first, None, unconfirmed=False)


@pytest.mark.parametrize("result", [NOTHING, triaged(finding(), revision=2, priority=Priority.URGENT)])
def test_a_final_confirmed_reading_takes_back(result):
    assert is_told(result, Priority.STAT, STAT)
    assert bearing.moves(result, Priority.STAT, lower=True)
    assert not bearing.moves(result, Priority.STAT, lower=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"unconfirmed": True},
        {"final": False},
        {"outcome": Outcome.FAILED},
        {"outcome": Outcome.NOT_APPLICABLE},
    ],
    ids=str,
)
def test_nothing_else_takes_back(changes):
    assert not is_told(triaged(revision=2, **changes), Priority.STAT, STAT)


def test_a_lesser_finding_that_is_not_the_last_word_is_not_told():
    assert not is_told(triaged(finding(), priority=Priority.URGENT, final=False), Priority.STAT)


def test_a_finding_in_a_series_that_was_not_read_again_stands():
    elsewhere = triaged(finding(series_uid="2.25.999"))
    assert not is_told(NOTHING, Priority.STAT, elsewhere)
    assert is_told(NOTHING, Priority.STAT)


def test_what_the_ai_said_last_counts_and_not_what_stands_there():
    # It was taken back, and the order must not fall: the same finding again is a new one.
    again = triaged(finding(), revision=3, priority=Priority.URGENT, unconfirmed=True, final=False)
    assert is_told(again, Priority.STAT, NOTHING)
    assert not bearing.moves(again, Priority.STAT, lower=False)
    assert not is_told(triaged(revision=3), Priority.STAT, NOTHING)
    # The physician had ordered more than the AI asked for.
    assert is_told(triaged(finding(), revision=2, priority=Priority.URGENT, final=False), Priority.STAT, URGENT)
    assert not bearing.moves(URGENT, Priority.STAT, Priority.STAT, lower=True)


@pytest.mark.parametrize(
    ("result", "told", "ordered", "lower", "expected"),
    [
        (STAT, None, Priority.ROUTINE, True, Priority.STAT),
        (URGENT, None, Priority.STAT, True, Priority.STAT),
        (NOTHING, Priority.STAT, Priority.ROUTINE, True, Priority.ROUTINE),
        (NOTHING, Priority.STAT, Priority.URGENT, True, Priority.URGENT),
        (NOTHING, Priority.STAT, Priority.ROUTINE, False, Priority.STAT),
    ],
)
def test_a_priority_never_falls_below_what_a_physician_ordered(result, told, ordered, lower, expected):
    assert bearing.to_tell(result, told, ordered, lower=lower) is expected
