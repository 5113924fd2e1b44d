"""The archiver's start, and what it says while it cannot work. Its work is tried on a real broker."""

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from gateways import kafka
from gateways.archive import archiver as module
from gateways.archive.archiver import Archiver
from gateways.archive.retention import Retention
from gateways.archive.settings import ArchiveSettings
from gateways.objects import FileStore
from gateways.process import CannotStart, hold
from schemas.failures import Unavailable, Unreadable
from schemas.topics import RESULTS
from tests.stack import wait_until

NOBODY = "127.0.0.1:1"


def archiver(root: Path) -> Archiver:
    return Archiver(ArchiveSettings(), FileStore(root), NOBODY, [RESULTS])


def test_a_store_has_one_archiver(tmp_path: Path) -> None:
    with (
        hold(tmp_path / "archive" / "archiver.lock"),
        pytest.raises(CannotStart, match=rf"another archiver \(pid \d+\) works on {tmp_path}/archive"),
    ):
        archiver(tmp_path).start()


def test_a_store_that_cannot_be_written_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"no folder")
    with pytest.raises(CannotStart, match="cannot be used: "):
        archiver(tmp_path).start()


def test_a_broker_that_is_away_is_a_complaint_and_no_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "ANSWER_SECONDS", 0.2)
    ours = archiver(tmp_path)
    ours.start()
    try:
        wait_until(lambda: assert_told(ours), seconds=120)
        assert ours.deaths() == []
    finally:
        ours.stop()
    with hold(tmp_path / "archive" / "archiver.lock"):
        pass


def assert_told(ours: Archiver) -> None:
    (line,) = ours.health() or [""]
    assert line.startswith("nothing is archived since ")
    assert f"UTC: Kafka at {NOBODY} does not answer" in line


class Stretch:
    """Collecting that looks once what may go, and then waits."""

    def __init__(self, *given: Any) -> None:
        self._drop = given[6]
        self.stuck: list[str] = []

    def work(self, stop: Event, on_well: Callable[[], None]) -> None:
        self._drop([])
        on_well()
        stop.wait()


@pytest.mark.parametrize(
    "failure", [Unavailable("Kafka does not answer"), Unreadable("damaged"), OSError(5, "Input/output error")]
)
def test_what_cannot_be_dropped_is_a_complaint_and_archiving_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: object) -> list[str]:
        raise failure

    monkeypatch.setattr(module, "Collector", Stretch)
    monkeypatch.setattr(Retention, "apply", fail)
    ours = archiver(tmp_path)
    ours.start()
    try:
        wait_until(lambda: assert_held(ours, str(failure)), seconds=120)
    finally:
        ours.stop()


def assert_held(ours: Archiver, failure: str) -> None:
    assert ours.health() == [f"nothing more leaves the broker: {failure}"]


def test_one_that_hangs_does_not_look_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Collector", Stretch)
    monkeypatch.setattr(Retention, "apply", lambda *_: [])
    ours = archiver(tmp_path)
    ours.start()
    try:
        assert ours.health() == []
        monkeypatch.setattr(module, "_LONGEST_SILENCE_S", 0.0)
        (line,) = ours.health()
    finally:
        ours.stop()
    assert line.startswith("nothing is archived since ")
    assert "UTC: the collector hangs, " in line
