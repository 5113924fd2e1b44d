"""The whole record of topics: what the archive holds, then what stands on the broker, as one.

Within a partition the order is kept; between partitions none is promised.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from gateways import kafka
from gateways.archive.segment import Segment
from gateways.archive.store import Seam, SegmentStore
from gateways.kafka import ANSWER_SECONDS, Place, Record
from gateways.kafka_topics import names
from gateways.objects import FileStore
from schemas.failures import Unavailable, Unreadable

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def topics(bootstrap: str, store: FileStore) -> frozenset[str]:
    """Names of the topics that are on the broker or in the archive.

    Raises :class:`Unavailable` where broker or store do not answer.
    """
    return names(bootstrap) | frozenset(SegmentStore(store).topics())


def read(
    bootstrap: str,
    store: FileStore,
    topics: Iterable[str],
    since: datetime | None = None,
    until: datetime | None = None,
    offsets: Mapping[Place, int] | None = None,
) -> Iterator[Record]:
    """Every record of these topics, once, up to their present ends: first the archived, then those on the broker.

    Only those with a timestamp from ``since`` on and before ``until``, where these are given; partitions in ``offsets``
    begin there. A topic that neither the archive nor the broker has is passed over. One row group is in memory at a
    time.

    Raises :class:`Unreadable` where a segment is damaged, or records of the period are neither in the archive nor on
    the broker, and :class:`Unavailable` where broker or store do not answer.
    """
    period = _Period(_milliseconds(since), _milliseconds(until))
    # What the broker lets go of while this runs is in the archive by then: it is looked for there, not passed over.
    with kafka.reader(bootstrap, **{"auto.offset.reset": "error"}) as consumer:
        wanted = list(dict.fromkeys(topics))
        present = kafka.metadata(consumer, bootstrap)
        live = kafka.spans(consumer, bootstrap, [topic for topic in wanted if topic in present])
        reading = _History(bootstrap, SegmentStore(store), consumer, period, live, dict(offsets or {}))
        yield from reading.records(wanted)


@dataclass(frozen=True)
class _Period:
    """Timestamps in milliseconds since the epoch: from ``begin`` on, before ``end``."""

    begin: int | None
    end: int | None

    def holds(self, record: Record) -> bool:
        return self.touches(record.timestamp_ms, record.timestamp_ms)

    def touches(self, earliest_ms: int, latest_ms: int) -> bool:
        return (self.begin is None or latest_ms >= self.begin) and (self.end is None or earliest_ms < self.end)


class _History:
    """One reading. ``positions`` say for each partition what comes next; ``live`` where the broker's log was found."""

    def __init__(
        self,
        bootstrap: str,
        store: SegmentStore,
        consumer: Consumer,
        period: _Period,
        live: Mapping[Place, tuple[int, int]],
        positions: dict[Place, int],
    ) -> None:
        self._bootstrap = bootstrap
        self._store = store
        self._consumer = consumer
        self._period = period
        self._ends = {place: end for place, (_, end) in live.items()}
        self._positions = positions

    def records(self, topics: Iterable[str]) -> Iterator[Record]:
        archived = ((topic, number) for topic in topics for number in self._store.partitions(topic))
        for place in sorted({*self._ends, *archived}):
            yield from self._archived(place)
        while unread := {
            place: self._positions[place] for place, end in self._ends.items() if self._positions[place] < end
        }:
            try:
                for record in kafka.records(self._consumer, self._bootstrap, unread, self._ends):
                    self._positions[(record.topic, record.partition)] = record.offset + 1
                    if self._period.holds(record):
                        yield record
                return
            except kafka.Dropped as gone:
                yield from self._archived(gone.place)

    def _archived(self, place: Place) -> Iterator[Record]:
        """What the archive holds of a partition from its position on. Behind it the broker has the rest."""
        self._begin(place)
        before: Segment | None = None
        while True:
            for segment in self._store.segments(place, self._positions.get(place, 0)):
                self._joins(place, before, segment)
                if self._period.touches(segment.earliest_ms, segment.latest_ms):
                    yield from self._selected(segment)
                self._positions[place], before = segment.next, segment
            if place not in self._ends or self._continued(place, before):
                return

    def _begin(self, place: Place) -> None:
        """Stand where the archive of a partition begins, unless the caller stands elsewhere.

        Raises :class:`Unreadable` where all of it is missing and the topic is not on the broker either.
        """
        if (beginning := self._store.beginning(place)) is None:
            return
        if place not in self._ends and not self._store.segments(place):
            raise Unreadable(self._store.missing_in_front(place))
        self._positions.setdefault(place, beginning.first)

    def _selected(self, segment: Segment) -> Iterator[Record]:
        place = (segment.topic, segment.partition)
        begin, end = self._positions.get(place, 0), self._ends.get(place, segment.next)
        for record in segment.records():
            if begin <= record.offset < end and self._period.holds(record):
                yield record

    def _joins(self, place: Place, before: Segment | None, segment: Segment) -> None:
        """Raises :class:`Unreadable` where records of the period are missing in front of a segment, or stand twice."""
        if before is not None:
            missing = segment.first > before.next
            if segment.first < before.next or (missing and self._period.touches(before.latest_ms, segment.earliest_ms)):
                raise Unreadable(str(Seam(before, segment)))
        elif (position := self._positions.get(place, segment.first)) < segment.first and self._period.touches(
            0, segment.earliest_ms
        ):
            raise Unreadable(_missing(place, position, segment.first))

    def _continued(self, place: Place, before: Segment | None) -> bool:
        """Whether the broker has what comes next; else the archive has grown meanwhile.

        Raises :class:`Unreadable` where neither has it.
        """
        low, high = kafka.span(self._consumer, self._bootstrap, place)
        if low and place not in self._positions and not self._store.root.is_dir():
            raise Unavailable(f"archive in {self._store.root} is not there: is the object store mounted?")
        position = self._positions.setdefault(place, low)
        if position > high:
            raise Unreadable(
                f"{place[0]}/{place[1]}: the archive holds records before {position}, the topic on the broker only such"
                f" before {high}: it was made anew"
            )
        # What is older than the period need not be there.
        if self._period.begin is not None and (start := self._offset_of(place, self._period.begin)) > low:
            position = max(position, start)
        elif before is not None and self._period.end is not None and before.latest_ms >= self._period.end:
            position = max(position, low)
        self._positions[place] = position
        if low <= position:
            return True
        if self._store.segments(place, position):
            return False
        raise Unreadable(_missing(place, position, low))

    def _offset_of(self, place: Place, timestamp_ms: int) -> int:
        """The first offset on the broker with this timestamp or a later one; its end where there is none."""
        try:
            (found,) = self._consumer.offsets_for_times([TopicPartition(*place, timestamp_ms)], timeout=ANSWER_SECONDS)
        except KafkaException as error:
            raise Unavailable(f"Kafka at {self._bootstrap}: {place[0]} {place[1]}: {error.args[0].str()}") from error
        return self._ends[place] if found.offset < 0 else int(found.offset)


def _milliseconds(at: datetime | None) -> int | None:
    """The first whole millisecond since the epoch that is not before this time."""
    return None if at is None else -((_EPOCH - at) // _MS)


def _missing(place: Place, begin: int, end: int) -> str:
    topic, partition = place
    return f"{topic}/{partition}: records {begin} to {end - 1} are neither in the archive nor on the broker"
