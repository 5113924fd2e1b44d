"""`sinsok archive`: what is told of the archive, and of its faults."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateways.archive.store import Beginning, SegmentStore
from gateways.objects import FileStore
from sinsok.consistency import contradictions
from sinsok.settings import load
from tests.unit.gateways.archive.examples import TOPIC, record, run
from tests.unit.sinsok.commandline import sinsok


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SegmentStore:
    """Two topics are archived, one of them in two segments of a partition and one of another."""
    monkeypatch.setenv("SINSOK_HOME", str(tmp_path))
    store = SegmentStore(FileStore(tmp_path / "objects"))
    store.put(run(0, 10), 0)
    store.put(run(10, 15), 10)
    store.put([record(7, partition=2)], 7)
    store.put([replace(record(0), topic="dicom.series")], 0)
    for place, first in (((TOPIC, 0), 0), ((TOPIC, 2), 7), (("dicom.series", 0), 0)):
        store.begin(place, Beginning(first=first, topic_id="id"))
    return store


def test_every_topic_has_a_line(store: SegmentStore) -> None:
    answer = sinsok("archive", "list")
    assert answer.code == 0
    series, results = answer.out.splitlines()
    assert series.startswith("dicom.series: 1 segment of 1 partition, 1 record in ")
    assert results.startswith(f"{TOPIC}: 3 segments of 2 partitions, 16 records in ")
    assert results.endswith("KiB, 1970-01-01 00:00:00 UTC to 1970-01-01 00:00:14 UTC")


def test_of_one_topic_every_segment_has(store: SegmentStore) -> None:
    answer = sinsok("archive", "list", TOPIC)
    told = [line.strip().split(" record")[0] for line in answer.out.splitlines()[1:]]
    assert told == [f"{TOPIC}/0  0 to 9, 10", f"{TOPIC}/0  10 to 14, 5", f"{TOPIC}/2  7 to 7, 1"]


def test_for_programs_every_segment_is_an_object(store: SegmentStore) -> None:
    told = [json.loads(line) for line in sinsok("archive", "list", "--json").out.splitlines()]
    assert [(one["topic"], one["partition"], one["first"], one["last"], one["records"]) for one in told] == [
        ("dicom.series", 0, 0, 0, 1),
        (TOPIC, 0, 0, 9, 10),
        (TOPIC, 0, 10, 14, 5),
        (TOPIC, 2, 7, 7, 1),
    ]
    assert all(Path(one["path"]).stat().st_size == one["size_bytes"] for one in told)


def test_an_archive_that_is_whole(store: SegmentStore) -> None:
    answer = sinsok("archive", "verify")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[:2] == [
        "ok       dicom.series: 1 whole segment with 1 record",
        f"ok       {TOPIC}: 3 whole segments with 16 records",
    ]


def damage(store: SegmentStore) -> str:
    path = store.segments((TOPIC, 0))[1].path
    path.write_bytes(path.read_bytes()[:-1])
    return path.name


def lose(store: SegmentStore) -> str:
    store.put(run(20, 21), 20)
    return "archive of triage.results/0: records 15 to 19 are missing"


def lose_the_first(store: SegmentStore) -> str:
    store.segments((TOPIC, 0))[0].path.unlink()
    return "archive of triage.results/0: records 0 to 9 are missing"


def lose_a_partition(store: SegmentStore) -> str:
    shutil.rmtree(store.root / TOPIC / "2")
    return "archive of triage.results/2: all records from 7 on are missing"


def lose_a_note(store: SegmentStore) -> str:
    (store.root / TOPIC / "_2.json").unlink()
    return "archive of triage.results/2: where it begins is not known, "


def damage_a_note(store: SegmentStore) -> str:
    (store.root / TOPIC / "_2.json").write_bytes(b"")
    return "_2.json: damaged, it does not say where an archive begins"


def repeat(store: SegmentStore) -> str:
    store.put(run(12, 15), 12)
    return "archive of triage.results/0: records 12 to 14 stand twice"


def rename(store: SegmentStore) -> str:
    path = store.segments((TOPIC, 0))[1].path
    path.rename(path.with_name("old.parquet"))
    return "old.parquet: is no segment"


FAULTS = [damage, lose, lose_the_first, lose_a_partition, lose_a_note, damage_a_note, repeat, rename]


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_named(store: SegmentStore, fault: Callable[[SegmentStore], str]) -> None:
    named = fault(store)
    answer = sinsok("archive", "verify")
    assert answer.code == 1
    (line,) = [line for line in answer.out.splitlines() if line.startswith("damaged")]
    assert named in line
    assert f"differs  {TOPIC}: " in answer.out
    assert sinsok("archive", "verify", "dicom.series").code == 0


def test_a_topic_that_nobody_archived(store: SegmentStore) -> None:
    answer = sinsok("archive", "list", "triage.result")
    assert (answer.code, answer.out) == (2, "")
    assert "archived are dicom.series, triage.results" in answer.err


def test_an_empty_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINSOK_HOME", str(tmp_path))
    assert sinsok("archive", "list").out.startswith("nothing is archived in ")
    assert sinsok("archive", "verify").code == 0


def test_a_retention_for_a_topic_that_there_is_not_is_a_contradiction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINSOK_ARCHIVE__RETENTION_DAYS", '{"triage.result": 30, "alerts.suwon": 30}')
    told = [line for line in contradictions(load()) if "retention" in line]
    assert told == ["archive.retention_days: there is no topic triage.result"]
