"""The consumers of docs/examples, in two languages, read a real broker and are killed half way."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from gateways import kafka_topics
from gateways.kafka import producer, publish
from schemas.base import Event
from schemas.envelope import encode
from schemas.events import StudyTriaged
from schemas.identity import study_key
from schemas.topics import all_topics, topic_of
from sinsok.stack.part import CHECKOUT
from tests.integration import maven
from tests.stack import Kafka
from tests.unit.schemas.examples import EXAMPLES, JOURNEY

pytestmark = pytest.mark.integration

EXAMPLE: Final = CHECKOUT / "docs" / "examples"
TOPICS: Final = ("triage.results", "alerts.suwon", "pacs.deliveries")
LANGUAGES: Final = ("python", "java")
PIPE: Final = 4096
"""Bytes of lines that a consumer may be ahead of its reader, far less than all of them."""

RESULT: Final = EXAMPLES["sinsok.StudyTriaged.v1"]
ARCHIVED: Final = EXAMPLES["sinsok.ResultArchived.v1"]
LAST: Final = "2.25.99"
"""The study of the event that comes after everything."""

STUDIES: Final = [f"2.25.{number}" for number in range(100, 115)]


def triaged(study_uid: str, revision: int, *, unconfirmed: bool = False) -> StudyTriaged:
    said = {"study_uid": study_uid, "revision": revision, "unconfirmed": unconfirmed}
    return StudyTriaged.model_validate(RESULT.model_dump(exclude={"event_id"}) | said)


class Sent:
    """What is written, and the lines that have to come of it."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.lines: set[str] = set()
        self._producer = producer(bootstrap)

    def event(self, event: Event, verdict: str) -> None:
        publish(self._producer, topic_of(event), event)
        self.lines.add(f"{verdict} {event.TYPE} {event.event_id}")

    def raw(self, topic: str, value: bytes | None, headers: list[tuple[str, bytes]]) -> str:
        """Something that our code would not write; the place where it stands."""
        places: list[str] = []
        self._producer.produce(
            topic,
            value=value,
            headers=headers,
            on_delivery=lambda _, message: places.append(f"{topic}/{message.partition()}/{message.offset()}"),
        )
        assert self._producer.flush(10) == 0
        return places[0]


def write_everything(sent: Sent) -> None:
    for event in JOURNEY:
        if topic_of(event) in TOPICS:
            sent.event(event, "new")
    sent.event(RESULT, "new")  # once more
    for study in STUDIES:
        sent.event(triaged(study, 1, unconfirmed=True), "new")
        sent.event(triaged(study, 1), "new")
        sent.event(triaged(study, 3), "new")
        sent.event(triaged(study, 3, unconfirmed=True), "old")
        sent.event(triaged(study, 2), "old")
    write_unknown(sent)
    write_broken(sent)
    write_later(sent)


def write_unknown(sent: Sent) -> None:
    for kind in ([("ce_type", b"sinsok.AlertSeen.v9"), ("ce_id", b"1")], [], [("ce_type", b"\xff")]):
        sent.lines.add(f"unknown {sent.raw('alerts.suwon', b'{}', kind)}")


def write_broken(sent: Sent) -> None:
    good = encode(triaged("2.25.1", 9))
    event = json.loads(good.value)
    values = [
        json.dumps(event | {"priority": "soon"}).encode(),
        json.dumps({name: value for name, value in event.items() if name != "outcome"}).encode(),
        json.dumps(event | {"event_id": str(uuid4())}).encode(),
        json.dumps(event | {"revision": float("nan")}).encode(),
        json.dumps(event | {"added": float("nan")}).encode(),
        b"noise",
        b"[" * 100_000,
        None,
    ]
    for value in values:
        sent.lines.add(f"broken {RESULT.TYPE} {sent.raw('triage.results', value, good.headers)}")


