"""The archiver's start, and what it says while it cannot work. Its work is tried on a real broker."""

from pathlib import Path

import pytest

from gateways import kafka
from gateways.archive.archiver import Archiver
from gateways.archive.settings import ArchiveSettings
from gateways.objects import FileStore
from gateways.process import CannotStart, hold
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
        wait_until(lambda: assert_told(ours), seconds=20)
        assert ours.deaths() == []
    finally:
        ours.stop()
    with hold(tmp_path / "archive" / "archiver.lock"):
        pass


def assert_told(ours: Archiver) -> None:
    (line,) = ours.health() or [""]
    assert line.startswith("nothing is archived since ")
    assert f"UTC: Kafka at {NOBODY} does not answer" in line
