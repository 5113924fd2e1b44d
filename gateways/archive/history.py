"""The whole record of topics: what the archive holds, then what stands on the broker, as one.

Within a partition the order is kept; between partitions none is promised.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from gateways import kafka
from gateways.archive.segment import Segment
from gateways.archive.store import WHAT_TO_DO, Seam, SegmentStore, missing
from gateways.kafka import ANSWER_SECONDS, Place, Record
from gateways.kafka_topics import names
from gateways.objects import FileStore
from schemas.failures import BrokerAway, Unavailable, Unreadable

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
    on_fault: Callable[[str], None] | None = None,
) -> Iterator[Record]:
    """Every record of these topics, once, up to their present ends: first the archived, then those on the broker.

    Only those with a timestamp from ``since`` on and before ``until``, where these are given; partitions in ``offsets``
    begin there. A topic that neither the archive nor the broker has is passed over. One row group is in memory at a
    time.

    ``on_fault`` is told what is wrong with the archive, each fault once and in one line, and reading goes on behind it,
    with what the broker has in its place. A topic that was made anew then gives its archived records and its new ones.

    Raises :class:`Unavailable` where the broker does not answer. Without ``on_fault`` also where the store does not,
    and :class:`Unreadable` where a segment is damaged, records of the period are missing from the archive, or are
    neither there nor on the broker, or the topic was made anew.
    """
    period = _Period(_milliseconds(since), _milliseconds(until))
    # What the broker lets go of while this runs is in the archive by then: it is looked for there, not passed over.
    with kafka.reader(bootstrap, **{"auto.offset.reset": "error"}) as consumer:
        wanted = list(dict.fromkeys(topics))
        present = kafka.metadata(consumer, bootstrap)
        live = kafka.spans(consumer, bootstrap, [topic for topic in wanted if topic in present])
        reading = _History(bootstrap, SegmentStore(store), consumer, period, live, dict(offsets or {}), on_fault)
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
        on_fault: Callable[[str], None] | None,
    ) -> None:
        self._bootstrap = bootstrap
        self._store = store
        self._consumer = consumer
        self._period = period
        self._ends = {place: end for place, (_, end) in live.items()}
        self._positions = positions
        self._on_fault = on_fault
        self._told = set[str]()
        self._closed = set[Place]()
        """Partitions of which the archive has nothing more to give."""

    def records(self, topics: Iterable[str]) -> Iterator[Record]:
        archived = (place for topic in topics for place in self._places(topic))
        for place in sorted({*self._ends, *archived}):
            yield from self._archived(place)
        while unread := {
            place: self._positions[place] for place, end in self._ends.items() if self._positions[place] < end
        }:
            try:
                yield from self._live(unread, self._ends)
                return
            except kafka.Dropped as gone:
                yield from self._archived(gone.place)

    def _archived(self, place: Place) -> Iterator[Record]:
        """What the archive holds of a partition from its position on. Behind it the broker has the rest."""
        segments = self._segments(place)
        self._begin(place, segments)
        if (low := self._made_anew(place, segments)) is not None:
            # To what is archived the broker has nothing to add.
            end = self._ends.pop(place)
            yield from self._archived(place)
            self._closed.add(place)
            self._ends[place], self._positions[place] = end, low
            return
        segments = [one for one in segments if one.next > self._positions.get(place, 0)]
        before: Segment | None = None
        while True:
            for segment in segments:
                self._positions.setdefault(place, segment.first)
                self._joins(place, before, segment)
                yield from self._unarchived(place, before, segment)
                yield from self._selected(segment)
                if before is None or segment.next > before.next:
                    before = segment
            if place not in self._ends or not (segments := self._grown(place, before)):
                return

    def _begin(self, place: Place, segments: Sequence[Segment]) -> None:
        """Stand where the archive of a partition begins, unless the caller stands elsewhere.

        It is a fault where all of it is missing and the topic is not on the broker either.
        """
        if place in self._closed:
            return
        try:
            beginning = self._store.beginning(place)
        except (Unreadable, Unavailable) as error:
            self._met(error)
            return
        if beginning is None:
            return
        if place not in self._ends and not segments:
            self._met(Unreadable(self._store.missing_in_front(place)))
        self._positions.setdefault(place, beginning.first)

    def _made_anew(self, place: Place, segments: Sequence[Segment]) -> int | None:
        """Where the broker's topic begins, if it is none that what was read or archived can be of."""
        reached = max([self._positions.get(place, 0), *(one.next for one in segments)])
        if not reached or place not in self._ends:
            return None
        low, high = kafka.span(self._consumer, self._bootstrap, place)
        if reached <= high:
            return None
        self._met(
            Unreadable(
                f"{place[0]}/{place[1]}: the archive holds records before {reached}, the topic on the broker only such"
                f" before {high}: it was made anew"
            )
        )
        return low

    def _joins(self, place: Place, before: Segment | None, segment: Segment) -> None:
        """It is a fault where records of the period are missing in front of a segment, or stand twice."""
        if before is not None:
            gap = segment.first > before.next
            if segment.first < before.next or (gap and self._period.touches(before.latest_ms, segment.earliest_ms)):
                self._met(Unreadable(str(Seam(before, segment))))
        elif (position := self._positions[place]) < segment.first and self._period.touches(0, segment.earliest_ms):
            self._met(Unreadable(missing(place, position, segment.first)))

    def _unarchived(self, place: Place, before: Segment | None, segment: Segment) -> Iterator[Record]:
        """What the broker has of a stretch in front of a segment that is missing there, or damaged."""
        begin, end = self._positions[place], min(segment.first, self._ends.get(place, 0))
        if begin >= end or not self._period.touches(before.earliest_ms if before else 0, segment.earliest_ms):
            return
        low, _ = kafka.span(self._consumer, self._bootstrap, place)
        with suppress(kafka.Dropped):  # told already, as a gap
            yield from self._live({place: max(begin, low)}, {place: end})

    def _selected(self, segment: Segment) -> Iterator[Record]:
        place = (segment.topic, segment.partition)
        begin, end = self._positions[place], self._ends.get(place, segment.next)
        if not self._period.touches(segment.earliest_ms, segment.latest_ms):
            self._positions[place] = max(begin, segment.next)
            return
        try:
            for record in segment.records():
                if record.offset < begin:
                    continue
                self._positions[place] = record.offset + 1
                if record.offset < end and self._period.holds(record):
                    yield record
        except (Unreadable, Unavailable) as error:
            self._met(error)

    def _live(self, begin: Mapping[Place, int], ends: Mapping[Place, int]) -> Iterator[Record]:
        for record in kafka.records(self._consumer, self._bootstrap, begin, ends):
            self._positions[(record.topic, record.partition)] = record.offset + 1
            if self._period.holds(record):
                yield record

    def _grown(self, place: Place, before: Segment | None) -> list[Segment]:
        """What was archived meanwhile, where the broker no longer has what comes next; else none: it has the rest.

        It is a fault where neither has it.
        """
        low, _ = kafka.span(self._consumer, self._bootstrap, place)
        known = place in self._positions or place in self._closed
        if low and not known and not self._store.root.is_dir():
            self._met(Unavailable(f"archive in {self._store.root} is not there: is the object store mounted?"))
        position = self._positions.setdefault(place, low)
        # What is older than the period need not be there.
        if self._period.begin is not None and (start := self._offset_of(place, self._period.begin)) > low:
            position = max(position, start)
        elif before is not None and self._period.end is not None and before.latest_ms >= self._period.end:
            position = max(position, low)
        self._positions[place] = position
        if low <= position:
            return []
        behind = position if before is None else max(position, before.next)
        if grown := self._segments(place, behind):
            return grown
        if behind < low and place not in self._closed:
            self._met(
                Unreadable(
                    f"{place[0]}/{place[1]}: records {behind} to {low - 1} are neither in the archive nor on the broker"
                )
            )
        self._positions[place] = low
        return []

    def _places(self, topic: str) -> list[Place]:
        """The partitions of a topic that the archive has."""
        try:
            return [(topic, number) for number in self._store.partitions(topic)]
        except Unavailable as error:
            self._met(error)
            self._closed.update(place for place in self._ends if place[0] == topic)
            return []

    def _segments(self, place: Place, begin: int = 0) -> list[Segment]:
        if place in self._closed:
            return []
        try:
            return self._store.segments(place, begin)
        except Unavailable as error:
            self._met(error)
            self._closed.add(place)
            return []

    def _met(self, fault: Unreadable | Unavailable) -> None:
        """Raise a fault, or tell it where the caller goes on behind it."""
        if self._on_fault is None:
            raise Unreadable(f"{fault}; {WHAT_TO_DO}") if isinstance(fault, Unreadable) else fault
        if str(fault) not in self._told:
            self._told.add(str(fault))
            self._on_fault(str(fault))

    def _offset_of(self, place: Place, timestamp_ms: int) -> int:
        """The first offset on the broker with this timestamp or a later one; its end where there is none."""
        try:
            (found,) = self._consumer.offsets_for_times([TopicPartition(*place, timestamp_ms)], timeout=ANSWER_SECONDS)
        except KafkaException as error:
            raise BrokerAway(f"Kafka at {self._bootstrap}: {place[0]} {place[1]}: {error.args[0].str()}") from error
        return self._ends[place] if found.offset < 0 else int(found.offset)


def _milliseconds(at: datetime | None) -> int | None:
    """The first whole millisecond since the epoch that is not before this time."""
    return None if at is None else -((_EPOCH - at) // _MS)
