"""`sinsok replay` on a real broker: a recorded day is decided again, with no effect, however it is interrupted."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from gateways.objects import FileStore
from schemas.events import AlertRaised
from schemas.topics import AUDIT_ACTS, PARTITIONS
from tests.day import RULES, SITES, Day, publish, raised
from tests.stack import SINSOK, Installation, free_port, install, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.record]

FLOW = ("dicom.series", "triage.deadlines", "triage.studies", "triage.results", "triage.steps")

STUDIES = 100


class Servers:
    """Listens where mail, web hooks, PACS and worklists would be, and counts who connects."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.ports = {name: free_port() for name in names}
        self.connections: list[str] = []
        for name, port in self.ports.items():
            threading.Thread(target=self._listen, args=(name, port), daemon=True).start()

    def _listen(self, name: str, port: int) -> None:
        with socket.create_server(("127.0.0.1", port)) as server:
            while True:
                connection, _ = server.accept()
                self.connections.append(name)
                connection.close()


@pytest.fixture(scope="module")
def servers() -> Servers:
    return Servers(("smtp", "webhook", "pacs", "mllp"))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Installation]:
    """A broker with a day on it, and a configuration full of people and systems that could be told."""
    ports = servers.ports
    everybody = "".join(
        f"""
[sites.suwon.recipients.{name}]
channels = [
    {{ kind = "webhook", url = "http://127.0.0.1:{ports["webhook"]}/", secret = "0123456789abcdef0123456789abcdef" }},
    {{ kind = "smtp", to = "{name}@suwon.example" }},
]
"""
        for name in ("first", "second", "third")
    )
    changes = f"""
[notifier.smtp]
host = "127.0.0.1"
port = {ports["smtp"]}
sender = "sinsok@suwon.example"
{everybody}
[[sites.suwon.worklists]]
protocol = "hl7"
host = "127.0.0.1"
port = {ports["mllp"]}
[pacs]
host = "127.0.0.1"
port = {ports["pacs"]}
[archive]
segment_age_s = 0.5
drop_every_s = 0.5
retention_days = {{ {", ".join(f'"{topic}" = 0.5' for topic in FLOW)} }}
"""
    installation = install(tmp_path_factory.mktemp("replay"), changes=changes)
    with installation.part("kafka"):
        installation.part("kafka").part.once_ready()
        yield installation


@pytest.fixture(scope="module")
def day(installation: Installation) -> Day:
    rules = FileStore(installation.settings.store).put(RULES.model_dump_json().encode(), "rules", ".json")
    # Old enough to be over, and not so old that the broker would let it go.
    day = Day(STUDIES, seed=7, start=datetime.now(UTC) - timedelta(hours=40), sites=SITES, rules=rules)
    publish(day, installation.settings.kafka.bootstrap_servers)
    return day


