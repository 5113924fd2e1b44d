"""What the broker may drop. The requests themselves are tried on a real one."""

from pathlib import Path
from typing import Any

import pytest

from gateways.archive import retention
from gateways.archive.retention import Retention
from gateways.archive.segment import Segment
from gateways.archive.store import Beginning, SegmentStore
from gateways.kafka import Place
from gateways.objects import FileStore
from schemas.audit import RecordsDropped
from schemas.failures import Unavailable
from tests.unit.gateways.archive.examples import TOPIC, record, run

PLACE = (TOPIC, 0)
DAY_S = 86_400.0


class Told(Retention):
    """With answers of a broker, and a note of what it was asked to drop."""

    def __init__(self, store: SegmentStore, *, low: int = 0, read: dict[str, int] | None = None) -> None:
        self.announced: list[RecordsDropped] = []
        super().__init__(None, store, {TOPIC: 1.0}, self.announced.append)
        self.low, self.read = low, read or {}
        self.dropped: list[int] = []

    def _begins(self, places: Any) -> dict[Place, int]:
        return dict.fromkeys(places, self.low)

    def _committed(self) -> dict[Place, list[tuple[int, str]]]:
        return {PLACE: [(offset, group) for group, offset in self.read.items()]}

    def _topic_ids(self, topics: Any) -> dict[str, str]:
        return dict.fromkeys(topics, "id")

    def _delete(self, place: Place, end: int) -> None:
        assert self.announced[-1].before.offset == end, "said before it is done"
        self.dropped.append(end)


@pytest.fixture
def store(tmp_path: Path) -> SegmentStore:
    """Three segments of ten records, a second apart."""
    store = SegmentStore(FileStore(tmp_path))
    store.begin(PLACE, Beginning(first=0, topic_id="id"))
    for first in (0, 10, 20):
        store.put(run(first, first + 10), first)
    return store


def test_what_is_old_enough_and_archived_goes(store: SegmentStore) -> None:
    keeper = Told(store)
    assert keeper.apply([PLACE], now=DAY_S + 19.5) == []
    assert keeper.dropped == [20]
    (event,) = keeper.announced
    assert (event.before.topic, event.before.partition, event.before.offset) == (TOPIC, 0, 20)


def test_a_segment_with_one_record_that_is_too_young_stays(store: SegmentStore) -> None:
    keeper = Told(store)
    keeper.apply([PLACE], now=DAY_S + 19.0)
    assert keeper.dropped == [10]


def test_what_is_gone_is_not_dropped_again(store: SegmentStore) -> None:
    keeper = Told(store, low=20)
    assert keeper.apply([PLACE], now=DAY_S + 19.5) == []
    assert keeper.dropped == keeper.announced == []


def test_what_is_not_archived_stays(store: SegmentStore) -> None:
    keeper = Told(store)
    store.segments(PLACE)[1].path.unlink()
    keeper.apply([PLACE], now=100 * DAY_S)
    assert keeper.dropped == [10]


def test_what_a_group_has_not_read_stays_and_the_group_is_named(store: SegmentStore) -> None:
    keeper = Told(store, read={"sinsok-infer": 14, "sinsok-confirm": 30})
    (line,) = keeper.apply([PLACE], now=100 * DAY_S)
    assert line == (
        "triage.results/0: records before 30 are old enough to go, and group sinsok-infer has read only those before 14"
    )
    assert keeper.dropped == [14]


def test_what_is_damaged_in_the_archive_stays_on_the_broker_and_is_named(store: SegmentStore) -> None:
    keeper = Told(store)
    damaged = store.segments(PLACE)[1].path
    damaged.write_bytes(damaged.read_bytes() + b" ")
    (line,) = keeper.apply([PLACE], now=100 * DAY_S)
    assert line.startswith("triage.results/0: nothing from 10 on may go: ")
    assert damaged.name in line
    assert keeper.dropped == [10]


def test_groups_are_asked_only_where_something_may_go(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Told(store)
    monkeypatch.setattr(keeper, "_committed", lambda: pytest.fail("nothing is old enough"))
    assert keeper.apply([PLACE], now=DAY_S) == []
    assert retention.Retention.apply(keeper, [], now=DAY_S) == []


def test_what_cannot_be_read_stays_and_holds_up_no_other_partition(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails on one file."""
    other = (TOPIC, 1)
    store.begin(other, Beginning(first=0, topic_id="id"))
    store.put([record(0, partition=1)], 0)
    failing, verify = store.segments(PLACE)[1], Segment.verify

    def fail(segment: Segment) -> None:
        if segment == failing:
            raise Unavailable(f"{segment.path}: cannot be read: Input/output error")
        verify(segment)

    monkeypatch.setattr(Segment, "verify", fail)
    keeper = Told(store)
    (line,) = keeper.apply([PLACE, other], now=100 * DAY_S)
    assert line.startswith("triage.results/0: nothing from 10 on may go: ")
    assert "Input/output error; `sinsok archive verify` names all" in line
    assert keeper.dropped == [10, 1]


def test_what_the_broker_refuses_to_drop_holds_up_no_other_partition(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = (TOPIC, 1)
    store.begin(other, Beginning(first=0, topic_id="id"))
    store.put([record(0, partition=1)], 0)
    keeper = Told(store)
    delete = keeper._delete

    def refuse(place: Place, end: int) -> None:
        if place == PLACE:
            raise Unavailable("Kafka did not drop records of triage.results/0: not authorized")
        delete(place, end)

    monkeypatch.setattr(keeper, "_delete", refuse)
    for _ in range(2):
        assert keeper.apply([PLACE, other], now=100 * DAY_S) == [
            "Kafka did not drop records of triage.results/0: not authorized"
        ]
    assert keeper.dropped == [1, 1]
    assert [(one.before.partition, one.before.offset) for one in keeper.announced] == [(0, 30), (1, 1)]


def test_a_pass_ends_in_time_and_the_next_goes_on(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the first after a shorter retention would read for hours, and nothing be archived meanwhile."""
    monkeypatch.setattr(retention, "_LONGEST_S", 0.0)
    keeper = Told(store)
    for low in (0, 10, 20):
        keeper.low = low
        assert keeper.apply([PLACE], now=100 * DAY_S) == []
    assert keeper.dropped == [10, 20, 30]


@pytest.mark.parametrize("beginning", [Beginning(first=0, topic_id="another"), None])
def test_nothing_goes_on_the_strength_of_an_archive_of_another_topic(
    store: SegmentStore, beginning: Beginning | None
) -> None:
    if beginning is not None:
        store.begin(PLACE, beginning)
    else:
        (store.root / TOPIC / "_0.json").unlink()
    keeper = Told(store)
    assert keeper.apply([PLACE], now=100 * DAY_S) == [
        "triage.results/0: nothing may go, the archive is not known to be of this topic"
    ]
    assert keeper.dropped == []
