from schemas.asyncapi import OPERATIONS
from streams.hop import Gateway
from streams.pipeline import pipeline
from tests.unit.streams.examples import SITES, FakeServer

HOPS = {hop.name: hop for hop in pipeline(SITES, FakeServer())}


def test_the_two_readings_are_two_hops_on_the_same_topics() -> None:
    deciding = ["receive", "assemble", "infer", "confirm", "alert", "escalate"]
    assert list(HOPS) == [*deciding, "write", "notify", "console", "watch", "audit", "archive"]
    first, second = HOPS["infer"], HOPS["confirm"]
    assert not isinstance(first, Gateway)
    assert not isinstance(second, Gateway)
    assert (first.reads, first.writes) == (second.reads, second.writes)


def test_the_published_contract_names_the_same_hops() -> None:
    assert {operation.hop for operation in OPERATIONS} == set(HOPS)
