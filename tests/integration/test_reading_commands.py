"""`sinsok topics`, `events`, `study` and `check` against a real broker."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from gateways.kafka import producer, publish
from schemas.base import StudyEvent
from schemas.documents import FOLDER
from schemas.events import AlertEvent
from schemas.steps import StepTaken
from schemas.topics import PARTITIONS, topic_of
from sinsok.stack.part import CHECKOUT
from tests.stack import Kafka, Triton, free_port
from tests.unit.schemas.examples import JOURNEY

pytestmark = pytest.mark.integration

SINSOK = str(Path(sys.executable).parent / "sinsok")
UID = "2.25.1"
JOURNEY_TYPES = [event.TYPE for event in JOURNEY]


class Installation:
    """A configuration with one site and a broker of its own, and the command line for it."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SINSOK_")},
            "SINSOK_CONFIG": str(folder / "sinsok.toml"),
            "SINSOK_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        }
        (folder / "sinsok.toml").write_text(
            "[sites.suwon]\ncalled_ae = 'SUWON_AI'\n"
            f"[triton]\nhttp_url = '127.0.0.1:{free_port()}'\n[dicom]\nport = {free_port()}\n"
            f"[orthanc]\nhttp_port = {free_port()}\ndicom_port = {free_port()}\n[health]\nfirst_port = {free_port()}\n"
        )

    def sinsok(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SINSOK, *arguments], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, env=self.environment, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def events(self, *arguments: str) -> list[dict[str, Any]]:
        answer = self.sinsok("events", *arguments, "--json")
        assert answer.returncode == 0, answer.stderr
        return [json.loads(line) for line in answer.stdout.splitlines()]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A broker without topics. Not the shared one: here the declared topics are made and bent."""
    with Kafka(tmp_path_factory.mktemp("broker")) as broker:
        yield Installation(tmp_path_factory.mktemp("configuration"), broker.bootstrap)


@pytest.fixture(scope="module")
def installation(empty: Installation) -> Installation:
    """The declared topics, with the way of one study on them, each event once and the first twice."""
    assert empty.sinsok("topics", "--apply").returncode == 0
    writer = producer(empty.bootstrap)
    for event in [*JOURNEY, JOURNEY[0]]:
        publish(writer, topic_of(event), event)
    return empty


def test_topics_are_missing_then_made_then_mended(empty: Installation) -> None:
    before = empty.sinsok("topics")
    assert before.returncode == 1
    assert before.stdout.count("missing: `sinsok topics --apply` creates it") == 14

    applied = empty.sinsok("topics", "--apply")
    assert (applied.returncode, applied.stderr) == (0, "")
    assert applied.stdout.count("created ") == 14
    topics = AdminClient({"bootstrap.servers": empty.bootstrap}).list_topics(timeout=120).topics
    assert {len(topics[name].partitions) for name in topics if not name.startswith("__")} == {PARTITIONS}
    assert empty.sinsok("topics").returncode == 0

    _configure(empty.bootstrap, "triage.results", {"retention.ms": "60000", "compression.type": "gzip"})
    bent = json.loads(empty.sinsok("topics", "--json").stdout)
    assert [(one["topic"], one["what"], one["actual"]) for one in bent["differences"]] == [
        ("triage.results", "retention.ms", "60000")
    ]
    assert empty.sinsok("topics", "--apply").returncode == 0
    assert _settings(empty.bootstrap, "triage.results")["compression.type"] == "gzip", "not declared, so not touched"


def test_a_wrong_number_of_partitions_is_told_and_left(empty: Installation, tmp_path: Path) -> None:
    admin = AdminClient({"bootstrap.servers": empty.bootstrap})
    admin.create_topics([NewTopic("alerts.yeoju", 3, 1)])["alerts.yeoju"].result()
    other = Installation(tmp_path, empty.bootstrap)
    with (tmp_path / "sinsok.toml").open("a") as configuration:
        configuration.write("[sites.yeoju]\ncalled_ae = 'YEOJU_AI'\n")
    applied = other.sinsok("topics", "--apply")
    assert applied.returncode == 1
    assert "has 3 partitions, not 12: never changed by sinsok" in applied.stdout
    assert len(admin.list_topics(timeout=120).topics["alerts.yeoju"].partitions) == 3


def test_events_are_readable_with_the_committed_schema_alone(installation: Installation) -> None:
    topics = ["dicom.series", "triage.*", "pacs.deliveries", "alerts.suwon", "audit.acts", "operations.alarms"]
    printed = installation.events(*topics, "--all")
    assert sorted(one["headers"]["ce_type"] for one in printed) == sorted([*JOURNEY_TYPES, JOURNEY_TYPES[0]])
    for one in printed:
        schema = FOLDER / "json" / (one["headers"]["ce_type"].removeprefix("sinsok.") + ".schema.json")
        jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(one["value"])
    assert [one["timestamp"] for one in printed] == sorted(one["timestamp"] for one in printed)
    of_study = [one for one in printed if one["topic"].startswith("triage.") and not one["value"].get("alert_id")]
    assert len({one["partition"] for one in of_study}) == 1, "one study, one place"


def test_bytes_that_are_no_event_are_printed_too(installation: Installation) -> None:
    writer = Producer({"bootstrap.servers": installation.bootstrap})
    writer.produce("dead.letters", key=b"\xff", value=b"\xfe noise", headers={"dl_hop": b"infer"})
    assert writer.flush(10) == 0
    (printed,) = installation.events("dead.letters")
    assert printed["value"] == {"base64": "/iBub2lzZQ=="}
    assert "dead.letters" in installation.sinsok("events", "dead.letters").stdout


def test_following_prints_what_comes_and_ends_with_ctrl_c(installation: Installation) -> None:
    following = installation.start(SINSOK, "events", "alerts.suwon", "--all", "--follow", "--json")
    assert following.stdout is not None
    there = [event for event in JOURNEY if isinstance(event, AlertEvent)]
    seen = [json.loads(following.stdout.readline()) for _ in there]
    late = JOURNEY[4].model_copy(update={"study_uid": "2.25.2"})
    publish(producer(installation.bootstrap), "alerts.suwon", late)
    seen.append(json.loads(following.stdout.readline()))
    following.send_signal(signal.SIGINT)
    out, err = following.communicate(timeout=120)
    assert (following.returncode, out, err) == (0, "", "")
    assert seen[-1]["value"]["study_uid"] == "2.25.2"
    assert {one["value"]["study_uid"] for one in seen[:-1]} == {UID}


def test_a_reader_that_goes_away_is_no_error_to_talk_about(installation: Installation) -> None:
    following = installation.start(SINSOK, "events", "triage.results", "--all", "--follow", "--json")
    assert following.stdout is not None
    assert following.stderr is not None
    following.stdout.readline()
    following.stdout.close()
    publish(producer(installation.bootstrap), "triage.results", JOURNEY[3])
    publish(producer(installation.bootstrap), "triage.results", JOURNEY[3])
    following.wait(timeout=120)
    with following.stderr:
        assert following.stderr.read() == ""


def test_the_way_of_a_study(installation: Installation) -> None:
    answer = installation.sinsok("study", UID, "--json")
    (site,) = json.loads(answer.stdout)["sites"]
    told = [f"sinsok.{one['type']}.v1" for one in site["events"]]
    assert told == [
        event.TYPE for event in JOURNEY if isinstance(event, StudyEvent) and not isinstance(event, StepTaken)
    ]
    assert site["events"][0]["copies"] == 2
    assert all(one["since_previous_s"] >= 0 for one in site["events"])
    assert "stat: Intracranial hemorrhage, 20.0 ml" in installation.sinsok("study", UID).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["study", "2.25.404"], 1, "error: no event about study 2.25.404 at any site"),
        (["events", "triage.result"], 2, "error: no topic 'triage.result' at "),
    ],
)
def test_unknown_names(installation: Installation, arguments: list[str], code: int, says: str) -> None:
    answer = installation.sinsok(*arguments)
    assert (answer.returncode, answer.stdout, len(answer.stderr.splitlines())) == (code, "", 1)
    assert answer.stderr.startswith(says)


def test_check_tells_what_answers_and_what_does_not(installation: Installation) -> None:
    answer = installation.sinsok("check")
    assert (answer.returncode, answer.stderr) == (1, "")
    states = {tuple(line.split()[1:3]): line.split()[0] for line in answer.stdout.splitlines()}
    assert states["kafka", installation.bootstrap] == "ok"
    assert states["topics", installation.bootstrap] == "ok"
    assert {state for (name, _), state in states.items() if name not in ("configuration", "kafka", "topics")} == {
        "failed"
    }


def test_check_asks_triton_for_the_version_a_route_names(triton: Triton, tmp_path: Path) -> None:
    site = Installation(tmp_path, f"127.0.0.1:{free_port()}")
    site.environment |= {"SINSOK_TRITON__HTTP_URL": triton.http, "SINSOK_TRITON__GRPC_URL": triton.grpc}
    with (tmp_path / "sinsok.toml").open("a") as configuration:
        configuration.write("".join(f"[[routes]]\nmodel = 'ich_hyperdensity'\nversion = '{n}'\n" for n in (1, 7)))
    told = [line.split()[:4] for line in site.sinsok("check").stdout.splitlines()]
    assert ["ok", "model", "ich_hyperdensity", "1"] in told
    assert ["failed", "model", "ich_hyperdensity", "7:"] in told


@pytest.mark.parametrize("arguments", [["topics"], ["study", UID], ["events", "triage.results"]])
def test_a_broker_that_is_away_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    nowhere = Installation(tmp_path, f"127.0.0.1:{free_port()}")
    answer = nowhere.sinsok(*arguments)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert re.fullmatch(r"error: Kafka at 127\.0\.0\.1:\d+ does not answer: .*\n", answer.stderr)


def _configure(bootstrap: str, topic: str, settings: dict[str, str]) -> None:
    entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in settings.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.incremental_alter_configs([resource])[resource].result()


def _settings(bootstrap: str, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    answer = admin.describe_configs([resource])[resource].result()
    return {name: entry.value for name, entry in answer.items()}
