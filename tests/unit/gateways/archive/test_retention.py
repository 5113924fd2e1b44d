"""What the broker may drop. The requests themselves are tried on a real one."""

from pathlib import Path
from typing import Any

import pytest

from gateways.archive import retention
from gateways.archive.retention import Retention
from gateways.archive.store import SegmentStore
from gateways.kafka import Place
from gateways.objects import FileStore
from schemas.audit import RecordsDropped
from tests.unit.gateways.archive.examples import TOPIC, run

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

    def _delete(self, place: Place, end: int) -> None:
        assert self.announced[-1].before.offset == end, "said before it is done"
        self.dropped.append(end)


@pytest.fixture
def store(tmp_path: Path) -> SegmentStore:
    """Three segments of ten records, a second apart."""
    store = SegmentStore(FileStore(tmp_path))
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
