"""Where collecting goes on, and what it does not take for granted. Crashes are tried on a real broker."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from gateways import metrics
from gateways.archive.collector import Collector
from gateways.archive.settings import ArchiveSettings
from gateways.archive.store import Beginning, SegmentStore
from gateways.kafka import Place
from gateways.objects import FileStore
from schemas.failures import Unavailable
from tests.unit.gateways.archive.examples import TOPIC, Broker, Message, Trouble, run

PLACE = (TOPIC, 0)
LIMITS = ArchiveSettings(segment_records=5, segment_age_s=0.001)


@dataclass
class Source(Broker):
    """A consumer that takes commits, and sets ``stop`` once it has given all it has."""

    told: dict[Place, int] = field(default_factory=dict)
    stop: Event = field(default_factory=Event)

    def committed(self, asked: Iterable[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [
            TopicPartition(one.topic, one.partition, self.told.get((one.topic, one.partition), -1)) for one in asked
        ]

    def commit(self, offsets: Iterable[TopicPartition], asynchronous: bool) -> None:
        self.told |= {(one.topic, one.partition): one.offset for one in offsets}

    def consume(self, count: int, timeout: float) -> list[Message | Trouble]:
        given = self._waiting[:count]
        del self._waiting[:count]
        if not given:
            self.stop.set()
        return given


@dataclass
class Site:
    store: SegmentStore
    topic_id: str = "old"
    missed: dict[Place, int] = field(default_factory=dict)

    def collect(self, source: Source, announce: Callable[[Any], None] = lambda _: None) -> list[str]:
        """One stretch, which ends with what the source has; the partitions that it left alone are returned."""

        def topic_ids(topics: Collection[str]) -> dict[str, str]:
            return dict.fromkeys(topics, self.topic_id)

        def drop(places: Sequence[Place]) -> None:
            pass

        source.stop.clear()
        collector = Collector(
            "nowhere", LIMITS, self.store, {TOPIC: 1.0}, source, announce, drop, topic_ids, self.missed
        )
        collector.work(source.stop, lambda: None)
        return collector.stuck

    def archived(self) -> list[tuple[int, int]]:
        return [(one.first, one.last) for one in self.store.segments(PLACE)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(SegmentStore(FileStore(tmp_path)))


def test_where_an_archive_begins_is_noted_once(site: Site) -> None:
    source = Source({PLACE: run(3, 13)}, lows={PLACE: 3})
    assert site.collect(source) == []
    source.logs[PLACE] += run(13, 18)
    assert site.collect(source) == []
    assert site.archived() == [(3, 7), (8, 12), (13, 17)]
    assert site.store.beginning(PLACE) == Beginning(first=3, topic_id="old")
    assert source.told == {PLACE: 18}


def test_a_topic_that_was_made_anew_and_has_grown_past_the_archive_is_left_alone(site: Site) -> None:
    site.collect(Source({PLACE: run(0, 10)}))
    site.topic_id = "new"
    (line,) = site.collect(anew := Source({PLACE: run(0, 20)}))
    assert line == (
        "archive of triage.results/0: the topic is not the one that is archived: it was made anew; move the topic's"
        " folder out of the archive and restart the archiver"
    )
    assert site.archived() == [(0, 4), (5, 9)]
    assert anew.told == {}


def test_a_topic_that_is_made_anew_under_its_reader_ends_the_stretch(site: Site) -> None:
    def make_anew(_: Any) -> None:
        site.topic_id = "new"

    with pytest.raises(Unavailable, match=r"topic triage\.results was made anew while it was read"):
        site.collect(Source({PLACE: run(0, 10)}), make_anew)
    assert site.archived() == [(0, 4)]


def test_a_gap_is_counted_once_however_often_it_is_found(site: Site) -> None:
    counted = metrics.ARCHIVE_MISSED_RECORDS.labels(TOPIC)
    before = counted._value.get()
    site.collect(source := Source({PLACE: run(0, 5)}))
    source.logs[PLACE], source.lows[PLACE] = [], 9
    source.ends[PLACE] = 9
    site.collect(source)
    site.collect(source)
    assert counted._value.get() - before == 4
    source.lows[PLACE] = source.ends[PLACE] = 11
    site.collect(source)
    assert counted._value.get() - before == 6, "what has been missed besides"


def test_an_archive_whose_note_is_lost_is_taken_on_faith_only_where_nothing_can_be_missing(site: Site) -> None:
    site.collect(source := Source({PLACE: run(0, 10)}))
    (note,) = (site.store.root / TOPIC).glob("_*")
    note.unlink()
    assert site.collect(source) == []
    assert site.store.beginning(PLACE) == Beginning(first=0, topic_id="old")

    note.unlink()
    site.store.segments(PLACE)[0].path.unlink()
    (line,) = site.collect(source)
    assert line.startswith(
        "archive of triage.results/0: begins at 5, and nothing says that it did so always; put _0.js"
    )
    assert site.store.beginning(PLACE) is None
