"""`sinsok events`."""

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from gateways.kafka import Record
from schemas.failures import BrokerAway, Unavailable
from sinsok.commands import events
from tests.unit.schemas.examples import EXAMPLES
from tests.unit.sinsok.commandline import FAULT, NOT_WHOLE, dead_letter, lacking, record, sinsok

START_MS = 1_772_334_000_000
TRIAGED = EXAMPLES["sinsok.StudyTriaged.v1"]
RAISED = EXAMPLES["sinsok.AlertRaised.v1"]


class Broker:
    """Gives its records as :func:`gateways.kafka.read` does, topic after topic."""

    def __init__(self, *records: Record) -> None:
        self.records = list(records)
        self.asked: list[tuple[list[str], str, bool]] = []
        self.interrupted = False

    def names(self, bootstrap: str) -> frozenset[str]:
        return frozenset({"dicom.series", "triage.results", "alerts.suwon", "alerts.icheon", "dead.letters"})

    def read(self, bootstrap: str, topics: Iterable[str], start: str, follow: bool) -> Iterator[Record]:
        self.asked.append((list(topics), start, follow))
        yield from (one for one in self.records if one.topic in topics)
        if self.interrupted:
            raise KeyboardInterrupt


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr(events, "names", broker.names)
    monkeypatch.setattr(events, "read", broker.read)
    monkeypatch.setattr(events.history, "topics", lambda bootstrap, store: broker.names(bootstrap))
    monkeypatch.setattr(
        events.history, "read", lambda bootstrap, store, topics, *_: broker.read(bootstrap, topics, "history", False)
    )
    return broker


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_an_event_as_json(broker: Broker) -> None:
    broker.records = [record(TRIAGED, START_MS, offset=5, partition=3)]
    printed = sinsok("events", "triage.results", "--all", "--json")
    (line,) = lines(printed.out)
    assert printed.code == 0
    assert list(line) == ["topic", "partition", "offset", "timestamp", "key", "headers", "value"]
    assert line["topic"] == "triage.results"
    assert (line["partition"], line["offset"], line["timestamp"]) == (3, 5, START_MS)
    assert line["key"] == TRIAGED.key
    assert line["headers"]["ce_type"] == "sinsok.StudyTriaged.v1"
    assert line["value"] == json.loads(TRIAGED.model_dump_json())


@pytest.mark.parametrize("value", [b"\xff\x00", b"no JSON", b"[1]", b"[" * 100_000])
def test_what_is_no_json_object_stands_there_as_base64(broker: Broker, value: bytes) -> None:
    broker.records = [Record("dead.letters", 0, 0, START_MS, b"\xfe", [("dl_hop", b"\xfd")], value)]
    (line,) = lines(sinsok("events", "dead.letters", "--all", "--json").out)
    assert base64.b64decode(line["value"]["base64"]) == value
    assert base64.b64decode(line["key"]["base64"]) == b"\xfe"
    assert line["headers"] == {"dl_hop": "\\xfd"}


def test_a_record_without_key_and_value(broker: Broker) -> None:
    broker.records = [Record("dead.letters", 0, 0, START_MS, None, [], None)]
    (line,) = lines(sinsok("events", "dead.letters", "--all", "--json").out)
    assert (line["key"], line["value"]) == (None, None)


def test_topics_are_merged_in_the_order_of_time(broker: Broker) -> None:
    broker.records = [
        record(TRIAGED, START_MS + 20),
        record(RAISED, START_MS + 30),
        record(EXAMPLES["sinsok.SeriesReceived.v1"], START_MS + 10),
    ]
    printed = lines(sinsok("events", "triage.results", "alerts.*", "dicom.series", "--all", "--json").out)
    assert [line["topic"] for line in printed] == ["dicom.series", "triage.results", "alerts.suwon"]
    assert broker.asked == [(["triage.results", "alerts.icheon", "alerts.suwon", "dicom.series"], "history", False)]


def test_without_all_the_newest_of_each_topic(broker: Broker) -> None:
    results = [record(TRIAGED, START_MS + at, offset=at) for at in range(events.NEWEST + 7)]
    broker.records = [*reversed(results), record(RAISED, START_MS - 1000)]
    printed = lines(sinsok("events", "triage.results", "alerts.suwon", "--json").out)
    assert [line["timestamp"] for line in printed] == [START_MS - 1000, *(START_MS + at for at in range(7, 27))]


