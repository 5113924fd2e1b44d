"""`sinsok topics`: how differences are told. The broker itself is asked in the integration tests."""

import json
from collections.abc import Iterable

import pytest

from gateways.kafka_topics import TopicDifference
from schemas.failures import Unavailable
from schemas.topics import Topic
from sinsok.commands import topics
from tests.unit.sinsok.commandline import sinsok


class Broker:
    """Finds what it is told to find, and notes what is changed."""

    def __init__(self) -> None:
        self.found: list[TopicDifference] = []
        self.others: frozenset[str] = frozenset()
        self.configured: list[str] = []

    def differences(self, bootstrap: str, declared: Iterable[Topic]) -> list[TopicDifference]:
        return self.found

    def create(self, bootstrap: str, declared: Iterable[Topic]) -> list[str]:
        created = [one.topic for one in self.found if one.what == "topic"]
        self.found = [one for one in self.found if one.what != "topic"]
        return created

    def configure(self, bootstrap: str, declared: Iterable[Topic]) -> None:
        self.configured = [topic.name for topic in declared]
        self.found = [one for one in self.found if one.what == "partitions"]

    def names(self, bootstrap: str) -> frozenset[str]:
        return frozenset({"dicom.series"}) | self.others


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    for name in ("differences", "create", "configure", "names"):
        monkeypatch.setattr(topics, name, getattr(broker, name))
    return broker


def test_all_as_declared(broker: Broker) -> None:
    answer = sinsok("topics")
    assert answer.code == 0
    told = {line.split()[1]: line.split()[0] for line in answer.out.splitlines()}
    assert set(told.values()) == {"ok"}
    assert {"dicom.series", "alerts.suwon", "sinsok-assemble-studies-changelog"} < told.keys()


def test_differences_are_told_with_what_to_do(broker: Broker) -> None:
    broker.found = [
        TopicDifference("dicom.series", "partitions", "12", "3"),
        TopicDifference("triage.results", "retention.ms", "7776000000", "1"),
        TopicDifference("alerts.suwon", "topic", "12 partitions", None),
    ]
    answer = sinsok("topics")
    assert answer.code == 1
    assert "has 3 partitions, not 12: never changed by sinsok" in answer.out
    assert "retention.ms is 1, not 7776000000: `sinsok topics --apply` sets it" in answer.out
    assert "missing: `sinsok topics --apply` creates it" in answer.out
    assert json.loads(sinsok("topics", "--json").out)["differences"] == [
        {"topic": "dicom.series", "what": "partitions", "declared": "12", "actual": "3"},
        {"topic": "triage.results", "what": "retention.ms", "declared": "7776000000", "actual": "1"},
        {"topic": "alerts.suwon", "what": "topic", "declared": "12 partitions", "actual": None},
    ]


def test_apply_mends_all_but_partitions(broker: Broker) -> None:
    broker.found = [
        TopicDifference("dicom.series", "partitions", "12", "3"),
        TopicDifference("triage.results", "retention.ms", "7776000000", "1"),
        TopicDifference("alerts.suwon", "topic", "12 partitions", None),
    ]
    answer = sinsok("topics", "--apply")
    assert answer.code == 1
    assert broker.configured == ["triage.results"]
    state = {line.split()[1]: line.split()[0] for line in answer.out.splitlines()}
    assert (state["dicom.series"], state["triage.results"], state["alerts.suwon"]) == ("differs", "ok", "created")


def test_topics_of_others_are_named_and_are_no_fault(broker: Broker) -> None:
    broker.others = frozenset({"payroll"})
    answer = sinsok("topics")
    assert answer.code == 0
    assert answer.out.splitlines()[-1].split() == ["other", "payroll", "not", "declared", "here,", "left", "alone"]
    assert json.loads(sinsok("topics", "--json").out)["others"] == ["payroll"]


def test_a_broker_that_is_away(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(bootstrap: str, declared: Iterable[Topic]) -> list[TopicDifference]:
        raise Unavailable(f"Kafka at {bootstrap} does not answer")

    monkeypatch.setattr(topics, "differences", away)
    answer = sinsok("topics")
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (1, "", 1)
