"""Where segments lie: a listing tells what there is, and what is not."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gateways.archive.store import Beginning, SegmentStore, seams
from gateways.objects import FileStore
from schemas.failures import Unavailable, Unreadable
from tests.unit.gateways.archive.examples import TOPIC, record, run

PLACE = (TOPIC, 3)


@pytest.fixture
def store(tmp_path: Path) -> SegmentStore:
    return SegmentStore(FileStore(tmp_path))


def put(store: SegmentStore, first: int, end: int) -> None:
    store.put([record(offset, partition=3) for offset in range(first, end)], first)


def test_segments_are_listed_in_order_and_without_being_opened(store: SegmentStore) -> None:
    for first, end in ((100, 120), (0, 100), (120, 121)):
        put(store, first, end)
    for path in (store.root / TOPIC / "3").iterdir():
        path.chmod(0)
    found = store.segments(PLACE)
    assert [(one.first, one.last, one.count) for one in found] == [(0, 99, 100), (100, 119, 20), (120, 120, 1)]
    assert [one.first for one in store.segments(PLACE, begin=119)] == [100, 120]
    assert store.newest(PLACE) == found[-1]
    assert seams(found) == []
    assert (store.topics(), store.partitions(TOPIC)) == ([TOPIC], [3])


def test_an_empty_archive_has_nothing(store: SegmentStore) -> None:
    assert (store.topics(), store.partitions(TOPIC), store.segments(PLACE), store.newest(PLACE)) == ([], [], [], None)


def test_partitions_are_in_the_order_of_their_numbers(store: SegmentStore) -> None:
    for number in (11, 2):
        store.put([record(0, partition=number)], 0)
    assert store.partitions(TOPIC) == [2, 11]


@pytest.mark.parametrize(
    ("spans", "says"),
    [
        ([(0, 100), (150, 160)], "archive of triage.results/3: records 100 to 149 are missing"),
        ([(0, 100), (90, 160)], "archive of triage.results/3: records 90 to 99 stand twice, in 0000"),
        ([(0, 100), (90, 95)], "archive of triage.results/3: records 90 to 94 stand twice, in 0000"),
    ],
)
def test_what_is_missing_or_there_twice_is_named(store: SegmentStore, spans: list[tuple[int, int]], says: str) -> None:
    for first, end in spans:
        put(store, first, end)
    (seam,) = seams(store.segments(PLACE))
    assert str(seam).startswith(says)


def test_offsets_without_records_between_two_segments_are_no_gap(store: SegmentStore) -> None:
    """A marker of a transaction takes one: the run that follows begins there."""
    put(store, 0, 10)
    store.put([record(offset, partition=3) for offset in range(12, 20)], 10)
    assert seams(store.segments(PLACE)) == []


@pytest.mark.parametrize(
    ("spans", "begins", "says"),
    [
        ([(5, 10), (10, 20)], 5, ""),
        ([(10, 20)], 5, "archive of triage.results/3: records 5 to 9 are missing"),
        ([], 5, "archive of triage.results/3: all records from 5 on are missing"),
        ([], None, ""),
        ([(5, 10)], None, "archive of triage.results/3: where it begins is not known, "),
    ],
)
def test_what_is_lost_from_the_front_is_named(
    store: SegmentStore, spans: list[tuple[int, int]], begins: int | None, says: str
) -> None:
    for first, end in spans:
        put(store, first, end)
    if begins is not None:
        store.begin(PLACE, Beginning(first=begins, topic_id="id"))
        assert store.partitions(TOPIC) == [3], "also where its folder is gone"
    told = store.missing_in_front(PLACE)
    assert told.startswith(says) if says else told == ""


def test_a_note_that_is_damaged_is_not_one_that_was_never_written(store: SegmentStore) -> None:
    store.begin(PLACE, Beginning(first=0, topic_id="id"))
    note = store.root / TOPIC / "_3.json"
    note.write_bytes(note.read_bytes()[:-1])
    with pytest.raises(Unreadable, match=r"_3\.json: damaged, it does not say where an archive begins"):
        store.missing_in_front(PLACE)


def test_who_reads_the_folder_of_a_topic_as_parquet_does_not_meet_the_note(store: SegmentStore) -> None:
    put(store, 0, 5)
    store.begin(PLACE, Beginning(first=0, topic_id="id"))
    assert pq.read_table(store.root / TOPIC)["offset"].to_pylist() == [0, 1, 2, 3, 4]


def test_what_a_killed_writer_left_is_not_seen_and_goes(store: SegmentStore) -> None:
    store.put(run(0, 5), 0)
    half = store.root / TOPIC / "0" / ".0123.part"
    half.write_bytes(b"half")
    (store.root / TOPIC / ".4567.part").write_bytes(b"half a note")
    assert [one.count for one in store.segments((TOPIC, 0))] == [5]
    assert store.clean() == 2
    assert not half.exists()
    assert [one.count for one in store.segments((TOPIC, 0))] == [5]


def test_other_files_are_named_and_are_no_segments(store: SegmentStore) -> None:
    store.put(run(0, 5), 0)
    stranger = store.root / TOPIC / "0" / "copy of a segment.parquet"
    stranger.write_bytes(b"")
    assert store.strangers((TOPIC, 0)) == [stranger]
    assert len(store.segments((TOPIC, 0))) == 1


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(store: SegmentStore) -> None:
    store.root.mkdir()
    (store.root / TOPIC).write_bytes(b"")
    with pytest.raises(Unavailable, match="cannot be read: Not a directory"):
        store.partitions(TOPIC)
