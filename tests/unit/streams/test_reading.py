import asyncio
from typing import Any, NoReturn

import pytest

from schemas.events import Outcome, StudyTriaged
from schemas.failures import Unavailable, Unreadable
from streams.infer import infer
from streams.route import Gate, Route
from streams.site import SiteRules, Sites
from tests.unit.streams.examples import POLICY, FakeServer, finding, series
from tests.unit.streams.test_infer import assembled

FIRST, NEXT = Route(model="first"), Route(model="next")
GATED = Route(model="first", gate=Gate(model="gate@1", concept="99SINSOK:NOT_A_HEAD"))
FITS = "CT of HEAD, 36 slices every 5 mm"


def read(server: FakeServer, *routes: Route) -> StudyTriaged:
    sites = Sites({"suwon": SiteRules(routes=routes, alerts=POLICY)})
    [result] = asyncio.run(infer(sites, server, assembled(series())))
    return result


def score(value: float) -> dict[str, Any]:
    return {"scores": {"99SINSOK:NOT_A_HEAD": value}}


def test_the_next_route_reads_where_a_model_is_not_installed_and_all_is_said() -> None:
    result = read(FakeServer(next=()), FIRST, NEXT)
    [decision] = result.series
    assert (decision.model, decision.reason) == ("next@1", f"{FITS}; first@1 is not installed")
    assert result.reason == "next@1 reported nothing"


def test_a_confirming_model_of_a_route_that_was_passed_over_is_not_waited_for() -> None:
    result = read(FakeServer(next=(), five=()), Route(model="first", confirm="five@1"), NEXT)
    assert (result.final, result.unconfirmed) == (True, False)


def test_where_no_model_is_installed_the_study_failed() -> None:
    result = read(FakeServer(), FIRST, NEXT)
    assert result.outcome is Outcome.FAILED
    assert result.reason == "not read: first@1 is not installed; next@1 is not installed"


def test_a_model_that_is_there_and_fails_is_not_passed_over() -> None:
    server = FakeServer(first=Unreadable("an answer that breaks the contract"), next=())
    assert read(server, FIRST, NEXT).outcome is Outcome.FAILED


def test_a_model_that_is_there_and_breaks_the_contract_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(model: str, version: str) -> NoReturn:
        raise Unreadable(f"{model}@{version} breaks the contract")

    server = FakeServer(next=())
    monkeypatch.setattr(server, "identify", broken)
    result = read(server, FIRST, NEXT)
    assert (result.outcome, result.reason) == (Outcome.FAILED, "not read: first@1 breaks the contract")


def test_a_refused_reading_is_no_silent_negative() -> None:
    result = read(FakeServer(first={"refused": "no head in it", "findings": (finding(),)}), FIRST)
    assert (result.outcome, result.reason) == (Outcome.NOT_APPLICABLE, "first@1: no head in it")
    assert result.findings == ()
    assert result.series[0].reading is not None


def test_cautions_of_a_reading_without_findings_stay_visible() -> None:
    result = read(FakeServer(first={"cautions": ("metal",)}), FIRST)
    assert result.reason.endswith(" reported nothing; caution: metal")
    assert result.series[0].reading is not None
    assert result.series[0].reading.cautions == ("metal",)


def test_a_gate_refuses_what_it_scores_above_its_limit() -> None:
    server = FakeServer(gate=score(0.93), first=(finding(),))
    result = read(server, GATED)
    assert result.outcome is Outcome.NOT_APPLICABLE
    assert result.reason == "refused by gate@1: 99SINSOK:NOT_A_HEAD scores 0.93, more than 0.5"
    assert result.series[0].model is None
    assert [model for model, _, _ in server.asked] == ["gate"]


def test_a_gate_lets_pass_what_it_scores_at_its_limit_or_below() -> None:
    result = read(FakeServer(gate=score(0.5), first=(finding(),)), GATED)
    assert (result.outcome, result.series[0].reason) == (Outcome.FINDINGS, FITS)


@pytest.mark.parametrize(
    ("gate", "caution"),
    [
        (Unreadable("it breaks the contract"), "the gate gate@1 did not work: it breaks the contract"),
        ({"scores": {}}, "the gate gate@1 gave no score for 99SINSOK:NOT_A_HEAD"),
        (None, "the gate gate@1 is not installed"),
    ],
)
def test_a_broken_gate_hides_no_bleed(gate: Any, caution: str) -> None:
    server = FakeServer(first=(finding(),), **({} if gate is None else {"gate": gate}))
    result = read(server, GATED)
    assert result.outcome is Outcome.FINDINGS
    assert result.series[0].reason == f"{FITS}; caution: {caution}"


def test_a_gate_that_is_away_is_waited_for() -> None:
    with pytest.raises(Unavailable):
        read(FakeServer(gate=Unavailable("triton is away"), first=()), GATED)
