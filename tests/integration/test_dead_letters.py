"""Dead letters of a real hop on a real broker, back to where they came from through the command line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways import kafka
from gateways.letters.letter import Place
from gateways.letters.post import Post, fetch
from schemas.envelope import encode
from schemas.failures import Refused, Unavailable
from schemas.topics import AUDIT_ACTS, DEAD_LETTERS, MAX_EVENT_BYTES, STUDIES, alerts
from streams.faust_app import partition_of
from tests.integration.hops import probe
from tests.integration.shell import Record, Sender, ShellProcess, eventually, make_topics, read_all
from tests.stack import Installation, install
from tests.unit.sinsok.commandline import Outcome, sinsok

pytestmark = [pytest.mark.integration, pytest.mark.record]
SITE = "suwon"
HOP = f"echo-{SITE}"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = install(tmp_path_factory.mktemp("letters"))
    with made.part("kafka"):
        make_topics(bootstrap(made), (STUDIES, DEAD_LETTERS, AUDIT_ACTS, alerts(SITE)))
        yield made


def bootstrap(installation: Installation) -> str:
    return installation.settings.kafka.bootstrap_servers


@pytest.fixture
def letters(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """`sinsok dead-letters ARGUMENTS` on this installation."""
    monkeypatch.setenv("SINSOK_CONFIG", str(installation.path))
    return lambda *arguments: sinsok("dead-letters", *arguments)


def listed(letters: Callable[..., Outcome], *flags: str) -> dict[str, list[dict[str, Any]]]:
    """Letters by the class of their error."""
    answer = letters("list", "--json", *flags)
    assert answer.code == 0, answer.err
    found: dict[str, list[dict[str, Any]]] = {}
    for line in answer.out.splitlines():
        group = json.loads(line)
        found.setdefault(group["error"], []).extend(group["letters"])
    return found


def the_open(letters: Callable[..., Outcome], error: str) -> str:
    """The id of the one open letter of an error, once it is there."""

    def found() -> str:
        there = listed(letters).get(error, [])
        assert len(there) == 1
        return str(there[0]["id"])

    return str(eventually(found))


def test_a_poisoned_record_is_found_mended_and_handled(
    installation: Installation, letters: Callable[..., Outcome], tmp_path: Path
) -> None:
    broker = bootstrap(installation)
    event = probe(SITE, "2.25.1", 1, "broken")
    noise, headers = b"\x00\xff no event", (("ce_type", b"sinsok.StudyAssembled.v1"), ("from", b"elsewhere"))
    away = tmp_path / "away"
    away.touch()
    sender = Sender(broker)
    sender.send(event)
    sender.send_bytes(STUDIES.name, Record(b"k", noise, headers))
    # On a partition that is not its key's: it goes back to the right one.
    astray = (partition_of(b"astray") + 1) % STUDIES.partitions
    sender.send_bytes(STUDIES.name, Record(b"astray", b"{}", ()), partition=astray)
    sender.send_bytes(STUDIES.name, Record(None, b"no key", ()), partition=7)
    sender.flush()

    def answers() -> list[str]:
        """Event ids of what the hop sent."""
        return [dict(record.headers)["ce_id"].decode() for record in read_all(broker, alerts(SITE).name)]  # type: ignore[union-attr]

    with ShellProcess("echo", SITE, broker, tmp_path):
        broken = the_open(letters, "ZeroDivisionError")
        assert len(answers()) == 1, "that nothing came of it"
        shown = letters("show", broken).out
        assert '"study_uid": "2.25.1"' in shown
        assert "gave up after 3 attempts: ZeroDivisionError" in shown

        # Handled once its cause is mended; sent twice it is the same event.
        away.unlink()
        assert letters("requeue", "--hop", HOP, "--error", "ZeroDivisionError", "--by", "kim").out == (
            f"{broken} back on triage.studies, attempt 1\n"
        )
        eventually(lambda: _assert(len(answers()) == 2))
        assert letters("requeue", broken, "--by", "kim").out == f"{broken} back on triage.studies, attempt 2\n"
        eventually(lambda: _assert(len(answers()) == 3))
        assert len(set(answers())) == 2
        assert "ZeroDivisionError" not in listed(letters)
        (mended,) = listed(letters, "--all")["ZeroDivisionError"]
        assert [(act["by"], act["site"], act["attempt"]) for act in mended["acts"]] == [
            ("kim", SITE, 1),
            ("kim", SITE, 2),
        ]

        # What is no event dies again and again, and keeps count.
        lost = [letter["id"] for letter in listed(letters)["NotAnEvent"]]
        assert len(lost) == 3
        for attempt in (1, 2, 3):
            back = letters("requeue", *lost)
            assert back.code == 0, back.err
            assert back.out.count(f"back on triage.studies, attempt {attempt}\n") == 3
            eventually(lambda: _assert(len(listed(letters).get("NotAnEvent", [])) == 3))
            again = [letter["id"] for letter in listed(letters)["NotAnEvent"]]
            assert not set(again) & set(lost)
            lost = again
        before = len(read_all(broker, STUDIES.name))
        refused = letters("requeue", *lost)
        assert (refused.code, refused.err) == (1, "error: 3 of 3 letters were not requeued\n")
        refused = letters("requeue", lost[0])
        assert refused.code == 1
        assert refused.err.startswith(f"error: letter {lost[0]} was requeued 3 times and is back")
        assert len(read_all(broker, STUDIES.name)) == before
        told = letters("show", lost[0]).out
        assert told.count("before, letter ") == 3

    # As they came, each time, and where their keys belong.
    sent = [record for record in read_all(broker, STUDIES.name) if record.key == b"k"]
    assert [record.value for record in sent] == [noise] * 4
    assert len({record.partition for record in sent}) == 1
    assert [dict(record.headers).get("sinsok_requeued") for record in sent] == [None, b"1", b"2", b"3"]
    for record in sent[1:]:
        assert record.headers[:2] == headers
        assert [name for name, _ in record.headers[2:]] == ["sinsok_requeued", "sinsok_letter"]
    studies = read_all(broker, STUDIES.name)
    assert [one.partition for one in studies if one.key is None] == [7] * 4
    places = [record.partition for record in studies if record.key == b"astray"]
    assert sorted(places) == sorted([astray, *[partition_of(b"astray")] * 3])

    # Discarded with a reason, once.
    assert letters("discard", *lost, "--reason", "test noise", "--by", "lee").code == 0
    assert listed(letters) == {}
    again = letters("discard", lost[0], "--reason", "once more")
    assert (again.code, again.out) == (1, "")
    assert "was discarded already, by lee at" in again.err
    assert again.err.endswith(": test noise\n")
    acts = [dict(record.headers)["ce_type"] for record in kafka.read(broker, [AUDIT_ACTS.name])]
    assert (acts.count(b"sinsok.LetterRequeued.v1"), acts.count(b"sinsok.LetterDiscarded.v1")) == (2 + 9, 3)


def test_a_letter_whose_topic_is_gone_stays(installation: Installation, letters: Callable[..., Outcome]) -> None:
    told = {"hop": b"infer", "error": b"Gone", "message": b"?", "topic": b"no.such", "partition": b"0", "offset": b"1"}
    sender = Sender(bootstrap(installation))
    sender.send_bytes(
        DEAD_LETTERS.name, Record(b"gone", b"x", tuple((f"dl_{name}", value) for name, value in told.items()))
    )
    sender.flush()
    place = the_open(letters, "Gone")
    refused = letters("requeue", place, "--by", "kim")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == f"error: letter {place} says that it came from no.such, which no hop reads: discard it\n"
    assert the_open(letters, "Gone") == place
    assert "no.such" not in kafka.metadata(kafka.producer(bootstrap(installation)), "")


def test_one_letter_is_fetched_by_its_id(installation: Installation) -> None:
    broker = bootstrap(installation)
    sender = Sender(broker)
    for number in range(3):
        sender.send_bytes(DEAD_LETTERS.name, Record(b"fetched", b"%d" % number, ()), partition=11)
    sender.flush()
    ends = [record.offset for record in kafka.read(broker, [DEAD_LETTERS.name]) if record.key == b"fetched"]
    found = fetch(broker, Place(11, ends[1]))
    assert found is not None
    assert (found.value, found.offset) == (b"1", ends[1])
    assert fetch(broker, Place(11, ends[-1] + 1)) is None
    assert fetch(broker, Place(99, 0)) is None


def test_what_the_broker_will_not_have_is_said(installation: Installation) -> None:
    post = Post(bootstrap(installation))
    with pytest.raises(Refused, match=r"triage\.studies"):
        post.send(STUDIES.name, 0, b"k", bytes(MAX_EVENT_BYTES + 100_000), [])
    largest = encode(probe(SITE, "2.25.2", 1)).value.ljust(MAX_EVENT_BYTES - 100)
    post.send(STUDIES.name, 0, b"k", largest, [("sinsok_requeued", b"1")])


def test_a_broker_that_is_away_is_said_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "ANSWER_SECONDS", 0.5)
    with pytest.raises(Unavailable, match="does not answer"):
        fetch("127.0.0.1:9", Place(0, 0))
    with pytest.raises(Unavailable, match="does not answer"):
        Post("127.0.0.1:9").has(STUDIES.name)


def _assert(condition: bool) -> None:
    assert condition
