from pathlib import Path

import pytest

from gateways.delivery import writer
from gateways.pacs.settings import PacsSettings
from sinsok import settings, wiring
from sinsok.stack.lag import GROUPS, reads
from sinsok.stack.processes import HOPS, PROCESSES
from streams.faust_app import app_id
from streams.hop import StatefulHop, StatelessHop
from streams.pipeline import pipeline
from streams.worker import topics_of
from tests.unit.streams.examples import FakeInference

CONFIGURATION = settings.load({"SINSOK_CONFIG": str(Path(__file__).parents[3] / "sinsok.toml")})


def test_every_hop_of_the_pipeline_has_a_process() -> None:
    hops = pipeline(CONFIGURATION.rules, FakeInference())
    assert tuple(hop.name for hop in hops if isinstance(hop, StatelessHop | StatefulHop)) == HOPS
    assert {name: ("streams", "--hop", name.removeprefix("streams-")) for name in GROUPS}.items() <= PROCESSES.items()


def test_lag_is_asked_of_what_each_hop_reads() -> None:
    hops = pipeline(CONFIGURATION.rules, FakeInference())
    read = {app_id(hop.name): hop.reads for hop in hops if isinstance(hop, StatelessHop | StatefulHop)}
    assert read == reads(CONFIGURATION.sites)
    assert set(GROUPS.values()) == set(read)


def test_every_hop_says_which_topics_it_writes() -> None:
    hops = {hop.name: hop for hop in pipeline(CONFIGURATION.rules, FakeInference())}
    stateful = hops["alert"]
    assert isinstance(stateful, StatefulHop)
    needed = {topic.name for topic in topics_of(stateful)}
    assert {"triage.results", "triage.deadlines", "sinsok-alert-alerts-changelog"} <= needed
    assert {f"alerts.{site}" for site in CONFIGURATION.rules.names} <= needed
    stateless = hops["infer"]
    assert isinstance(stateless, StatelessHop)
    assert {topic.name for topic in topics_of(stateless)} == {"triage.studies", "triage.results", "triage.steps"}


def test_the_wiring_gives_the_hop_that_was_asked_for() -> None:
    assert wiring.stream_hop(CONFIGURATION, "alert", FakeInference()).name == "alert"


def test_only_hops_that_ask_models_are_given_the_time_of_a_reading() -> None:
    shortest = CONFIGURATION.streams.stalled_after_s
    assert wiring.stream_settings(CONFIGURATION, "alert").stalled_after_s == shortest
    confirming = wiring.stream_settings(CONFIGURATION, "confirm")
    assert confirming.stalled_after_s > CONFIGURATION.triton.routine_timeout_s
    assert confirming.rebalance_timeout_s > CONFIGURATION.triton.routine_timeout_s


def test_the_writer_answers_to_every_name_that_it_asks_under(monkeypatch: pytest.MonkeyPatch) -> None:
    suwon = CONFIGURATION.sites["suwon"].model_copy(update={"pacs": PacsSettings(calling_ae="SUWON_SINSOK")})
    configured = CONFIGURATION.model_copy(update={"sites": {**CONFIGURATION.sites, "suwon": suwon}})
    given: list[object] = []
    monkeypatch.setattr(writer, "ResultWriter", lambda *arguments: given.extend(arguments))
    monkeypatch.setattr(wiring, "_run", lambda *_: None)
    wiring.run_pacs_writer(configured)
    assert given[-1] == {"SUWON_SINSOK", "SINSOK"}


def test_only_hops_that_ask_models_have_some() -> None:
    hops = pipeline(CONFIGURATION.rules, FakeInference())
    asking = {hop.name for hop in hops if isinstance(hop, StatelessHop)}
    for name in HOPS:
        assert isinstance(wiring.models_for(CONFIGURATION, name)[0], wiring.NoModels) == (name not in asking)
