"""`sinsok dead-letters`."""

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from gateways import kafka
from gateways.archive import history
from gateways.kafka import Record
from gateways.letters.acts import Outbound
from schemas.base import Event
from schemas.envelope import encode
from schemas.failures import BrokerAway, Refused, Unavailable
from schemas.topics import topic_of
from sinsok import letters
from sinsok.commands import dead_letters
from tests.letters import LetterRack, letter
from tests.unit.schemas.examples import EXAMPLES
from tests.unit.sinsok.commandline import FAULT, NOT_WHOLE, Outcome, lacking, sinsok

TRIAGED = EXAMPLES["sinsok.StudyTriaged.v1"]


class Broker:
    """Gives its records as :func:`gateways.archive.history.read` does, and takes what is sent and published."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.rack = LetterRack()
        self.producer = object()

    def read(self, bootstrap: str, store: Any, topics: Iterable[str], *_: object) -> Iterator[Record]:
        chosen = list(topics)
        yield from [one for one in self.records if one.topic in chosen]

    def publish(self, producer: object, topic: str, event: Event) -> None:
        assert topic == topic_of(event) == "audit.acts"
        message = encode(event)
        self.records.append(Record(topic, 0, len(self.records), 0, message.key, message.headers, message.value))

    def post(self, bootstrap: str) -> Outbound:
        rack = self.rack
        rack.producer = self.producer  # type: ignore[attr-defined]
        return rack


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr(history, "read", broker.read)
    monkeypatch.setattr(kafka, "publish", broker.publish)
    monkeypatch.setattr(kafka, "producer", lambda bootstrap: broker.producer)
    monkeypatch.setattr(dead_letters, "Post", broker.post)
    monkeypatch.setattr("getpass.getuser", lambda: "operator")
    return broker


def run(*arguments: str) -> Outcome:
    return sinsok("dead-letters", *arguments)


def test_letters_by_cause_with_their_ids(broker: Broker) -> None:
    broker.records = [letter(offset=offset) for offset in range(15)]
    broker.records += [letter(TRIAGED, 2, partition=3, hop="alert", error="KeyError", message="no such row")]
    assert run("list").out.splitlines() == [
        "infer, NotAnEvent, from triage.studies: 15 letters, 2026-03-01 03:00:00 to 2026-03-01 03:00:00 UTC",
        "  no ce_type header",
        f"  {' '.join(f'0/{offset}' for offset in range(letters.NAMED))} and 3 more",
        "alert, KeyError, from triage.studies: 1 letter, 2026-03-01 03:00:00 UTC",
        "  no such row",
        "  3/2",
    ]


def test_letters_as_json(broker: Broker) -> None:
    broker.records = [letter(TRIAGED, 2, partition=3)]
    run("discard", "3/2", "--reason", "noise", "--by", "kim")
    assert run("list", "--json").out == ""
    (line,) = run("list", "--all", "--json").out.splitlines()
    found = json.loads(line)
    (only,) = found.pop("letters")
    (act,) = only.pop("acts")
    assert found == {
        "hop": "infer",
        "error": "NotAnEvent",
        "message": "no ce_type header",
        "topic": "triage.studies",
        "count": 1,
        "first": "2026-03-01T03:00:00+00:00",
        "last": "2026-03-01T03:00:00+00:00",
    }
    assert only == {
        "id": "3/2",
        "state": "discarded",
        "time": "2026-03-01T03:00:00+00:00",
        "site": "suwon",
        "event": "StudyTriaged",
    }
    assert (act["by"], act["reason"]) == ("kim", "noise")


def test_nothing_there(broker: Broker) -> None:
    assert run("list").out == "no open letters\n"
    assert run("list", "--all").out == "no letters\n"
    assert run("list", "--json").out == ""
    assert run("list", "--hop", "infer").out == "no open letters\n"


def test_chosen_by_site_and_hop(broker: Broker) -> None:
    broker.records = [letter(TRIAGED, 0), letter(b"x", 1), letter(b"x", 2, hop="alert", error="KeyError")]
    assert "0/0" in run("list", "--site", "suwon").out
    assert "0/1" not in run("list", "--site", "suwon").out
    assert "0/2" in run("list", "--hop", "alert").out
    assert "0/1" not in run("list", "--hop", "alert").out
    refused = run("list", "--site", "busan")
    assert (refused.code, refused.err.splitlines()[0][:27]) == (2, "error: there is no site 'bu")
    refused = run("list", "--hop", "inferr")
    assert (refused.code, refused.err[:33]) == (2, "error: there is no hop 'inferr': ")


def test_a_letter_in_full(broker: Broker) -> None:
    marks = [("sinsok_requeued", b"1"), ("sinsok_letter", b"0/7")]
    broker.records = [
        letter(b"first", 7, message="the first time"),
        letter(b'{"a": 1}', 8, headers=[("from", b"elsewhere"), *marks]),
    ]
    run("requeue", "0/7", "--by", "kim")
    shown = run("show", "0/8")
    assert shown.code == 0
    assert shown.out.splitlines()[:4] == [
        "letter 0/8, open, of 2026-03-01 03:00:00 UTC",
        "  infer gave up after 3 attempts: NotAnEvent: no ce_type header",
        "  was record 25 of triage.studies, partition 4",
        "  first failure 2026-03-01 03:00:00 UTC",
    ]
    assert "before, letter 0/7: infer gave up: NotAnEvent: the first time" in shown.out
    assert "kim sent letter 0/7 back to triage.studies, attempt 1" in shown.out
    assert "  from: elsewhere\n" in shown.out
    assert shown.out.endswith('carries 8 bytes, JSON, no event:\n  {\n    "a": 1\n  }\n')
    assert "since:" not in shown.out
    assert "since:\n" in run("show", "0/7").out


def test_an_event_in_full(broker: Broker) -> None:
    broker.records = [letter(TRIAGED)]
    shown = run("show", "0/0").out
    assert "site suwon, key " in shown
    assert " bytes, StudyTriaged:\n" in shown
    assert '"study_uid": "2.25.1"' in shown


def test_nothing_steers_the_terminal(broker: Broker) -> None:
    hostile = "x\x1b[2J\r\n"
    told = {"hop": hostile, "error": hostile, "topic": hostile, "message": hostile}
    marks = [(hostile, hostile.encode()), ("ce_source", f"/sinsok/{hostile}".encode()), ("sinsok_letter", b"0/0")]
    broker.records = [letter(hostile.encode(), 0, **told), letter(hostile.encode(), 1, headers=marks, **told)]
    outcomes = [run("list"), run("list", "--all"), run("show", "0/1"), run("requeue", "0/0", "0/1"), run("show", "0/1")]
    outcomes += [
        run("list", "--hop", hostile),
        run("requeue", "--hop", hostile, "--error", hostile),
        run("show", hostile),
    ]
    outcomes += [run("requeue", "0/0")]
    for outcome in outcomes:
        assert "\x1b" not in outcome.out + outcome.err
        assert "\r" not in outcome.out + outcome.err
    assert {outcome.code for outcome in outcomes[:3]} == {0}


def test_requeued_by_id_and_by_cause(broker: Broker) -> None:
    broker.records = [letter(offset=0), letter(offset=1), letter(offset=2), letter(offset=3, error="KeyError")]
    assert run("requeue", "0/1").out == "0/1 back on triage.studies, attempt 1\n"
    both = run("requeue", "--hop", "infer", "--error", "NotAnEvent")
    assert both.out.splitlines() == ["0/0 back on triage.studies, attempt 1", "0/2 back on triage.studies, attempt 1"]
    assert len(broker.rack.sent) == 3
    assert "0/3" in run("list").out
    everything = run("list", "--all").out
    assert everything.count("operator sent letter") == 3
    nobody = run("requeue", "--hop", "infer", "--error", "NotAnEvent")
    assert (nobody.code, nobody.out) == (1, "")
    assert nobody.err == "error: there are no open letters of infer with NotAnEvent: see `sinsok dead-letters list`\n"


def test_letters_of_one_record_go_back_as_one(broker: Broker) -> None:
    first = letter(offset=0, hop="infer")
    twin = letter(offset=0, hop="confirm")
    broker.records = [first, Record("dead.letters", 1, 5, 0, twin.key, twin.headers, twin.value)]
    assert run("requeue", "0/0", "1/5").out.splitlines() == [
        "0/0 back on triage.studies, attempt 1",
        "1/5 back on triage.studies, attempt 1",
    ]
    assert len(broker.rack.sent) == 1


def test_what_cannot_be_requeued_is_said_and_the_others_are(broker: Broker) -> None:
    broker.records = [letter(offset=0), letter(offset=1, topic="no.such"), letter(offset=2)]
    some = run("requeue", "0/0", "0/1", "0/2")
    assert some.code == 1
    assert some.out.splitlines() == [
        "0/0 back on triage.studies, attempt 1",
        "0/1 not requeued: letter 0/1 says that it came from no.such, which no hop reads: discard it",
        "0/2 back on triage.studies, attempt 1",
    ]
    assert some.err == "error: 1 of 3 letters were not requeued\n"


def test_the_limit(broker: Broker) -> None:
    broker.records = [letter(headers=[("sinsok_requeued", b"3")])]
    refused = run("requeue", "0/0")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("error: letter 0/0 was requeued 3 times and is back")
    assert len(refused.err.splitlines()) == 1
    assert run("requeue", "0/0", "--attempts", "4").out == "0/0 back on triage.studies, attempt 4\n"
    assert run("requeue", "0/0", "--attempts", "0").code == 2


def test_discarded_with_a_reason_and_only_once(broker: Broker) -> None:
    broker.records = [letter(offset=0), letter(offset=1)]
    assert run("discard", "0/0", "0/1", "--reason", "test noise").out == "0/0 discarded\n0/1 discarded\n"
    again = run("discard", "0/0", "--reason", "again")
    assert again.code == 1
    assert again.err.startswith("error: letter 0/0 was discarded already, by operator at ")
    assert again.err.endswith(": test noise\n")
    assert "operator discarded letter 0/1: test noise" in run("list", "--all").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "3"), 2, "'3' is no letter: it is called PARTITION/OFFSET"),
        (("requeue", "a/b"), 2, "'a/b' is no letter"),
        (("discard", "0/0", "--reason", " "), 2, "--reason is empty"),
        (("discard", "0/0", "--reason", "x" * 501), 1, "at most 500 characters"),
        (("requeue",), 2, "say which"),
        (("requeue", "--hop", "infer"), 2, "say which"),
        (("requeue", "0/0", "--hop", "infer"), 2, "say which"),
        (("requeue", "0/0", "--hop", "infer", "--error", "x"), 2, "say which"),
        (("requeue", "0/0", "--by", "Dr. Kim"), 2, "'Dr. Kim' is no name that an event takes: say --by NAME"),
        (("show", "0/9"), 1, "there is no letter 0/9"),
        (("requeue", "0/0", "0/9"), 1, "there is no letter 0/9"),
        (("discard", "0/0", "0/9", "--reason", "x"), 1, "there is no letter 0/9"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_done(
    broker: Broker, arguments: tuple[str, ...], code: int, said: str
) -> None:
    broker.records = [letter(offset=0)]
    answer = run(*arguments)
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith("error: ")
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert (broker.rack.sent, len(broker.records)) == ([], 1)


def test_without_a_reason_or_a_letter_nothing_is_discarded(broker: Broker) -> None:
    assert run("discard", "0/0").code == 2
    assert run("discard", "--reason", "x").code == 2


STATUS = "; `sinsok status` shows what runs"


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (BrokerAway("Kafka at x does not answer"), STATUS),
        (Unavailable("Kafka at x has no topic y: `sinsok topics --apply` creates it"), ""),
        (Refused("triage.studies: too large"), ""),
    ],
)
def test_what_kafka_says_is_said(broker: Broker, fault: Exception, remedy: str) -> None:
    broker.records = [letter()]
    broker.rack.fails = fault
    answer = run("requeue", "0/0")
    assert (answer.code, answer.out, answer.err) == (1, "", f"error: {fault}{remedy}\n")


@pytest.mark.parametrize(
    ("user", "by"), [("Dr. Kim", "Dr._Kim"), ("_", f"uid-{os.getuid()}"), (None, f"uid-{os.getuid()}")]
)
def test_the_user_of_the_machine_is_made_a_name_that_an_event_takes(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, user: str | None, by: str
) -> None:
    def named() -> str:
        if user is None:
            raise KeyError("getpwuid(): uid not found: 1000")
        return user

    monkeypatch.setattr("getpass.getuser", named)
    broker.records = [letter()]
    assert run("discard", "0/0", "--reason", "noise").code == 0
    assert f"{by} discarded letter 0/0: noise" in run("list", "--all").out


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--json"],
        ["show", "0/0"],
        ["requeue", "0/0"],
        ["requeue", "--hop", "infer", "--error", "NotAnEvent"],
        ["discard", "0/0", "--reason", "noise"],
    ],
)
def test_what_the_archive_lost_is_told_once_and_the_rest_is_done(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    broker.records = [letter()]
    whole = run(*arguments)
    broker.records = [letter()]
    monkeypatch.setattr(history, "read", lacking(broker.read))
    answer = run(*arguments)
    assert (whole.code, answer.code, answer.out) == (0, 1, whole.out)
    fault, last = answer.err.splitlines()
    assert fault == FAULT
    assert last.startswith(f"error: {NOT_WHOLE}")


def test_a_letter_that_may_be_lost_is_not_simply_unknown(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "read", lacking(broker.read))
    for arguments in (["show", "0/0"], ["requeue", "0/0"], ["discard", "0/0", "--reason", "noise"]):
        fault, last = run(*arguments).err.splitlines()
        assert fault == FAULT
        assert last.startswith("error: there is no letter 0/0")
        assert NOT_WHOLE in last