def replay(installation: Installation, day: Day, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, report and errors of a replay of the day."""
    done = installation.sinsok("replay", "--to", day.end.isoformat(), "--json", *arguments)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def said(report: dict[str, Any]) -> dict[str, Any]:
    """What a report says, but for the name and the hour of its run."""
    return {name: value for name, value in report.items() if name != "options"}


def ends(bootstrap: str) -> dict[tuple[str, int], int]:
    """Where every partition ends."""
    with closing(Consumer({"bootstrap.servers": bootstrap, "group.id": "test-ends"})) as consumer:
        topics = consumer.list_topics(timeout=120).topics
        places = [(name, number) for name, topic in topics.items() if name[0] != "_" for number in topic.partitions]
        return {place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=120)[1] for place in places}


def groups(bootstrap: str) -> dict[str, Any]:
    """Every consumer group, and where it stands."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    return {group.group_id: str(group.state) for group in admin.list_consumer_groups().result().valid}


@pytest.fixture(scope="module")
def whole(installation: Installation, day: Day, servers: Servers) -> dict[str, Any]:
    """The report of a replay of the whole day, during which nobody heard anything."""
    bootstrap = installation.settings.kafka.bootstrap_servers
    before = ends(bootstrap)
    there = groups(bootstrap)
    code, report, errors = replay(installation, day, "--run", "whole", "--workers", "2")
    assert code == 0, (errors, report["studies"])
    assert servers.connections == []
    after = ends(bootstrap)
    moved = {topic for (topic, number), end in after.items() if end != before[topic, number]}
    assert moved == {AUDIT_ACTS.name}, "only what says that there was a replay"
    assert groups(bootstrap) == there
    return report


def test_a_recorded_day_is_decided_as_it_was(day: Day, whole: dict[str, Any]) -> None:
    assert whole["same"] == STUDIES
    assert 0 < whole["alerts"]["then"] == whole["alerts"]["now"] <= raised(day)


def test_killed_in_the_middle_it_says_the_same_in_the_end(
    installation: Installation, day: Day, whole: dict[str, Any]
) -> None:
    command = [str(SINSOK), "replay", "--to", day.end.isoformat(), "--run", "killed", "--workers", "2"]
    folder = installation.settings.home / "replays" / "killed"
    for share in (0.0, 0.4):
        process = subprocess.Popen(
            command,
            env=installation.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda share=share: _is_at(folder / "run.sqlite", share), every_s=0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        command = [str(SINSOK), "replay", "--resume", "killed"]
    done = installation.sinsok("replay", "--resume", "killed", "--json")
    assert done.returncode == 0, done.stderr
    assert said(json.loads(done.stdout)) == said(whole)


def test_what_the_broker_has_dropped_is_replayed_from_the_archive(
    installation: Installation, day: Day, whole: dict[str, Any]
) -> None:
    with installation.part("archiver"):
        wait_until(lambda: _all_dropped(installation), seconds=90, every_s=0.5)
    code, after, errors = replay(installation, day, "--run", "after")
    assert code == 0, errors
    assert said(after) == said(whole)
    [segment] = sorted((installation.settings.store / "archive" / "triage.steps" / "0").glob("*.parquet"))[:1]
    whole = segment.read_bytes()
    try:
        segment.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        code, _, errors = replay(installation, day, "--run", "damaged")
    finally:
        segment.write_bytes(whole)
    assert code == 1
    assert segment.name in errors


def _all_dropped(installation: Installation) -> None:
    """Complain while the broker has records of the flow."""
    settings = {"bootstrap.servers": installation.settings.kafka.bootstrap_servers, "group.id": "test-ends"}
    with closing(Consumer(settings)) as consumer:
        places = [TopicPartition(topic, number) for topic in FLOW for number in range(PARTITIONS)]
        spans = [consumer.get_watermark_offsets(place, timeout=120) for place in places]
    assert all(low == high for low, high in spans)


def _is_at(place: Path, share: float) -> None:
    """Complain until so much of the studies was decided again."""
    assert place.exists()
    with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as database:
        try:
            studies, decided = database.execute("SELECT count(*), count(compared) FROM studies").fetchone()
        except sqlite3.OperationalError as error:
            raise AssertionError(str(error)) from None
    assert studies > 0
    assert decided >= share * studies


POLICY = """
[completeness]
quiet_s = 30
cap_s = 300
keep_s = 3600
[[routes]]
model = "quick"
confirm = "certain@1"
[[routes]]
model = "spare"
min_slices = 2
exclude_kernel = "^H[67]"
[alerts]
page = ["stat"] # then "urgent" paged too
confirm_within_s = 60
[[alerts.rules]]
finding = "SCT:1386000"
min_volume_ml = 5.0
priority = "stat"
[[alerts.rules]]
finding = "SCT:1386000"
min_volume_ml = 0.5
priority = "urgent"
unconfirmed = "wait"
[paging]
quiet = [{ begin = "02:00", end = "05:00" }]
[[paging.chains]]
name = "always"
steps = [["first"], ["second", "third"]]
[sites.anseong]
called_ae = "A"
[sites.icheon]
called_ae = "I"
[sites.suwon]
called_ae = "S"
"""


def test_another_policy_shows_what_it_would_change_and_nothing_else(
    installation: Installation, day: Day, tmp_path: Path
) -> None:
    policy = tmp_path / "sinsok.toml"
    policy.write_text(POLICY, encoding="utf-8")
    code, report, errors = replay(installation, day, "--run", "stat-only", "--policy", str(policy))
    assert code == 0, errors
    urgent = {
        event["study_uid"]
        for record in day.records
        if record.topic.startswith("alerts.") and dict(record.headers)["ce_type"] == AlertRaised.TYPE.encode()
        for event in [json.loads(record.value)]
        if event["priority"] == "urgent"
    }
    changed = {study["study_uid"]: json.dumps(study) for study in report["studies"]}
    assert urgent <= changed.keys(), "what paged as urgent does not page any more"
    # Nor does a bleed that is merely urgent now keep the alert about a larger one alive.
    assert all("took the finding back" in changed[uid] for uid in changed.keys() - urgent)
    kinds = {one["type"] for study in report["studies"] for one in study["differences"]}
    assert all(kind.startswith("Alert") for kind in kinds), kinds
    assert report["alerts"]["comes_not"] > 0
    page = (installation.settings.home / "replays" / "stat-only" / "report.html").read_text(encoding="utf-8")
    assert "would not have come" in page


def test_one_study_of_one_site(installation: Installation, day: Day) -> None:
    first = json.loads(day.records[0].value)
    site, uid = first["site"], first["study_uid"]
    code, report, _ = replay(installation, day, "--site", site, "--study", uid, "--run", "single")
    assert (code, report["same"]) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "2001-01-01"], "nothing is recorded between"),
        (["--study", "2.25.404"], "of study 2.25.404: nothing was replayed"),
    ],
)
def test_a_replay_of_nothing_leaves_nothing(
    installation: Installation, day: Day, arguments: list[str], complaint: str
) -> None:
    runs = {path.name for path in (installation.settings.home / "replays").glob("*")}
    done = installation.sinsok("replay", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert complaint in done.stderr.splitlines()[-1]
    assert {path.name for path in (installation.settings.home / "replays").glob("*")} == runs