def test_following_starts_at_the_end_and_ends_quietly_with_ctrl_c(broker: Broker) -> None:
    broker.records = [record(TRIAGED, START_MS)]
    broker.interrupted = True
    printed = sinsok("events", "triage.results", "--follow", "--json")
    assert (printed.code, len(lines(printed.out)), printed.err) == (0, 1, "")
    sinsok("events", "triage.results", "--follow", "--all")
    assert broker.asked == [(["triage.results"], "end", True), (["triage.results"], "beginning", True)]


def test_one_study_of_many(broker: Broker) -> None:
    others = TRIAGED.model_copy(update={"study_uid": "2.25.11"})
    mentions = TRIAGED.model_copy(update={"study_uid": "2.25.2", "reason": "like 2.25.1"})
    broker.records = [record(one, START_MS) for one in (others, mentions, TRIAGED, RAISED)]
    printed = lines(sinsok("events", "triage.results", "alerts.suwon", "--all", "--study", "2.25.1", "--json").out)
    assert [line["value"]["study_uid"] for line in printed] == ["2.25.1", "2.25.1"]


@pytest.mark.parametrize("uid", ["1.2 '\"\\ 한", "é", "\udcff", "*"])
def test_a_uid_may_be_any_text(broker: Broker, uid: str) -> None:
    broker.records = [record(TRIAGED, START_MS)]
    if uid.isprintable():
        broker.records.append(record(TRIAGED.model_copy(update={"study_uid": uid}), START_MS))
    printed = sinsok("events", "triage.results", "--all", "--study", uid, "--json")
    assert (printed.code, len(lines(printed.out))) == (0, 1 if uid.isprintable() else 0)


def test_in_words(broker: Broker) -> None:
    broker.records = [record(TRIAGED, START_MS + 7), dead_letter(record(TRIAGED, 0), START_MS + 9)]
    printed = sinsok("events", "triage.results", "dead.letters").out.splitlines()
    assert printed[0].startswith(
        "2026-03-01 03:00:00.007 triage.results   StudyTriaged        suwon study 2.25.1 revision 1"
    )
    assert "findings, stat: Intracranial hemorrhage, 20.0 ml" in printed[0]
    assert "DeadLetter" in printed[1]
    assert "infer gave up after 3 attempts: ValueError: it was too much" in printed[1]


def test_in_words_nothing_steers_the_terminal(broker: Broker) -> None:
    broker.records = [
        record(TRIAGED.model_copy(update={"study_uid": "1.2\x1b[2J\n3"}), START_MS),
        Record("dead.letters", 0, 0, START_MS + 1, None, [("ce_type", b"\x1b[2J")], b"\x1b[2J"),
    ]
    printed = sinsok("events", "triage.results", "dead.letters").out
    assert "\x1b" not in printed
    assert len(printed.splitlines()) == 2
    assert "1.2\\x1b[2J\\n3" in printed


def test_an_unknown_topic_names_the_known_ones(broker: Broker) -> None:
    refused = sinsok("events", "triage.result")
    assert refused.code == 2
    assert refused.err.startswith("error: no topic 'triage.result' at 127.0.0.1:9092: the topics are alerts.icheon, ")
    assert len(refused.err.splitlines()) == 1
    assert sinsok("events", "pacs.*").code == 2
    assert sinsok("events").code == 2


def test_a_broker_that_is_away(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(bootstrap: str) -> frozenset[str]:
        raise BrokerAway(f"Kafka at {bootstrap} does not answer")

    monkeypatch.setattr(events, "names", away)
    refused = sinsok("events", "triage.results")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "error: Kafka at 127.0.0.1:9092 does not answer; `sinsok status` shows what runs\n"


def test_what_is_away_and_no_broker_is_not_among_what_runs(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(bootstrap: str, store: object) -> frozenset[str]:
        raise Unavailable("archive in x cannot be read: Permission denied")

    monkeypatch.setattr(events.history, "topics", away)
    refused = sinsok("events", "triage.results", "--all")
    assert (refused.code, refused.err) == (1, "error: archive in x cannot be read: Permission denied\n")


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_the_archive_lost_is_told_and_the_rest_is_printed(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    broker.records = [record(TRIAGED, START_MS)]
    broker.interrupted = interrupted
    whole = sinsok("events", "triage.results", "--all")
    monkeypatch.setattr(events.history, "read", lacking(events.history.read))
    printed = sinsok("events", "triage.results", "--all")
    assert (printed.code, printed.out) == (1, whole.out)
    fault, last = printed.err.splitlines()
    assert fault == FAULT
    assert last.startswith(f"error: {NOT_WHOLE}")
    assert sinsok("events", "triage.results").err == "", "without --all the archive is not read"
