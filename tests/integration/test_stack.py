"""``sinsok up``, ``status`` and ``down`` on real parts: what is started, watched, started again and stopped."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer

from schemas.topics import all_topics
from sinsok.stack import marked, state
from tests.stack import Installation, install, wait_until

pytestmark = pytest.mark.integration


def status(installation: Installation) -> dict[str, dict[str, Any]]:
    shown = installation.sinsok("status", "--json")
    assert shown.returncode == 0, shown.stderr
    return {part["name"]: part for part in json.loads(shown.stdout)}


def all_ready(installation: Installation) -> None:
    states = {name: (part["state"], part["reason"]) for name, part in status(installation).items()}
    assert all(now == "ready" for now, _ in states.values()), states


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One stack for the tests of this file, up when a test starts and down at the end."""
    installation = install(tmp_path_factory.mktemp("stack"))
    yield installation
    ended = installation.sinsok("down")
    assert ended.returncode == 0, ended.stderr
    assert marked.processes(installation.settings.home) == {}


@pytest.fixture
def running(installation: Installation) -> Installation:
    up = installation.sinsok("up")
    assert up.returncode == 0, up.stderr
    return installation


def test_up_starts_every_part_and_shows_it(running: Installation) -> None:
    wait_until(lambda: all_ready(running), seconds=300)
    parts = status(running)

    assert list(parts) == [
        "kafka",
        "triton",
        "orthanc",
        "dicom-gateway",
        "streams-assemble",
        "streams-infer",
        "streams-confirm",
        "streams-alert",
        "pacs-writer",
        "streams-escalate",
        "notifier",
        "console",
        "watcher",
        "archiver",
        "auditor",
    ]
    for part in parts.values():
        assert psutil.pid_exists(part["pid"])
        assert part["endpoint"]
    assert str(running.settings.dicom.port) in parts["dicom-gateway"]["endpoint"]


def test_up_creates_the_declared_topics(running: Installation) -> None:
    consumer = Consumer({"bootstrap.servers": running.settings.kafka.bootstrap_servers, "group.id": "test"})
    existing = consumer.list_topics(timeout=120).topics
    consumer.close()

    for topic in all_topics(running.settings.sites):
        assert len(existing[topic.name].partitions) == topic.partitions


def test_a_second_up_changes_nothing(running: Installation) -> None:
    before = {name: part["pid"] for name, part in status(running).items()}

    again = running.sinsok("up")

    assert again.returncode == 0
    assert "already up" in again.stdout
    assert {name: part["pid"] for name, part in status(running).items()} == before


@pytest.mark.parametrize("name", ["kafka", "streams-alert"])
def test_a_killed_part_comes_back_and_the_restart_shows(running: Installation, name: str) -> None:
    before = status(running)[name]
    os.kill(before["pid"], signal.SIGKILL)

    def restarted() -> None:
        now = status(running)[name]
        assert now["restarts"] > before["restarts"], now
        assert now["pid"] not in (None, before["pid"]), now

    wait_until(restarted, seconds=300)
    wait_until(lambda: all_ready(running), seconds=300)


def test_a_part_that_was_put_down_stays_down_until_it_is_let_up(running: Installation) -> None:
    before = status(running)
    refused = running.sinsok("archive", "reset")
    assert refused.returncode == 1
    assert f"the archiver (pid {before['archiver']['pid']}) runs: `sinsok down archiver` stops it" in refused.stderr

    down = running.sinsok("down", "auditor", "archiver")

    assert down.returncode == 0, down.stderr
    assert running.sinsok("archive", "reset").returncode == 0
    parts = status(running)
    for name in ("auditor", "archiver"):
        assert (parts[name]["state"], parts[name]["reason"]) == ("stopped", f"until `sinsok up {name}`")
        assert name not in marked.processes(running.settings.home)
    assert parts["watcher"]["pid"] == before["watcher"]["pid"]

    up = running.sinsok("up", "auditor")

    assert up.returncode == 0, up.stderr
    parts = status(running)
    assert (parts["auditor"]["state"], parts["auditor"]["restarts"]) == ("ready", before["auditor"]["restarts"])
    assert parts["archiver"]["state"] == "stopped"
    assert running.sinsok("up").returncode == 0
    assert status(running)["archiver"]["state"] == "ready"


def test_a_part_that_there_is_not_is_named(running: Installation) -> None:
    for command in ("up", "down"):
        refused = running.sinsok(command, "audior")
        assert refused.returncode == 2
        assert "there is no part 'audior': parts are kafka, " in refused.stderr


def test_a_stopped_process_is_not_shown_as_ready(running: Installation) -> None:
    pid = status(running)["triton"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:

        def shown() -> None:
            triton = status(running)["triton"]
            assert triton["state"] == "failed", triton
            assert "does not answer" in triton["reason"]

        wait_until(shown, seconds=300)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: all_ready(running), seconds=300)


def test_down_finds_the_parts_of_a_killed_supervisor(running: Installation) -> None:
    home = running.settings.home
    supervisor = state.supervisor_pid(home)
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(supervisor)] if psutil.pid_exists(supervisor) else [], timeout=120)
    assert marked.processes(home)
    assert {part["state"] for part in status(running).values()} == {"failed"}

    down = running.sinsok("down")

    assert down.returncode == 0, down.stderr
    assert marked.processes(home) == {}
    assert {part["state"] for part in status(running).values()} == {"stopped"}
    assert (home / "kafka" / "data" / "meta.properties").exists()


def test_down_when_nothing_runs(tmp_path: Path) -> None:
    down = install(tmp_path).sinsok("down")

    assert (down.returncode, down.stdout) == (0, "nothing runs\n")


def test_up_names_the_port_that_is_taken_and_its_setting(tmp_path: Path) -> None:
    installation = install(tmp_path)
    port = installation.settings.orthanc.http_port
    with socket.create_server(("127.0.0.1", port)):
        up = installation.sinsok("up")

    assert up.returncode == 1
    assert up.stderr.count("\n") == 1
    assert f"127.0.0.1:{port} is taken" in up.stderr
    assert "orthanc.http_port" in up.stderr
    assert marked.processes(installation.settings.home) == {}


def test_up_names_the_external_server_that_is_away(tmp_path: Path) -> None:
    installation = install(tmp_path, changes='[stack]\nstart = ["triton", "orthanc"]\n')

    up = installation.sinsok("up")

    assert up.returncode == 1
    assert up.stderr.startswith("error: kafka: ")
    assert installation.settings.kafka.bootstrap_servers in up.stderr
    assert status(installation)["kafka"]["state"] == "failed"
