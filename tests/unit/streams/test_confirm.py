import asyncio

import pytest

from schemas.events import Outcome, Priority, Series, StudyTriaged
from schemas.failures import Unavailable, Unreadable
from streams import confirm as second
from streams.confirm import confirm
from streams.infer import failed, infer, waiting
from streams.route import Route
from streams.site import SiteRules, Sites
from tests.unit.streams.examples import POLICY, FakeServer, finding, received, series
from tests.unit.streams.test_infer import assembled

QUICK = Route(model="quick", confirm="five@1")
PLAIN = Route(model="plain")
CHEST = Route(model="chest", body_part=("CHEST",))
HEAD_AND_CHEST = (series(), series("2.25.11", body_part="CHEST"))


def sites(*routes: Route) -> Sites:
    return Sites({"suwon": SiteRules(routes=routes, alerts=POLICY)})


def both(
    server: FakeServer, *carried: Series, routes: tuple[Route, ...] = (QUICK, PLAIN, CHEST)
) -> tuple[StudyTriaged, StudyTriaged]:
    study = assembled(*(carried or (series(),)))
    [first] = asyncio.run(infer(sites(*routes), server, study))
    [last] = asyncio.run(confirm(sites(*routes), server, study))
    return first, last


def test_the_first_reading_is_unconfirmed_and_the_second_has_the_last_word() -> None:
    first, last = both(FakeServer(quick=(finding(20),), five=(finding(8),)))
    assert (first.final, first.unconfirmed, first.priority) == (False, True, Priority.STAT)
    assert first.reason.endswith("; five@1 has yet to confirm it")
    assert (last.final, last.unconfirmed, last.findings[0].volume_ml) == (True, False, 8)
    assert (first.revision, first.supersedes) == (last.revision, last.supersedes)
    assert first.series[0].model == "quick@1"
    assert (last.series[0].model, last.provenance and last.provenance.model) == ("five@1", "five")
    assert "read again after quick@1" in last.series[0].reason


def test_the_second_reading_takes_a_finding_back() -> None:
    _, last = both(FakeServer(quick=(finding(20),), five=()))
    assert (last.outcome, last.reason) == (Outcome.NO_FINDINGS, "five@1 reported nothing")


def test_the_two_results_are_two_events_though_they_say_the_same() -> None:
    first, last = both(FakeServer(quick=(), five=Unreadable("too large")))
    assert first.event_id != last.event_id
    same = last.model_dump(exclude={"event_id"})
    assert StudyTriaged.model_validate(same).event_id == last.event_id
    assert StudyTriaged.model_validate(same | {"unconfirmed": True}).event_id != last.event_id


def test_where_there_is_nothing_to_confirm_nothing_is_said_and_no_model_asked() -> None:
    server = FakeServer(plain=(), quick=(), five=())
    study = assembled(series())
    assert asyncio.run(confirm(sites(PLAIN), server, study)) == ()
    assert asyncio.run(confirm(sites(QUICK), server, assembled(series(body_part="CHEST")))) == ()
    assert asyncio.run(confirm(sites(QUICK), server, received())) == ()
    assert server.asked == []
    [result] = asyncio.run(infer(sites(PLAIN), server, study))
    assert (result.final, result.unconfirmed) == (True, False)


def test_the_other_series_are_read_as_before_and_in_their_places() -> None:
    server = FakeServer(quick=(), five=(), chest=())
    _, last = both(server, *reversed(HEAD_AND_CHEST))
    assert [one.model for one in last.series] == ["chest@1", "five@1"]
    assert server.asked[2:] == [("five", "2.25.10", False), ("chest", "2.25.11", False)]
    assert all(urgent for _, _, urgent in server.asked[:2])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Unreadable("an answer that breaks the contract"), "not confirmed: an answer that breaks the contract"),
        ({"refused": "no head"}, "not confirmed: five@1: no head"),
        (None, "not confirmed: five@1 is not installed"),
    ],
)
def test_without_a_second_reading_the_first_stands_and_says_so(answer: object, why: str) -> None:
    server = FakeServer(quick=(finding(20),), **({"five": answer} if answer else {}))
    _, last = both(server)
    assert (last.outcome, last.final, last.unconfirmed) == (Outcome.FINDINGS, True, False)
    assert last.reason.endswith(why)
    assert last.series[0].model == "quick@1"
    assert last.series[0].reason.endswith(why)


def test_what_the_first_model_could_not_read_the_second_may() -> None:
    first, last = both(FakeServer(quick=Unreadable("it died"), five=(finding(20),)))
    assert (first.outcome, first.final) == (Outcome.FAILED, False)
    assert last.outcome is Outcome.FINDINGS


def test_a_passing_failure_is_left_to_the_shell() -> None:
    server = FakeServer(quick=(), five=Unavailable("its queue is full"))
    with pytest.raises(Unavailable):
        asyncio.run(confirm(sites(QUICK), server, assembled(series())))


def test_it_is_silent_while_it_waits_and_when_an_event_is_buried() -> None:
    assert second.waiting(assembled(series()), Unavailable("away")) == ()
    assert second.failed(assembled(series())) == ()


def test_what_the_first_hop_says_instead_of_a_reading_hides_no_second_reading() -> None:
    """A confirmed result counts over an unconfirmed one; the last word of a buried study is final all the same."""
    [told] = waiting(sites(QUICK), assembled(series()), Unavailable("away"))
    assert (told.final, told.unconfirmed) == (False, True)
    [told] = failed(sites(QUICK), assembled(series()))
    assert (told.final, told.unconfirmed) == (True, True)
    [told] = waiting(sites(PLAIN), assembled(series()), Unavailable("away"))
    assert (told.final, told.unconfirmed) == (True, False)