def write_later(sent: Sent) -> None:
    """As a later version may write it: a field more, and a kind of object more."""
    event_id = str(uuid4())
    event = json.loads(encode(ARCHIVED).value) | {"event_id": event_id, "retries": 3}
    event["objects"][0]["kind"] = "presentation_state"
    headers = dict(encode(ARCHIVED).headers) | {"ce_id": event_id.encode()}
    sent.raw("pacs.deliveries", json.dumps(event).encode(), list(headers.items()))
    sent.lines.add(f"new {ARCHIVED.TYPE} {event_id}")


class Consumer:
    """One of the examples, with a group and a state of its own."""

    def __init__(self, language: str, folder: Path, bootstrap: str) -> None:
        self.state, self.faults = folder / f"{language}.sqlite", folder / f"{language}.err"
        settings = folder / f"{language}.properties"
        told = (EXAMPLE / "consumer.properties").read_text(encoding="utf-8").replace("127.0.0.1:9092", bootstrap)
        settings.write_text(told.replace("pacs-suwon-worklist", f"pacs-suwon-{language}"), encoding="utf-8")
        arguments = (str(settings), str(CHECKOUT / "schemas" / "json"), str(self.state), *TOPICS)
        self.command = (*start_of(language), *arguments)

    def start(self) -> subprocess.Popen[str]:
        with self.faults.open("ab") as faults:
            return subprocess.Popen(
                self.command, stdout=subprocess.PIPE, stderr=faults, encoding="utf-8", pipesize=PIPE
            )

    def killed_at_its_first_line(self) -> list[str]:
        """All lines it wrote: it cannot be further than the pipe is long."""
        process = self.start()
        assert process.stdout is not None
        first = process.stdout.readline()
        process.kill()
        rest, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL
        whole = (first + rest).rpartition("\n")[0]
        return whole.splitlines()

    def read_until(self, wanted: set[str]) -> list[str]:
        """The lines up to the one after which nothing of ``wanted`` is missing; then it is asked to stop."""
        process, lines, missing = self.start(), [], set(wanted)
        assert process.stdout is not None
        patience = threading.Timer(60, process.kill)
        patience.start()
        for line in process.stdout:
            lines.append(line.removesuffix("\n"))
            missing.discard(outline(line))
            if not missing:
                break
        patience.cancel()
        process.terminate()
        rest, _ = process.communicate()
        assert not missing, (process.returncode, missing)
        assert process.returncode in (0, 128 + signal.SIGTERM), "an orderly end; a JVM says that a signal was its cause"
        return lines + rest.splitlines()

    def kept(self) -> dict[str, list[tuple[Any, ...]]]:
        queries = {
            "handled": "SELECT id, time FROM handled ORDER BY id",
            "results": "SELECT study, revision, unconfirmed FROM results ORDER BY study",
            "alerts": "SELECT id, study, withdrawn FROM alerts ORDER BY id",
        }
        with closing(sqlite3.connect(self.state)) as state:
            return {name: state.execute(query).fetchall() for name, query in queries.items()}


def start_of(language: str) -> tuple[str, ...]:
    if language == "python":
        return (sys.executable, str(EXAMPLE / "python" / "consume.py"))
    target = maven.package(EXAMPLE / "java")
    return ("java", "-XX:TieredStopAtLevel=1", "-cp", f"{target}/classes:{target}/lib/*", "sinsok.examples.Consume")


def outline(line: str) -> str:
    """A line without the fields of its event."""
    return " ".join(line.split()[:3])


def told(lines: list[str]) -> list[str]:
    """The lines that are of some event for the first time."""
    return [line for line in lines if not line.startswith("seen ")]


@dataclass
class Run:
    killed: list[str]
    restarted: list[str]
    later: list[str]
    faults: str
    kept: dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    """A broker of its own with the declared topics and everything written."""
    with Kafka(tmp_path_factory.mktemp("kafka")) as broker:
        kafka_topics.create(broker.bootstrap, all_topics(["suwon"]))
        sent = Sent(broker.bootstrap)
        write_everything(sent)
        yield sent


