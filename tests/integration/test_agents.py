"""What the shell promises, on a real broker: nothing is lost and nothing stops the flow, whatever a hop does."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.envelope import decode, encode
from schemas.identity import study_key, trace_id
from schemas.steps import Handled, StepTaken
from schemas.topics import DEAD_LETTERS, DEADLINES, MAX_EVENT_BYTES, STEPS, STUDIES, Topic, alerts, changelog
from streams.dead_letters import Obituary, read_obituary
from streams.faust_app import partition_of
from tests.integration.hops import QUIET, probe
from tests.integration.shell import (
    Record,
    Sender,
    ShellProcess,
    answers,
    eventually,
    make_test_topics,
    make_topics,
    read_all,
)
from tests.stack import Kafka, free_port

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own: poison stays on it."""
    with Kafka(tmp_path_factory.mktemp("agents")) as kafka:
        yield kafka.bootstrap


def deaths(bootstrap: str, hop: str) -> list[tuple[Record, Obituary]]:
    """The dead letters of a hop."""
    letters = [(record, read_obituary(record.headers)) for record in read_all(bootstrap, DEAD_LETTERS.name)]
    return [(record, obituary) for record, obituary in letters if obituary.hop == hop]


def expect_answers(bootstrap: str, site: str, said: str, expected: set[tuple[str, int]]) -> None:
    def check() -> None:
        assert set(answers(bootstrap, site, said)) == expected

    eventually(check)


def steps_of(bootstrap: str, hop: str, site: str) -> list[StepTaken]:
    """What a hop said of what it did with the events of a site, in order for each study."""
    found = [decode(list(record.headers), record.value) for record in read_all(bootstrap, STEPS.name)]  # type: ignore[arg-type]
    return [step for step in found if isinstance(step, StepTaken) and (step.hop, step.site) == (hop, site)]


def test_the_steps_of_a_study_are_a_chain_and_name_what_was_handled_and_sent(broker: str, tmp_path: Path) -> None:
    site = "steps"
    make_test_topics(broker, site)
    probes = [probe(site, "2.25.1", number) for number in (1, 2)]
    Sender(broker).send(*probes)
    with ShellProcess("collect", site, broker, tmp_path):
        expect_answers(broker, site, "whole: 1,2", {("2.25.1", 2)})
        steps = eventually(lambda: _all_three(steps_of(broker, f"collect-{site}", site)))
    first, second, whole = steps
    assert first.before is None
    assert first.after == second.before != second.after == whole.before
    assert (second.deadline, whole.deadline) == (probes[1].time + QUIET, None)
    assert [first.event, second.event] == [one.event_id for one in probes]
    assert [first.origin.topic, whole.origin.topic] == [STUDIES.name, DEADLINES.name]
    sent = {record.event["event_id"] for record in read_all(broker, alerts(site).name)}
    assert {str(one) for step in steps for one in step.sent} == sent


def _all_three(steps: list[StepTaken]) -> list[StepTaken]:
    assert len(steps) == 3
    return steps


def test_a_step_says_that_a_port_was_away_and_that_an_event_was_buried(broker: str, tmp_path: Path) -> None:
    site = "odd-steps"
    make_test_topics(broker, site)
    (tmp_path / "away").touch()
    Sender(broker).send(probe(site, "2.25.1", 1, "port"), probe(site, "2.25.2", 1, "unreadable"))
    with ShellProcess("echo", site, broker, tmp_path, report_waiting_after_s=0.5):
        expect_answers(broker, site, "waiting: the port is away", {("2.25.1", 1)})
        (tmp_path / "away").unlink()
        expect_answers(broker, site, "echo", {("2.25.1", 1)})
        steps = eventually(lambda: _all_three(steps_of(broker, f"echo-{site}", site)))
    assert [step.handled for step in steps if step.study_uid == "2.25.1"] == [Handled.WAITING, Handled.DECIDED]
    assert [(step.handled, len(step.sent)) for step in steps if step.study_uid == "2.25.2"] == [(Handled.BURIED, 1)]


@pytest.mark.parametrize(("hop", "said"), [("echo", "echo"), ("collect", "seen")])
def test_a_hop_that_raises_is_tried_again_and_its_event_kept(broker: str, tmp_path: Path, hop: str, said: str) -> None:
    site = f"raise-{hop}"
    make_test_topics(broker, site)
    faulty = probe(site, "2.25.1", 2, "raise")
    Sender(broker).send(probe(site, "2.25.1", 1), faulty, probe(site, "2.25.1", 3))
    with ShellProcess(hop, site, broker, tmp_path) as worker:
        expect_answers(broker, site, said, {("2.25.1", 1), ("2.25.1", 3)})
        assert worker.stop() == 0
        [(letter, obituary)] = deaths(broker, f"{hop}-{site}")
    sent = encode(faulty)
    assert (letter.key, letter.value) == (sent.key, sent.value)
    assert list(letter.headers[: len(sent.headers)]) == sent.headers
    assert (obituary.error, obituary.attempts, obituary.topic) == ("ZeroDivisionError", 3, STUDIES.name)
    assert "secret" not in obituary.message
    assert not any("secret" in line for line in worker.said())


