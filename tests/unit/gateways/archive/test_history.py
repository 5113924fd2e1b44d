"""Archive and topic as one: every record once, whatever the broker still has."""

import errno
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
from schemas.failures import BrokerAway, Unavailable, Unreadable
from tests.unit.gateways.archive.examples import TOPIC, Broker, record, run

PLACE = (TOPIC, 0)
Read = Callable[..., list[Record]]
Lenient = Callable[..., tuple[list[Record], list[str]]]


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
    with pytest.raises(Unreadable, match=r"^archive of triage\.results/0: records 0 to 9 are missing; `sinsok archive"):
        read(broker)
    with pytest.raises(Unreadable, match="records 0 to 9 are missing"):
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
    with pytest.raises(Unreadable, match="records 40 to 99 are missing"):
        read(Broker({PLACE: run(105, 120)}, lows={PLACE: 105}), offsets={PLACE: 40})


@pytest.fixture
def lenient(read: Read) -> Lenient:
    """What is read where it goes on, and what is told meanwhile."""

    def of(broker: Broker, *topics: str, **asked: object) -> tuple[list[Record], list[str]]:
        told: list[str] = []
        return read(broker, *topics, on_fault=told.append, **asked), told

    return of


def test_behind_a_damaged_segment_it_goes_on(store: SegmentStore, lenient: Lenient) -> None:
    damaged = [store.put(run(first, first + 10), first) for first in (0, 10, 20, 30)][1:4:2]
    for one in damaged:
        one.path.write_bytes(one.path.read_bytes()[:-1])
    found, told = lenient(Broker({PLACE: run(38, 45)}, lows={PLACE: 38}))
    assert found == [*run(0, 10), *run(20, 30), *run(38, 45)]
    assert told == [f"{one.path}: damaged, its bytes are not those that its name promises" for one in damaged]


def test_what_a_damaged_segment_held_is_read_from_the_broker(store: SegmentStore, lenient: Lenient) -> None:
    segments = [store.put(run(first, first + 10), first) for first in (0, 10, 20)]
    segments[1].path.write_bytes(b"")
    found, told = lenient(Broker({PLACE: run(14, 35)}, lows={PLACE: 14}))
    assert (found, len(told)) == ([*run(0, 10), *run(14, 35)], 1)
    segments[2].path.write_bytes(b"")
    found, told = lenient(Broker({PLACE: run(24, 35)}, lows={PLACE: 24}))
    assert (found, len(told)) == ([*run(0, 10), *run(24, 35)], 2)
    segments[0].path.write_bytes(b"")
    assert lenient(Broker({PLACE: run(0, 35)}), until=at(5))[0] == run(0, 5)


def test_a_segment_that_cannot_be_opened_is_passed_over(store: SegmentStore, lenient: Lenient) -> None:
    gone = store.put(run(0, 10), 0).path
    store.put(run(10, 20), 10)
    gone.unlink()
    gone.mkdir()
    found, told = lenient(Broker({PLACE: []}, lows={PLACE: 20}, ends={PLACE: 20}))
    assert (found, told) == (run(10, 20), [f"{gone}: cannot be read: Is a directory"])


def test_behind_a_gap_it_goes_on_with_what_the_broker_has_in_it(store: SegmentStore, lenient: Lenient) -> None:
    store.put(run(0, 10), 0)
    store.put(run(15, 20), 15)
    told = ["archive of triage.results/0: records 10 to 14 are missing"]
    assert lenient(Broker({PLACE: run(18, 25)}, lows={PLACE: 18})) == ([*run(0, 10), *run(15, 25)], told)
    assert lenient(Broker({PLACE: run(12, 25)}, lows={PLACE: 12})) == ([*run(0, 10), *run(12, 25)], told)
    assert lenient(Broker({PLACE: run(0, 25)})) == (run(0, 25), told)