@pytest.fixture(scope="module")
def runs(sent: Sent, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Each consumer is killed, started again, stopped, and started again when there is one event more."""
    folder = tmp_path_factory.mktemp("consumers")
    consumers = {language: Consumer(language, folder, sent.bootstrap) for language in LANGUAGES}
    runs = {}
    for language, consumer in consumers.items():
        killed = consumer.killed_at_its_first_line()
        before = {outline(line) for line in killed}
        runs[language] = Run(killed, consumer.read_until(sent.lines - before), [], "", {})
    last = triaged(LAST, 1)
    publish(producer(sent.bootstrap), topic_of(last), last)
    for language, consumer in consumers.items():
        runs[language].later = consumer.read_until({f"new {last.TYPE} {last.event_id}"})
        runs[language].faults = consumer.faults.read_text(encoding="utf-8")
        runs[language].kept = consumer.kept()
    return runs


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_lost_and_nothing_handled_twice(language: str, sent: Sent, runs: dict[str, Run]) -> None:
    run = runs[language]
    killed, restarted = told(run.killed), told(run.restarted)
    assert 0 < len(killed) < len(sent.lines), "it was killed half way"
    assert {outline(line) for line in killed + restarted} == sent.lines
    assert len(restarted) == len(set(restarted))
    between = [line for line in set(killed) & set(restarted) if line.split()[0] in ("new", "old")]
    assert len(between) <= 1, "the line that was written and not yet committed, and no other"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_event_again_is_dropped(language: str, runs: dict[str, Run]) -> None:
    lines = runs[language].killed + runs[language].restarted
    assert f"seen {RESULT.TYPE} {RESULT.event_id}" in lines


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_handled_before_an_orderly_end_is_not_read_again(language: str, runs: dict[str, Run]) -> None:
    (line,) = runs[language].later
    assert line.startswith("new sinsok.StudyTriaged.v1 ")
    assert f'study_uid="{LAST}" revision=1 unconfirmed=false outcome="findings" priority="stat"' in line


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_broken_event_is_reported_with_the_rule_and_without_its_content(language: str, runs: dict[str, Run]) -> None:
    faults = runs[language].faults
    assert "priority" in faults
    assert "enum" in faults
    assert "ce_id is not event_id" in faults
    assert not [word for word in ("soon", "noise", "NaN") if word in faults]


def test_both_languages_say_and_keep_the_same(runs: dict[str, Run]) -> None:
    python, java = (set(told(runs[language].killed + runs[language].restarted)) for language in LANGUAGES)
    assert python == java
    assert runs["python"].kept == runs["java"].kept


def test_what_counts_in_the_end(runs: dict[str, Run]) -> None:
    kept = runs["java"].kept
    shown = {study: (revision, bool(unconfirmed)) for study, revision, unconfirmed in kept["results"]}
    assert shown == {
        study_key("suwon", "2.25.1"): (2, False),
        study_key("suwon", LAST): (1, False),
        **{study_key("suwon", study): (3, False) for study in STUDIES},
    }
    raised = EXAMPLES["sinsok.AlertRaised.v1"]
    assert kept["alerts"] == [(raised.key, study_key("suwon", "2.25.1"), 1)]


def test_the_document_says_how_they_are_run_and_what_counts() -> None:
    document = (CHECKOUT / "docs" / "integrate.md").read_text(encoding="utf-8")
    arguments = f"docs/examples/consumer.properties schemas/json shown.sqlite {' '.join(TOPICS)}"
    java = "java -cp 'docs/examples/java/target/classes:docs/examples/java/target/lib/*' sinsok.examples.Consume"
    assert f"python docs/examples/python/consume.py {arguments}" in document
    assert f"{java} \\\n    {arguments}" in document
    (statement,) = re.findall(r"```sql\n(.*?)```", document, re.DOTALL)
    assert statement in (EXAMPLE / "python" / "consume.py").read_text(encoding="utf-8").replace("\n    ", "\n")