def test_a_failure_that_will_not_pass_is_not_tried_again(broker: str, tmp_path: Path) -> None:
    site = "unreadable"
    make_test_topics(broker, site)
    Sender(broker).send(probe(site, "2.25.1", 1, "unreadable"), probe(site, "2.25.1", 2))
    with ShellProcess("echo", site, broker, tmp_path) as worker:
        expect_answers(broker, site, "echo", {("2.25.1", 2)})
        # Nobody waits in vain for a result of what became a dead letter.
        expect_answers(broker, site, "failed", {("2.25.1", 1)})
        [(_, obituary)] = deaths(broker, f"echo-{site}")
        eventually(lambda: _assert(worker.health() == ""))  # the watchdog has to look first
    assert (obituary.error, obituary.message, obituary.attempts) == ("Unreadable", "pixels cannot be decoded", 1)
    [line] = [line for line in worker.said() if '"dead letter"' in line]
    assert trace_id(study_key(site, "2.25.1")) in line


def test_a_hop_that_cannot_even_say_that_it_failed_goes_on(broker: str, tmp_path: Path) -> None:
    site = "speechless"
    make_test_topics(broker, site)
    Sender(broker).send(probe(site, "2.25.1", 1, "unreadable speechless"), probe(site, "2.25.1", 2))
    with ShellProcess("echo", site, broker, tmp_path) as worker:
        expect_answers(broker, site, "echo", {("2.25.1", 2)})
        [(_, obituary)] = deaths(broker, f"echo-{site}")
        assert worker.stop() == 0
    assert obituary.error == "Unreadable"
    assert not any("secret" in line for line in worker.said())


def test_a_port_that_is_away_is_waited_for(broker: str, tmp_path: Path) -> None:
    site = "port"
    make_test_topics(broker, site)
    Sender(broker).send(probe(site, "2.25.1", 1, "port"), probe(site, "2.25.1", 2, "port"))
    away = tmp_path / "away"
    away.touch()
    with ShellProcess("echo", site, broker, tmp_path, report_waiting_after_s=1.0, stalled_after_s=3.0) as worker:
        expect_answers(broker, site, "waiting: the port is away", {("2.25.1", 1)})

        def complains() -> None:
            assert "waited for 4 s: the port is away" in worker.health()

        eventually(complains)
        assert answers(broker, site, "echo") == []
        away.unlink()
        expect_answers(broker, site, "echo", {("2.25.1", 1), ("2.25.1", 2)})

        def content() -> None:
            assert worker.health() == ""

        eventually(content)
        assert worker.stop() == 0
    assert answers(broker, site, "waiting: the port is away") == [("2.25.1", 1)], "told once, and only by who waited"
    assert deaths(broker, f"echo-{site}") == []


def test_sigterm_while_a_port_is_away_leaves_the_event_to_the_next(broker: str, tmp_path: Path) -> None:
    site = "left"
    make_test_topics(broker, site)
    sent = {(f"2.25.{study}", number) for study in range(6) for number in (1, 2)}
    Sender(broker).send(*(probe(site, study, number, "port") for study, number in sorted(sent)))
    away = tmp_path / "away"
    away.touch()
    with ShellProcess("echo", site, broker, tmp_path, report_waiting_after_s=1.0) as worker:
        eventually(lambda: _assert(len(answers(broker, site, "waiting: the port is away")) >= 4))
        assert worker.stop() == 0
    away.unlink()
    with ShellProcess("echo", site, broker, tmp_path):
        expect_answers(broker, site, "echo", sent)


