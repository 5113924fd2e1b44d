"""Whose turn it is, when, and when nobody is to be disturbed."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from schemas.events import Priority
from streams.on_call import Chain, Hours, OnCall, Paging

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")
HOLIDAY = date(2026, 3, 4)  # a Wednesday
DAY = {
    "name": "day",
    "begin": "08:00",
    "end": "18:00",
    "days": WEEKDAYS,
    "holidays": False,
    "steps": [["a"], ["b", "c"]],
}
NIGHT = {"name": "night", "begin": "18:00", "end": "08:00", "days": WEEKDAYS, "holidays": False, "steps": [["n"]]}
REST = {"name": "rest", "steps": [["r"], ["s"]]}


def paging(*chains: dict[str, Any], **changes: Any) -> Paging:
    return Paging.model_validate({"chains": chains or (DAY, NIGHT, REST), "holidays": [HOLIDAY], **changes})


def seoul(day: int, clock: str) -> datetime:
    """A day of March 2026, which begins on a Sunday, in UTC as all events have it."""
    hour, minute = clock.split(":")
    return datetime(2026, 3, day, int(hour), int(minute), tzinfo=ZoneInfo("Asia/Seoul")).astimezone(UTC)


@pytest.mark.parametrize(
    ("day", "clock", "chain"),
    [
        (2, "08:00", "day"),
        (2, "17:59", "day"),
        (2, "18:00", "night"),
        (2, "23:59", "night"),
        (3, "00:00", "night"),
        (3, "07:59", "night"),
        (3, "08:00", "day"),
        (2, "07:59", "rest"),  # the night before belongs to Sunday
        (7, "07:59", "night"),  # and this one to Friday
        (7, "08:00", "rest"),
        (4, "07:59", "night"),  # the night into a holiday is a common one
        (4, "08:00", "rest"),
        (4, "20:00", "rest"),
        (5, "03:00", "rest"),  # the night out of it is not
        (5, "08:00", "day"),
    ],
)
def test_hours_are_local_and_a_night_belongs_to_the_day_on_which_it_begins(day: int, clock: str, chain: str) -> None:
    now = paging().on_call(seoul(day, clock))
    assert now is not None
    assert (now.chain, now.step) == (chain, 0)


def test_a_chain_is_gone_through_step_by_step_and_begins_anew() -> None:
    noon = seoul(2, "12:00")
    asked = [paging().on_call(noon, "day", step) for step in range(4)]
    assert asked == [
        OnCall("day", 0, ("a",)),
        OnCall("day", 1, ("b", "c")),
        OnCall("day", 0, ("a",)),
        OnCall("day", 1, ("b", "c")),
    ]


def test_at_a_hand_over_the_new_shift_is_asked_from_its_beginning() -> None:
    assert paging().on_call(seoul(2, "18:00"), "day", 1) == OnCall("night", 0, ("n",))
    assert paging().on_call(seoul(7, "08:00"), "night", 5) == OnCall("rest", 0, ("r",))


def test_without_chains_nobody_is_on_call() -> None:
    assert Paging().on_call(seoul(2, "12:00")) is None


def test_a_chain_may_be_for_holidays_alone() -> None:
    holiday = {"name": "holiday", "days": [], "steps": [["h"]]}
    rules = paging(holiday, REST)
    assert [rules.on_call(seoul(day, "12:00")).chain for day in (3, 4, 5)] == ["rest", "holiday", "rest"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("chains", "gap"),
    [
        ([DAY], "on mon at 00:00"),
        ([DAY, NIGHT], "on mon at 00:00"),
        ([{**DAY, "days": [*WEEKDAYS, "sat", "sun"], "holidays": True}], "on mon at 00:00"),
        ([{**REST, "holidays": False}], "on mon, a holiday at 00:00"),
        ([{**REST, "days": [*WEEKDAYS, "sat"]}], "on sun at 00:00"),
        ([{**REST, "begin": "00:01"}], "on mon at 00:00"),
        # Each covers every common day and every row of holidays, and yet not the night out of a common day.
        (
            [
                {**REST, "holidays": False},
                {**REST, "name": "dark", "begin": "18:00", "end": "08:00", "days": []},
                {**REST, "name": "light", "begin": "08:00", "end": "18:00", "days": []},
            ],
            "on mon, a holiday at 00:00",
        ),
    ],
)
def test_an_hour_in_which_nobody_is_on_call_is_refused(chains: list[dict[str, Any]], gap: str) -> None:
    with pytest.raises(ValidationError, match=f"nobody is on call {gap}: add a chain without hours at the end"):
        paging(*chains)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"chains": [{**REST, "steps": []}]}, "chains.0.steps"),
        ({"chains": [{**REST, "steps": [[]]}]}, "chains.0.steps.0"),
        ({"chains": [{**REST, "days": ["someday"]}]}, "chains.0.days.0"),
        ({"chains": [{**REST, "begin": "07:00+09:00"}]}, "chains.0.begin"),
        ({"timezone": "Asia/Suwon"}, "timezone"),
        ({"deliver_within_s": {"stat": 0}}, "deliver_within_s.stat"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Paging.model_validate(changes)
    assert place in [".".join(map(str, fault["loc"])) for fault in refused.value.errors()]


def test_in_quiet_hours_only_what_is_critical_disturbs_anybody() -> None:
    tuesday = {"begin": "06:00", "end": "08:00", "days": ["tue"], "holidays": False}
    rules = paging(quiet=[{"begin": "22:00", "end": "07:00"}, tuesday])
    assert rules.quiet_until(seoul(3, "23:00"), Priority.STAT) is None
    assert rules.quiet_until(seoul(3, "12:00"), Priority.URGENT) is None
    assert rules.quiet_until(seoul(3, "22:00"), Priority.URGENT) == seoul(4, "07:00")
    assert rules.quiet_until(seoul(4, "06:59"), Priority.URGENT) == seoul(4, "07:00")
    assert rules.quiet_until(seoul(4, "07:00"), Priority.URGENT) is None
    assert rules.quiet_until(seoul(3, "06:30"), Priority.URGENT) == seoul(3, "08:00"), "the longer of two"
    monday = {"begin": "00:00", "end": "00:00", "days": ["mon"]}
    assert paging(quiet=[monday], critical=[]).quiet_until(seoul(2, "12:00"), Priority.STAT) == seoul(3, "00:00")
    everything = list(Priority)
    assert paging(quiet=[Hours()], critical=everything).quiet_until(seoul(3, "12:00"), Priority.ROUTINE) is None


@pytest.mark.parametrize(
    ("quiet", "critical"),
    [
        ([{}], ["stat"]),
        ([{"holidays": False}], ["stat"]),  # a site may have no holiday for months
        ([{"begin": "22:00", "end": "07:00"}, {"begin": "07:00", "end": "22:00"}], ["stat"]),
        ([{"begin": "18:00", "end": "08:00"}, {"days": ["sat", "sun"]}, {"begin": "06:00", "end": "19:00"}], ["stat"]),
        ([{"days": WEEKDAYS}, {"days": ["sat", "sun"]}], ["stat"]),
    ],
)
def test_quiet_hours_that_never_end_are_refused(quiet: list[dict[str, Any]], critical: list[str]) -> None:
    with pytest.raises(ValidationError, match="quiet: urgent, routine alerts would never page: these hours never end"):
        paging(quiet=quiet, critical=critical)
    assert paging(quiet=quiet, critical=["stat", "urgent", "routine"]).quiet
    assert paging(quiet=quiet[1:], critical=critical)


@pytest.mark.parametrize(
    "quiet",
    [
        [{"begin": "00:01", "end": "00:00"}],
        [{"days": [*WEEKDAYS, "sat"]}],
        [{"begin": "22:00", "end": "07:00"}, {"begin": "07:00", "end": "21:59"}],
        [{"begin": "22:00", "end": "07:00", "days": ["fri"]}, {"begin": "07:00", "end": "22:00"}],
    ],
)
def test_quiet_hours_that_end_are_the_sites_own_choice(quiet: list[dict[str, Any]]) -> None:
    assert paging(quiet=quiet).quiet


def test_two_chains_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two chains are called rest"):
        paging({**DAY, "name": "rest"}, REST)


@pytest.mark.parametrize(
    ("chains", "never"),
    [
        ([REST, DAY], "day"),
        ([DAY, {**DAY, "name": "other", "begin": "09:00", "end": "12:00"}, REST], "other"),
        ([DAY, NIGHT, {**REST, "days": ["sat", "sun"]}, {**REST, "name": "none", "days": [], "holidays": False}], None),
        ([REST, {**REST, "name": "holiday", "days": []}], "holiday"),
        ([{**REST, "name": "none", "days": [], "holidays": False}, REST], "none"),
    ],
)
def test_a_chain_that_is_never_asked_is_refused(chains: list[dict[str, Any]], never: str | None) -> None:
    with pytest.raises(ValidationError, match=f"chain {never} is never asked" if never else "nobody is on call"):
        paging(*chains)


@pytest.mark.parametrize(("clock", "fold"), [("00:30", 0), ("01:10", 0), ("01:10", 1), ("01:29", 1)])
def test_quiet_hours_end_later_than_now_also_where_clocks_are_put_back(clock: str, fold: int) -> None:
    rules = paging(timezone="Europe/Berlin", quiet=[{"begin": "22:00", "end": "02:30"}])
    hour, minute = (int(part) for part in clock.split(":"))
    now = datetime(2026, 10, 25, hour + 1, minute, fold=fold, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    until = rules.quiet_until(now, Priority.URGENT)
    assert until is not None
    assert until > now


def test_a_page_has_to_arrive_before_it_has_to_be_answered() -> None:
    noon = seoul(2, "12:00")
    rules = paging(deliver_within_s={"stat": 60, "urgent": 600}, answer_within_s={"stat": 30, "urgent": 7200})
    assert (rules.answer_by(noon, Priority.STAT) - noon).total_seconds() == 30
    assert rules.deliver_by(noon, Priority.STAT) == rules.answer_by(noon, Priority.STAT)
    assert (rules.deliver_by(noon, Priority.URGENT) - noon).total_seconds() == 600
    assert rules.answer_by(noon, Priority.ROUTINE) == rules.answer_by(noon, Priority.URGENT), "the longest that is set"


def test_a_chain_is_given_as_it_stands_in_the_configuration() -> None:
    chain = Chain.model_validate(DAY)
    assert chain.steps == (("a",), ("b", "c"))
