"""Archive and topic as one: every record once, whatever the broker still has."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways import kafka
from gateways.archive import history
from gateways.archive.store import Beginning, SegmentStore
from gateways.kafka import Record
from gateways.objects import FileStore
from schemas.failures import Unavailable, Unreadable
from tests.unit.gateways.archive.examples import TOPIC, Broker, record, run

PLACE = (TOPIC, 0)
Read = Callable[..., list[Record]]


def at(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


@pytest.fixture
def objects(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


@pytest.fixture
def store(objects: FileStore) -> SegmentStore:
    return SegmentStore(objects)


@pytest.fixture
def read(objects: FileStore, monkeypatch: pytest.MonkeyPatch) -> Read:
    def of(broker: Broker, *topics: str, **asked: object) -> list[Record]:
        monkeypatch.setattr(kafka, "Consumer", broker.made)
        return list(history.read("nowhere", objects, topics or [TOPIC], **asked))  # type: ignore[arg-type]

    return of


def test_the_archived_come_first_then_those_on_the_broker(store: SegmentStore, read: Read) -> None:
    store.put(run(0, 10), 0)
    store.put(run(10, 15), 10)
    broker = Broker({PLACE: run(12, 20)}, lows={PLACE: 12})
    assert read(broker) == run(0, 20)


def test_without_an_archive_there_are_those_on_the_broker(read: Read) -> None:
    assert read(Broker({PLACE: run(0, 7), (TOPIC, 1): []})) == run(0, 7)


def test_a_topic_that_the_broker_lost_is_read_from_the_archive_and_one_that_nobody_has_is_passed_over(
    store: SegmentStore, read: Read
) -> None:
    store.put(run(0, 10), 0)
    assert read(Broker({("other", 0): []}), TOPIC, "nobodys.topic") == run(0, 10)


def test_what_the_broker_let_go_of_before_it_was_archived_is_named(store: SegmentStore, read: Read) -> None:
    store.put(run(0, 10), 0)
    with pytest.raises(Unreadable, match=r"^triage\.results/0: records 10 to 14 are neither in the archive nor on"):
        read(Broker({PLACE: run(15, 20)}, lows={PLACE: 15}))


def test_what_the_archive_lost_is_named(store: SegmentStore, read: Read) -> None:
    for first, end in ((0, 10), (15, 20)):
        store.put(run(first, end), first)
    with pytest.raises(Unreadable, match=r"^archive of triage\.results/0: records 10 to 14 are missing"):
        read(Broker({PLACE: run(18, 25)}, lows={PLACE: 18}))


@pytest.mark.parametrize(("since", "until"), [(at(15.5), None), (None, at(9))])
def test_what_is_missing_outside_the_period_does_not_matter(
    store: SegmentStore, read: Read, since: datetime | None, until: datetime | None
) -> None:
    for first, end in ((0, 10), (15, 20)):
        store.put(run(first, end), first)
    found = read(Broker({PLACE: run(18, 25)}, lows={PLACE: 18}), since=since, until=until)
    assert found == (run(16, 25) if until is None else run(0, 9))


def test_what_the_archive_lost_from_the_front_is_named_where_it_belongs_to_the_period(
    store: SegmentStore, read: Read
) -> None:
    store.begin(PLACE, Beginning(first=0, topic_id="id"))
    store.put(run(10, 20), 10)
    broker = Broker({PLACE: run(18, 25)}, lows={PLACE: 18})
    with pytest.raises(Unreadable, match="records 0 to 9 are neither in the archive nor on the broker"):
        read(broker)
    with pytest.raises(Unreadable, match="records 0 to 9 are neither in the archive nor on the broker"):
        read(broker, until=at(15))
    assert read(broker, since=at(12)) == run(12, 25)
    assert read(broker, offsets={PLACE: 15}) == run(15, 25)


def test_what_the_archive_lost_of_a_partition_as_a_whole_is_named(store: SegmentStore, read: Read) -> None:
    store.begin(PLACE, Beginning(first=0, topic_id="id"))
    with pytest.raises(Unreadable, match="records 0 to 17 are neither in the archive nor on the broker"):
        read(Broker({PLACE: run(18, 25)}, lows={PLACE: 18}))
    with pytest.raises(Unreadable, match=r"^archive of triage\.results/0: all records from 0 on are missing"):
        read(Broker({("other", 0): []}))


def test_records_that_stand_twice_are_refused(store: SegmentStore, read: Read) -> None:
    for first, end in ((0, 10), (8, 20)):
        store.put(run(first, end), first)
    with pytest.raises(Unreadable, match="records 8 to 9 stand twice"):
        read(Broker({PLACE: []}, lows={PLACE: 20}, ends={PLACE: 20}))


def test_a_damaged_segment_is_named_and_one_outside_the_period_is_not_opened(store: SegmentStore, read: Read) -> None:
    damaged = store.put(run(0, 10), 0)
    store.put(run(10, 20), 10)
    damaged.path.write_bytes(b"")
    broker = Broker({PLACE: []}, lows={PLACE: 20}, ends={PLACE: 20})
    with pytest.raises(Unreadable, match=damaged.path.name):
        read(broker)
    assert read(broker, since=at(10)) == run(10, 20)


def test_a_topic_that_was_made_anew_is_not_taken_for_the_old_one(store: SegmentStore, read: Read) -> None:
    store.put(run(0, 10), 0)
    with pytest.raises(Unreadable, match=r"before 10, the topic on the broker only such before 3: it was made anew"):
        read(Broker({PLACE: run(0, 3)}))


def test_a_store_that_is_not_mounted_is_not_an_empty_archive(read: Read) -> None:
    with pytest.raises(Unavailable, match="is not there: is the object store mounted"):
        read(Broker({PLACE: run(5, 8)}, lows={PLACE: 5}))


def test_an_archive_that_began_late_is_no_fault(store: SegmentStore, read: Read) -> None:
    store.put(run(100, 110), 100)
    assert read(Broker({PLACE: run(105, 120)}, lows={PLACE: 105})) == run(100, 120)


def test_a_caller_who_stood_before_that_is_told(store: SegmentStore, read: Read) -> None:
    store.put(run(100, 110), 100)
    with pytest.raises(Unreadable, match="records 40 to 99 are neither in the archive nor on the broker"):
        read(Broker({PLACE: run(105, 120)}, lows={PLACE: 105}), offsets={PLACE: 40})


def test_markers_of_transactions_leave_no_gap(store: SegmentStore, read: Read) -> None:
    store.put(run(0, 10), 0)
    store.put(run(11, 20), 10)
    broker = Broker({PLACE: run(21, 25)}, lows={PLACE: 20}, ends={PLACE: 26})
    assert read(broker) == [*run(0, 10), *run(11, 20), *run(21, 25)]


def test_what_is_archived_and_dropped_meanwhile_is_read_from_the_archive(
    store: SegmentStore, objects: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(run(0, 10), 0)
    broker = Broker({PLACE: run(0, 30)}, lows={PLACE: 5})
    monkeypatch.setattr(kafka, "Consumer", broker.made)
    reading: Iterator[Record] = history.read("nowhere", objects, [TOPIC])
    found = [next(reading)]

    store.put(run(10, 20), 10)
    store.put(run(20, 26), 20)
    broker.lows[PLACE] = 26
    broker.logs[PLACE] += run(30, 40)

    assert [*found, *reading] == run(0, 30), "up to the end as it was"


def test_what_is_dropped_under_a_reader_of_the_topic_is_read_from_the_archive(
    store: SegmentStore, objects: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(run(0, 10), 0)
    broker = Broker({PLACE: run(0, 30)}, lows={PLACE: 5})
    monkeypatch.setattr(kafka, "Consumer", broker.made)
    assign = broker.assign

    def drop_first(partitions: list[object]) -> None:
        if broker.lows[PLACE] == 5:
            store.put(run(10, 20), 10)
            broker.lows[PLACE] = 20
        assign(partitions)  # type: ignore[arg-type]

    monkeypatch.setattr(broker, "assign", drop_first)
    assert list(history.read("nowhere", objects, [TOPIC])) == run(0, 30)


@settings(max_examples=50)
@given(st.data())
def test_any_cut_any_drop_any_period_any_resumption(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    times = data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=40))
    records = [record(offset, at_ms=at_ms) for offset, at_ms in enumerate(sorted(times))]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(records)), max_size=6)))
    objects = FileStore(tmp_path_factory.mktemp("store"))
    store = SegmentStore(objects)
    for first, end in zip([0, *cuts], cuts, strict=False):
        store.put(records[first:end], first)
    low = data.draw(st.integers(0, cuts[-1] if cuts else 0))
    since_ms, until_ms = data.draw(st.none() | st.integers(0, 31)), data.draw(st.none() | st.integers(0, 31))
    begin = data.draw(st.none() | st.integers(0, len(records)))
    broker = Broker({PLACE: records[low:]}, lows={PLACE: low}, ends={PLACE: len(records)})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kafka, "Consumer", broker.made)
        found = list(
            history.read(
                "nowhere",
                objects,
                [TOPIC],
                since=None if since_ms is None else at(since_ms / 1000),
                until=None if until_ms is None else at(until_ms / 1000),
                offsets=None if begin is None else {PLACE: begin},
            )
        )

    assert found == [
        one
        for one in records[begin or 0 :]
        if (since_ms is None or one.timestamp_ms >= since_ms) and (until_ms is None or one.timestamp_ms < until_ms)
    ]