@pytest.mark.parametrize("hop", ["echo", "collect"])
def test_poison_on_every_topic_goes_to_the_dead_letters_and_stops_nothing(
    broker: str, tmp_path: Path, hop: str
) -> None:
    site = f"poison-{hop}"
    make_test_topics(broker, site)
    good = encode(probe(site, "2.25.1", 1))
    headers = tuple(good.headers)
    wrong_type = tuple((name, b"sinsok.SeriesReceived.v1" if name == "ce_type" else value) for name, value in headers)
    kinds = [
        Record(b"k1", os.urandom(300), ()),
        Record(b"k2", os.urandom(300), headers),
        Record(good.key, good.value, wrong_type),
        Record(good.key, good.value[:-1] + b',"who":"PHANTOM^IPH"}', headers),
        Record(good.key, b"\x00" * (MAX_EVENT_BYTES - 2000), headers),
        Record(good.key, None, headers),
        Record(None, None, ()),
        Record(b"k3", good.value, (("ce_type", None),)),
        Record(b"k4", good.value, (("ce_type", b"\xff\xfe"),)),
    ]
    if hop == "collect":
        kinds += [Record(None, good.value, headers), Record(b"another study", good.value, headers)]
    topics = [STUDIES.name, DEADLINES.name] if hop == "collect" else [STUDIES.name]
    sender = Sender(broker)
    astray = (partition_of(good.key) + 1) % STUDIES.partitions
    for topic in topics:
        for kind in kinds:
            sender.send_bytes(topic, kind)
        if hop == "collect":
            sender.send_bytes(topic, Record(*good[:1], good.value, headers), partition=astray)
    sender.send(*(probe(site, f"2.25.{study}", 1) for study in range(30)))
    sender.flush()
    with ShellProcess(hop, site, broker, tmp_path) as worker:
        expect_answers(broker, site, "echo" if hop == "echo" else "seen", {(f"2.25.{study}", 1) for study in range(30)})

        def all_kept() -> None:
            kept = {(record.key, record.value) for record, _ in deaths(broker, f"{hop}-{site}")}
            lost = {(kind.key, kind.value) for kind in kinds} - {(None, None)} - kept
            assert not lost
            assert (None, b"") in kept, "neither key nor value: kept as an empty value"

        eventually(all_kept)
        assert worker.stop() == 0
    dead = deaths(broker, f"{hop}-{site}")
    assert all("PHANTOM" not in obituary.message for _, obituary in dead)
    assert {obituary.topic for _, obituary in dead} == set(topics)
    assert not any("PHANTOM" in line for line in worker.said())


def test_a_state_of_another_version_ends_the_worker_before_it_reads_anything(broker: str, tmp_path: Path) -> None:
    site = "version"
    make_test_topics(broker, site)
    topic = changelog(f"sinsok-collect-{site}", "studies").name
    row = b'{"site":"version","study_uid":"2.25.1","from_the_future":1}'
    key = encode(probe(site, "2.25.1", 1)).key
    sender = Sender(broker)
    sender.send_bytes(topic, Record(key, row, ()), partition_of(key))
    sender.send(probe(site, "2.25.1", 1))
    sender.flush()
    with ShellProcess("collect", site, broker, tmp_path) as worker:
        assert worker.wait(60) == 1
        assert any("written by another version" in line for line in worker.said())
    assert answers(broker, site, "seen") == []


def test_rows_are_raw_bytes_and_a_study_is_answered_once_it_is_quiet(broker: str, tmp_path: Path) -> None:
    site = "quiet"
    make_test_topics(broker, site)
    Sender(broker).send(*(probe(site, "2.25.1", number) for number in (1, 2, 3)))
    with ShellProcess("collect", site, broker, tmp_path):
        expect_answers(broker, site, "whole: 1,2,3", {("2.25.1", 3)})
    rows = read_all(broker, changelog(f"sinsok-collect-{site}", "studies").name)
    assert {row.key for row in rows} == {encode(probe(site, "2.25.1", 1)).key}
    assert rows[-1].event == {"site": site, "study_uid": "2.25.1", "deadline": None, "seen": [1, 2, 3], "closed": True}


def test_our_partition_of_a_key_is_that_of_the_gateways_producer(broker: str) -> None:
    site = "murmur"
    make_topics(broker, [alerts(site)])
    keys = [os.urandom(n % 40) for n in range(1, 300)]
    sender = Sender(broker)
    for key in keys:
        sender.send_bytes(alerts(site).name, Record(key, b"x", (("at", str(partition_of(key)).encode()),)))
    sender.flush()
    for record in read_all(broker, alerts(site).name):
        assert record.headers[0][1] == str(record.partition).encode()


def test_a_broker_that_is_away_is_said_in_one_line(tmp_path: Path) -> None:
    with ShellProcess("echo", "nobody", f"127.0.0.1:{free_port()}", tmp_path) as worker:
        assert worker.wait(60) == 1
    [line] = [line for line in worker.said() if '"event"' in line]
    assert "does not answer" in line


@pytest.mark.parametrize(
    ("there", "missing"),
    [((), "alerts.forgotten"), ((alerts("forgotten"),), "sinsok-collect-forgotten-studies-changelog")],
)
def test_a_missing_topic_is_said_in_one_line(
    broker: str, tmp_path: Path, there: tuple[Topic, ...], missing: str
) -> None:
    make_topics(broker, [STUDIES, DEADLINES, DEAD_LETTERS, *there])
    with ShellProcess("collect", "forgotten", broker, tmp_path) as worker:
        assert worker.wait(60) == 1
    [line] = [line for line in worker.said() if '"event"' in line]
    assert f"topic {missing} is missing" in line


def _assert(truth: bool) -> None:
    assert truth