def test_what_the_broker_drops_in_a_gap_holds_up_nobody(
    store: SegmentStore, lenient: Lenient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(run(0, 10), 0)
    store.put(run(15, 20), 15)
    broker = Broker({PLACE: run(0, 25)}, lows={PLACE: 12})
    assign = broker.assign

    def drop(partitions: list[object]) -> None:
        broker.lows[PLACE] = 16
        assign(partitions)  # type: ignore[arg-type]

    monkeypatch.setattr(broker, "assign", drop)
    found, told = lenient(broker)
    assert (found, len(told)) == ([*run(0, 10), *run(15, 25)], 1)


def test_between_archive_and_broker_too(store: SegmentStore, lenient: Lenient) -> None:
    damaged = [store.put(run(first, first + 10), first) for first in (0, 10)][1]
    gap = "triage.results/0: records 20 to 24 are neither in the archive nor on the broker"
    broker = Broker({PLACE: run(25, 30)}, lows={PLACE: 25})
    assert lenient(broker) == ([*run(0, 20), *run(25, 30)], [gap])
    damaged.path.write_bytes(b"")
    found, told = lenient(broker)
    assert (found, told[1:]) == ([*run(0, 10), *run(25, 30)], [gap]), "and no more of it than was not told"


def test_what_is_missing_in_front_is_told_and_read_from_the_broker(store: SegmentStore, lenient: Lenient) -> None:
    store.begin(PLACE, Beginning(first=0, topic_id="id"))
    store.put(run(10, 20), 10)
    told = ["archive of triage.results/0: records 0 to 9 are missing"]
    assert lenient(Broker({PLACE: run(18, 25)}, lows={PLACE: 18})) == (run(10, 25), told)
    assert lenient(Broker({PLACE: run(6, 25)}, lows={PLACE: 6})) == (run(6, 25), told)
    assert lenient(Broker({("other", 0): []})) == (run(10, 20), told)
    assert lenient(Broker({PLACE: run(18, 25)}, lows={PLACE: 18}), offsets={PLACE: 12}) == (run(12, 25), [])
    assert lenient(Broker({PLACE: run(18, 25)}, lows={PLACE: 18}), since=at(12)) == (run(12, 25), [])


def test_a_partition_that_is_gone_from_the_archive_is_told(store: SegmentStore, lenient: Lenient) -> None:
    store.begin(PLACE, Beginning(first=0, topic_id="id"))
    assert lenient(Broker({PLACE: run(18, 25)}, lows={PLACE: 18})) == (
        run(18, 25),
        ["triage.results/0: records 0 to 17 are neither in the archive nor on the broker"],
    )
    assert lenient(Broker({("other", 0): []})) == (
        [],
        ["archive of triage.results/0: all records from 0 on are missing"],
    )


def test_of_a_topic_that_was_made_anew_the_old_and_the_new_are_read(store: SegmentStore, lenient: Lenient) -> None:
    damaged = [store.put(run(first, first + 5), first) for first in (0, 5, 10)][1]
    damaged.path.write_bytes(b"")
    anew = [record(offset, at_ms=offset, value=b"new") for offset in range(2, 12)]
    found, told = lenient(Broker({PLACE: anew}, lows={PLACE: 2}))
    assert found == [*run(0, 5), *run(10, 15), *anew], "nothing of the new in the place of the old"
    assert told[0].endswith(
        "archive holds records before 15, the topic on the broker only such before 12: it was made anew"
    )
    assert told[1:] == [f"{damaged.path}: damaged, its bytes are not those that its name promises"]


def test_of_a_topic_that_was_made_anew_nothing_is_read_twice_whatever_is_dropped_meanwhile(
    store: SegmentStore, lenient: Lenient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(run(0, 15), 0)
    broker = Broker({PLACE: run(0, 12)})
    assign = broker.assign

    def drop(partitions: list[object]) -> None:
        broker.lows[PLACE] = 4
        assign(partitions)  # type: ignore[arg-type]

    monkeypatch.setattr(broker, "assign", drop)
    found, told = lenient(broker)
    assert (found, len(told)) == ([*run(0, 15), *run(4, 12)], 1)


@pytest.mark.parametrize("archived", [True, False])
def test_a_topic_that_is_made_anew_under_a_reader_is_told(
    store: SegmentStore, lenient: Lenient, monkeypatch: pytest.MonkeyPatch, archived: bool
) -> None:
    if archived:
        store.put(run(0, 10), 0)
    broker = Broker({PLACE: run(0, 20)}, lows={PLACE: 5})
    assign = broker.assign

    def make_anew(partitions: list[object]) -> None:
        broker.logs[PLACE], broker.lows[PLACE] = run(0, 3), 0
        assign(partitions)  # type: ignore[arg-type]

    monkeypatch.setattr(broker, "assign", make_anew)
    found, told = lenient(broker, offsets={} if archived else {PLACE: 10})
    assert (found, len(told)) == ([*(run(0, 10) if archived else []), *run(0, 3)], 1)


@pytest.mark.parametrize("what", ["partition", "topic", "root", "note"])
def test_where_an_archive_cannot_be_listed_there_are_the_records_of_the_broker(
    store: SegmentStore, lenient: Lenient, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    for number in (0, 1):
        store.begin((TOPIC, number), Beginning(first=0, topic_id="id"))
        store.put([record(offset, partition=number) for offset in range(10)], 0)
    place = store.root / TOPIC
    refused = {"partition": place / "1", "topic": place, "root": store.root, "note": place / "_1.json"}[what]
    for name in ("iterdir", "read_bytes", "is_dir"):
        monkeypatch.setattr(Path, name, refusing(getattr(Path, name), refused))
    logs = {(TOPIC, n): [record(offset, partition=n) for offset in range(6, 15)] for n in (0, 1)}
    whole = {n: [record(offset, partition=n) for offset in range(15)] for n in (0, 1)}

    found, told = lenient(Broker(logs, lows=dict.fromkeys(logs, 6)))

    by_partition = {n: [one for one in found if one.partition == n] for n in (0, 1)}
    assert by_partition[0] == (logs[TOPIC, 0] if what in ("topic", "root") else whole[0])
    assert by_partition[1] == (whole[1] if what == "note" else logs[TOPIC, 1])
    (line,) = told
    assert str(refused) in line
    assert line.endswith("cannot be read: Permission denied")
    assert lenient(Broker(logs, lows=dict.fromkeys(logs, 6)), offsets={(TOPIC, 1): 3})[1] == told


def refusing(usual: Callable[[Path], object], refused: Path) -> Callable[[Path], object]:
    def asked(path: Path) -> object:
        if path == refused or refused in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied")
        return usual(path)

    return asked


def test_a_store_that_is_not_mounted_is_told_once(lenient: Lenient) -> None:
    places = [(TOPIC, 0), (TOPIC, 1)]
    broker = Broker({(TOPIC, n): [record(7, partition=n)] for n in (0, 1)}, lows=dict.fromkeys(places, 5))
    found, told = lenient(broker)
    assert {one.partition for one in found} == {0, 1}
    (line,) = told
    assert line.endswith("is not there: is the object store mounted?")


def test_records_that_stand_twice_are_read_once_and_none_is_left_out(store: SegmentStore, lenient: Lenient) -> None:
    for first, end in ((0, 10), (2, 5), (8, 20), (20, 25)):
        store.put(run(first, end), first)
    found, told = lenient(Broker({PLACE: []}, lows={PLACE: 25}, ends={PLACE: 25}))
    assert found == run(0, 25)
    assert [line.split(" stand twice")[0] for line in told] == [
        "archive of triage.results/0: records 2 to 4",
        "archive of triage.results/0: records 8 to 9",
    ]


def test_nor_are_they_where_the_period_begins_behind_the_smaller(store: SegmentStore, lenient: Lenient) -> None:
    for first, end in ((0, 20), (5, 10), (20, 25)):
        store.put(run(first, end), first)
    assert lenient(Broker({PLACE: run(0, 30)}), since=at(12))[0] == run(12, 30)


@pytest.mark.parametrize("order", [0, 1])
def test_of_two_segments_with_the_same_records_the_whole_one_is_read(
    store: SegmentStore, lenient: Lenient, order: int
) -> None:
    """As after an old file was put back beside the one that took its place."""
    store.put(run(0, 10), 0)
    store.put(run(0, 9), 0)
    store.put(run(10, 15), 10)
    damaged = store.segments(PLACE)[order].path
    damaged.write_bytes(b"")
    found, told = lenient(Broker({PLACE: []}, lows={PLACE: 15}, ends={PLACE: 15}))
    assert found == [*run(0, 10 if order == 0 else 9), *run(10, 15)]
    assert len(told) == 2


def test_an_archive_that_grows_behind_a_damaged_segment_is_read_on(
    store: SegmentStore, objects: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(run(0, 10), 0)
    store.put(run(10, 20), 10).path.write_bytes(b"")
    broker = Broker({PLACE: run(15, 40)}, lows={PLACE: 15})
    monkeypatch.setattr(kafka, "Consumer", broker.made)
    told: list[str] = []
    reading = history.read("nowhere", objects, [TOPIC], on_fault=told.append)
    found = [next(reading)]
    store.put(run(20, 30), 20)
    broker.lows[PLACE] = 25
    assert [*found, *reading] == [*run(0, 10), *run(20, 40)]
    assert len(told) == 1


def test_a_broker_that_does_not_answer_is_no_fault_of_the_archive(
    store: SegmentStore, lenient: Lenient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(run(0, 10), 0)
    broker = Broker({PLACE: run(5, 15)}, lows={PLACE: 5})

    def away(partitions: object) -> None:
        raise BrokerAway("away")

    monkeypatch.setattr(broker, "assign", away)
    with pytest.raises(BrokerAway):
        lenient(broker)


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
    store.put(run(20, 35), 20)
    broker.lows[PLACE] = 35
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


@settings(max_examples=100)
@given(st.data())
def test_whatever_is_lost_all_that_can_be_read_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, 30))
    records = run(0, count)
    cuts = sorted(data.draw(st.sets(st.integers(1, count), max_size=8)))
    objects = FileStore(tmp_path_factory.mktemp("store"))
    store = SegmentStore(objects)
    store.begin(PLACE, Beginning(first=0, topic_id="id"))
    low, begin = data.draw(st.integers(0, count)), data.draw(st.integers(0, count))
    readable, lost = set(range(low, count)), 0
    for first, end in zip([0, *cuts], cuts, strict=False):
        segment = store.put(records[first:end], first)
        match data.draw(st.sampled_from(["whole", "damaged", "missing"])):
            case "whole":
                readable |= set(range(first, end))
            case "damaged":
                segment.path.write_bytes(b"")
                lost += end > begin
            case "missing":
                segment.path.unlink()
    told: list[str] = []
    broker = Broker({PLACE: records[low:]}, lows={PLACE: low}, ends={PLACE: count})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kafka, "Consumer", broker.made)
        found = list(history.read("nowhere", objects, [TOPIC], offsets={PLACE: begin}, on_fault=told.append))

    assert [one.offset for one in found] == sorted(one for one in readable if one >= begin)
    assert len([line for line in told if "damaged" in line]) == lost
    assert len(set(told)) == len(told)
