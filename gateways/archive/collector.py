"""From the topics into the archive: an offset is committed once its segment was written, read back and announced.

Where to go on is said by the archive, not by what was committed: a crash anywhere leaves no record out and none twice.
Of each partition the newest segment is the only one that nobody may have been told of yet.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Event
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from gateways import kafka, metrics
from gateways.archive.run import MEBIBYTE, Run
from gateways.archive.segment import Segment
from gateways.archive.settings import ArchiveSettings
from gateways.archive.store import WHAT_TO_DO, Beginning, SegmentStore
from gateways.kafka import ANSWER_SECONDS, Place
from schemas.audit import INSTALLATION, Origin, RecordAct, SegmentArchived
from schemas.base import utc
from schemas.failures import BrokerAway, Unavailable, Unreadable

GROUP: Final = "sinsok-archiver"
BY: Final = "archiver"

log = structlog.get_logger()
_AT_ONCE: Final = 500
_POLL_S: Final = 0.5
_LOOK_EVERY_S: Final = 10.0


def consumer(bootstrap: str) -> Consumer:
    """Reads in the archiver's name. Partitions are assigned to it, not joined for: there is one archiver.

    Where records are gone it says so, instead of going on with later ones.
    """
    settings: dict[str, str | int] = {
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "fetch.max.bytes": 8 * MEBIBYTE,
        "queued.max.messages.kbytes": 16 * 1024,
    }
    return kafka.consumer(bootstrap, GROUP, **settings)


def forget(bootstrap: str) -> bool:
    """Have the next archiver begin where the archive ends, or the broker; False where nothing was known to forget.

    Raises :class:`Unavailable` where the broker does not answer.
    """
    admin = kafka.admin(bootstrap)  # kept: without it nothing would ever come of what was asked
    asked = admin.delete_consumer_groups([GROUP], request_timeout=ANSWER_SECONDS)
    try:
        asked[GROUP].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return False
        raise BrokerAway(f"Kafka at {bootstrap} does not forget {GROUP}: {error.args[0].str()}") from error
    return True


class Collector:
    """One stretch of collecting: from where the archive ends until something fails.

    ``days`` are the topics and how long the broker keeps each; ``announce`` publishes what was done, ``drop`` lets
    the broker drop what it may of the partitions, ``topic_ids`` gives the ids that topics have on the broker.
    ``missed`` goes from one stretch to the next: for each partition the end of the last gap that was counted.
    """

    def __init__(
        self,
        bootstrap: str,
        settings: ArchiveSettings,
        store: SegmentStore,
        days: Mapping[str, float],
        source: Consumer,
        announce: Callable[[RecordAct], None],
        drop: Callable[[Sequence[Place]], None],
        topic_ids: Callable[[Collection[str]], Mapping[str, str]],
        missed: dict[Place, int],
    ) -> None:
        self._bootstrap = bootstrap
        self._settings = settings
        self._store = store
        self._days = days
        self._source = source
        self._announce = announce
        self._drop = drop
        self._topic_ids = topic_ids
        self._missed = missed
        self._ids: Mapping[str, str] = {}
        self._runs: dict[Place, Run] = {}
        self._archived: set[Place] = set()
        self._caught_up: dict[Place, int] = {}
        self.stuck: list[str] = []
        """Partitions that are not archived until a person has looked, one line each."""

    def work(self, stop: Event, on_well: Callable[[], None]) -> None:
        """Collect until ``stop`` is set, or a topic has appeared that was not there. ``on_well`` hears that it goes on.

        What is held when it ends is read again by the next. Raises whatever fails.
        """
        absent = self._resume()
        looked_at, dropped_at = time.monotonic(), -float("inf")
        while not stop.is_set():
            if time.monotonic() - dropped_at >= self._settings.drop_every_s:
                dropped_at = time.monotonic()
                self._drop(list(self._runs))
                self._commit(*self._archived)  # those of a partition at rest would be forgotten after a week
            for message in self._source.consume(_AT_ONCE, _POLL_S):
                self._take(message)
            self._make_room()
            for place in self._caught_up:  # a backlog makes segments as large as they may be
                if self._runs[place].old(self._settings, time.time()):
                    self._close(place)
            if time.monotonic() - looked_at >= _LOOK_EVERY_S:
                looked_at = time.monotonic()
                if absent & kafka.metadata(self._source, self._bootstrap).keys():
                    return
                self._measure()
                on_well()

    def _resume(self) -> set[str]:
        """Find where to go on, partition by partition; the topics that the broker does not have are returned."""
        known = kafka.metadata(self._source, self._bootstrap)
        self._ids = self._topic_ids(self._days.keys() & known.keys())
        places = [(topic, number) for topic in self._days if topic in known for number in known[topic].partitions]
        try:
            committed = self._source.committed([TopicPartition(*place) for place in places], timeout=ANSWER_SECONDS)
        except KafkaException as error:
            raise Unavailable(f"Kafka does not say what was archived: {error.args[0].str()}") from error
        for place, told in zip(places, committed, strict=True):
            try:
                self._runs[place] = Run(self._begin(place, max(int(told.offset), 0)))
            except Unreadable as error:
                self.stuck.append(str(error))
                log.error("partition is not archived", error=str(error))
        self._source.assign([TopicPartition(*place, run.first) for place, run in self._runs.items()])
        return set(self._days) - known.keys()

    def _begin(self, place: Place, committed: int) -> int:
        """The offset to go on at. Raises :class:`Unreadable` where a person has to look first."""
        low, high = kafka.span(self._source, self._bootstrap, place)
        newest, beginning = self._store.newest(place), self._store.beginning(place)
        if beginning is not None and beginning.topic_id != self._ids[place[0]]:
            raise Unreadable(
                f"archive of {place[0]}/{place[1]}: the topic is not the one that is archived: it was made anew; move"
                " the topic's folder out of the archive and restart the archiver"
            )
        if newest is not None and newest.next > committed:
            newest = self._recovered(newest, low)
        if newest is None:
            if committed:
                raise Unreadable(
                    f"archive of {place[0]}/{place[1]}: empty, though records before {committed} were archived: mount"
                    " the object store and restart the archiver; to begin anew `sinsok archive reset` while it is down"
                )
            return low
        if newest.next > high:
            raise Unreadable(
                f"archive of {place[0]}/{place[1]}: holds records before {newest.next}, the topic only such before"
                f" {high}: it was made anew; move the topic's folder out of the archive and restart the archiver"
            )
        if beginning is None:
            self._found_again(place)
        self._archived.add(place)
        if newest.next < low:
            self._miss(place, newest.next, low)
        return max(newest.next, low)

    def _found_again(self, place: Place) -> None:
        """Note the beginning of an archive that has lost its note. One that begins at 0 lacks nothing in front.

        Raises :class:`Unreadable` for any other.
        """
        first = self._store.segments(place)[0].first
        if first:
            raise Unreadable(
                f"archive of {place[0]}/{place[1]}: begins at {first}, and nothing says that it did so always; put"
                f" _{place[1]}.json, and what else is missing, back into the topic's folder and restart the archiver"
            )
        log.warning("the beginning of an archive is noted again", topic=place[0], partition=place[1])
        self._store.begin(place, Beginning(first=first, topic_id=self._ids[place[0]]))

    def _miss(self, place: Place, begin: int, end: int) -> None:
        """Count what nobody has any more, once: until there is a segment behind it, each stretch finds it again."""
        begin = max(begin, self._missed.get(place, begin))
        if begin == end:
            return
        self._missed[place] = end
        log.error("records left the broker before they were archived", topic=place[0], partition=place[1])
        metrics.ARCHIVE_MISSED_RECORDS.labels(place[0]).inc(end - begin)

    def _recovered(self, newest: Segment, low: int) -> Segment | None:
        """The newest segment, of which nobody may have been told; a damaged one goes where the broker has its records.

        Raises :class:`Unreadable` where it does not.
        """
        try:
            newest.verify()
        except Unreadable as error:
            if low > newest.first:
                raise Unreadable(f"{error}; {WHAT_TO_DO}") from None
            log.error("segment is damaged, its records are archived again", error=str(error))
            self._store.discard(newest)
            return self._store.newest((newest.topic, newest.partition))
        self._tell(newest)
        return newest

    def _take(self, message: Message) -> None:
        place, error = (message.topic(), message.partition()), message.error()
        if error is None:
            run = self._runs[place]
            run.add(kafka.record_of(message), time.time())
            if run.full(self._settings):
                self._close(place)
        elif error.code() == KafkaError._PARTITION_EOF:
            self._caught_up[place] = message.offset()
        elif not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
            raise Unavailable(f"Kafka at {self._bootstrap}: {place[0]}/{place[1]}: {error.str()}")

    def _make_room(self) -> None:
        while sum(run.size_bytes for run in self._runs.values()) > self._settings.memory_mb * MEBIBYTE:
            self._close(max(self._runs, key=lambda place: self._runs[place].size_bytes))

    def _close(self, place: Place) -> None:
        run = self._runs[place]
        topic_id = self._topic_ids([place[0]])[place[0]]
        if topic_id != self._ids[place[0]]:
            raise Unavailable(f"topic {place[0]} was made anew while it was read")
        if place not in self._archived and self._store.beginning(place) is None:
            self._store.begin(place, Beginning(first=run.first, topic_id=topic_id))
        segment = self._store.put(run.records, run.first)
        try:
            segment.verify()
        except Unreadable:
            self._store.discard(segment)
            raise
        self._tell(segment)
        self._runs[place] = Run(segment.next)
        self._archived.add(place)
        self._commit(place)
        metrics.ARCHIVED_RECORDS.labels(segment.topic).inc(segment.count)
        log.info(
            "segment archived",
            topic=segment.topic,
            partition=segment.partition,
            first=segment.first,
            last=segment.last,
            records=segment.count,
        )

    def _tell(self, segment: Segment) -> None:
        self._announce(
            SegmentArchived(
                time=utc(time.time()),
                site=INSTALLATION,
                by=BY,
                first=Origin(topic=segment.topic, partition=segment.partition, offset=segment.first),
                last_offset=segment.last,
                records=segment.count,
                segment=segment.ref,
            )
        )

    def _commit(self, *places: Place) -> None:
        offsets = [TopicPartition(*place, self._done(place)) for place in places]
        if not offsets:
            return
        try:
            self._source.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise Unavailable(f"Kafka did not take how far the archive has come: {error.args[0].str()}") from error

    def _done(self, place: Place) -> int:
        """The offset before which nothing waits: the markers of transactions behind the last record do not."""
        run = self._runs[place]
        return run.first if run.records else max(run.first, self._caught_up.get(place, 0))

    def _measure(self) -> None:
        oldest: dict[str, float] = dict.fromkeys(self._days, 0.0)
        for (topic, _), run in self._runs.items():
            if run.records:
                oldest[topic] = max(oldest[topic], time.time() - run.records[0].timestamp_ms / 1000)
        for topic, age_s in oldest.items():
            metrics.ARCHIVE_OPEN_SECONDS.labels(topic).set(age_s)
            metrics.ARCHIVE_OVERDUE_SECONDS.labels(topic).set(max(0.0, age_s - self._days[topic] * 86_400))
