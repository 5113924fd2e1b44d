"""The archiver on a real broker: killed at any moment it leaves nothing out, and the broker drops only what is safe."""

import asyncio
import json
import random
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator
from aiokafka.producer import producer as producing
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from confluent_kafka import OFFSET_INVALID, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from gateways import kafka, kafka_topics
from gateways.archive import collector, history
from gateways.archive.archiver import Archiver
from gateways.archive.settings import ArchiveSettings
from gateways.archive.store import Beginning, SegmentStore, seams
from gateways.kafka import Place, Record
from gateways.objects import FileStore
from schemas.audit import RecordsDropped, SegmentArchived
from schemas.base import Event
from schemas.envelope import decode
from schemas.failures import Unreadable
from schemas.topics import AUDIT_ACTS, AUDIT_TRAIL, Topic
from tests.stack import Installation, RunningPart, install, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.record]

SEGMENT_RECORDS = 20
CHANGES = f"""
[archive]
segment_records = {SEGMENT_RECORDS}
segment_age_s = 0.5
drop_every_s = 0.5
retention_days = {{ "triage.results" = 0.00001, "audit.trail" = 0.00001 }}
"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A broker of its own: the archiver reads all topics, and looks at all consumer groups."""
    installed = install(tmp_path_factory.mktemp("archive"), changes=CHANGES)
    with installed.part("kafka"):
        yield installed


@pytest.fixture
def archiver(installation: Installation) -> Iterator[RunningPart]:
    part = installation.part("archiver")
    yield part
    part.kill()


class Site:
    """What a test asks of an installation."""

    def __init__(self, installation: Installation) -> None:
        self.bootstrap = installation.settings.kafka.bootstrap_servers
        self.objects = FileStore(installation.settings.store)
        self.store = SegmentStore(self.objects)

    def write(self, topic: str, count: int) -> None:
        """Records with all that a record may have and lack, on all partitions."""
        producer = kafka.producer(self.bootstrap)
        for number in range(count):
            key = random.choice([None, b"", random.randbytes(8)])
            value = random.choice([None, b"", random.randbytes(200)])
            headers = [("ce_type", b"t"), ("ce_type", b""), ("none", None)][: number % 4]
            producer.produce(topic, key=key, value=value, headers=headers, partition=number % 12)
        assert producer.flush(20) == 0

    def read(self, *topics: str) -> list[Record]:
        return list(history.read(self.bootstrap, self.objects, topics))

    def on_broker(self, *topics: str) -> list[Record]:
        with kafka.reader(self.bootstrap) as consumer:
            spans = kafka.spans(consumer, self.bootstrap, topics)
            ends = {place: high for place, (_, high) in spans.items()}
            return list(kafka.records(consumer, self.bootstrap, {p: low for p, (low, _) in spans.items()}, ends))

    def spans(self, *topics: str) -> dict[Place, tuple[int, int]]:
        with kafka.reader(self.bootstrap) as consumer:
            return kafka.spans(consumer, self.bootstrap, topics)

    def acts(self) -> list[Event]:
        return [decode(one.headers, one.value) for one in self.read(AUDIT_ACTS.name)]

    def acts_about(self, topic: str) -> list[SegmentArchived]:
        """From the broker: another archive than the one it is about may have them."""
        records = kafka.read(self.bootstrap, [AUDIT_ACTS.name])
        acts = (decode(one.headers, one.value) for one in records)
        return [act for act in acts if isinstance(act, SegmentArchived) and act.first.topic == topic]

    def segments(self, *topics: str) -> int:
        return sum(len(self.store.segments((topic, n))) for topic in topics for n in self.store.partitions(topic))

    def archived(self, *topics: str) -> None:
        """All that is on the broker is in the archive."""
        on_broker = self.on_broker(*topics)
        ends = {place: list(group)[-1].offset for place, group in groupby(by_place(on_broker), place_of)}
        for place, last in ends.items():
            newest = self.store.newest(place)
            assert newest is not None
            assert newest.last == last


@pytest.fixture(scope="module")
def site(installation: Installation) -> Site:
    return Site(installation)


def place_of(record: Record) -> Place:
    return record.topic, record.partition


def by_place(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda one: (*place_of(one), one.offset))


def complaints(archiver: RunningPart) -> str:
    """What its ``/readyz`` says."""
    (listener,) = archiver.part.listeners
    try:
        with urllib.request.urlopen(f"http://{listener.host}:{listener.port}/readyz", timeout=5) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def test_killed_again_and_again_while_records_flow_it_leaves_nothing_out_and_nothing_twice(
    site: Site, archiver: RunningPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = ("dicom.series", "triage.studies")
    for module in (message_accumulator, producing):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
    asyncio.run(write_headers_that_are_not_utf8(site.bootstrap, ("triage.studies", 11)))
    done = threading.Event()

    def flow() -> None:
        while not done.wait(0.05):
            for topic in topics:
                site.write(topic, 60)

    writer = threading.Thread(target=flow)
    writer.start()
    try:
        for _ in range(4):
            before = site.segments(*topics)
            archiver.start(wait=False)
            wait_until(lambda before=before: assert_more(site.segments(*topics), before), every_s=0.02)
            time.sleep(random.random() * 0.3)
            archiver.kill()
    finally:
        done.set()
        writer.join()
    archiver.start(wait=False)
    wait_until(lambda: site.archived(*topics))
    archiver.stop()

    on_broker = site.on_broker(*topics)
    for place, group in groupby(by_place(on_broker), place_of):
        segments = site.store.segments(place)
        assert seams(segments) == []
        assert [one for segment in segments for one in segment.records()] == list(group)
        assert site.store.strangers(place) == []
    assert by_place(site.read(*topics)) == by_place(on_broker)
    poison = next(one for one in on_broker if place_of(one) == ("triage.studies", 11))
    assert (poison.headers, poison.value) == ([(kafka.UNREADABLE_HEADERS, b"")], b"value")
    told = {(one.first, one.segment.digest) for one in site.acts() if isinstance(one, SegmentArchived)}
    found = {
        (one.topic, one.partition, one.first, f"sha256:{one.digest}")
        for topic in topics
        for number in site.store.partitions(topic)
        for one in site.store.segments((topic, number))
    }
    assert found == {
        (first.topic, first.partition, first.offset, digest) for first, digest in told if first.topic in topics
    }


async def write_headers_that_are_not_utf8(bootstrap: str, place: Place) -> None:
    """As no client does that is well; Kafka takes it."""

    class NotUtf8(str):
        def encode(self, *_: object) -> bytes:
            return b"\xff"

    topic, partition = place
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(topic, b"value", partition=partition, headers=[(NotUtf8("name"), b"value")])


def assert_more(now: int, before: int) -> None:
    assert now > before


def test_the_broker_drops_what_is_archived_and_was_read_and_the_record_stays_as_it_was(
    site: Site, archiver: RunningPart
) -> None:
    topic, trail = "triage.results", (AUDIT_TRAIL.name, 1)
    site.write(topic, 480)
    write_in_transactions(site.bootstrap, trail)
    before = by_place(site.read(topic, trail[0]))
    reader = kafka.consumer(site.bootstrap, "a-slow-reader")
    reader.commit(offsets=[TopicPartition(topic, 5, 7)], asynchronous=False)

    archiver.start(wait=False)
    wait_until(lambda: assert_dropped(site.spans(topic), {(topic, 5): 7}))
    assert (
        f"{topic}/5: records before 40 are old enough to go, and group a-slow-reader has read only those before 7"
        in complaints(archiver)
    )
    assert by_place(site.read(topic, trail[0])) == before

    reader.commit(offsets=[TopicPartition(topic, 5, 40)], asynchronous=False)
    reader.close()
    wait_until(lambda: assert_dropped(site.spans(topic), {}))
    last = max(one.offset for one in before if place_of(one) == trail)
    wait_until(lambda: assert_more(site.spans(trail[0])[trail][0], last))
    assert site.on_broker(topic, trail[0]) == []
    assert by_place(site.read(topic, trail[0])) == before
    assert seams(site.store.segments(trail)) == []

    dropped = [one.before for one in site.acts() if isinstance(one, RecordsDropped)]
    offsets = {(one.partition, one.offset) for one in dropped if one.topic == topic}
    must = {(5, 7), *((number, 40) for number in range(12))}
    assert must <= offsets <= must | {(number, 20) for number in range(12)}, "between two segments it may have looked"
    assert {low for low, _ in site.spans("dicom.series").values()} == {0}, "only what is old enough"


def write_in_transactions(bootstrap: str, place: Place) -> None:
    """Three records each; every third transaction is given up. Where one ended there is an offset without a record."""
    topic, partition = place
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "test"})
    producer.init_transactions(20)
    for number in range(9):
        producer.begin_transaction()
        for _ in range(3):
            producer.produce(topic, b"transaction %d" % number, partition=partition)
        end = producer.abort_transaction if number % 3 == 1 else producer.commit_transaction
        end(20)


def assert_dropped(spans: dict[Place, tuple[int, int]], kept_from: dict[Place, int]) -> None:
    for place, (low, high) in spans.items():
        assert low == kept_from.get(place, high)


@pytest.fixture
def scenes(site: Site, tmp_path: Path) -> "Scenes":
    """An archive and topics of their own, as a crash or a mishap left them; nobody works on them yet."""
    topics = [Topic(f"test.{name}", (), "a test", partitions=1) for name in SCENES]
    kafka_topics.create(site.bootstrap, topics)
    producer = kafka.producer(site.bootstrap)
    for topic in topics:
        for number in range(10):
            producer.produce(topic.name, b"%d" % number, headers=[("n", b"%d" % number)])
    assert producer.flush(20) == 0
    objects = FileStore(tmp_path)
    limits = ArchiveSettings(segment_records=5, segment_age_s=0.1)
    return Scenes(topics, objects, Archiver(limits, objects, site.bootstrap, topics))


SCENES = ("killed-before-it-was-told", "damaged-before-it-was-told", "lost", "dropped", "made-anew", "grown-past")


@dataclass(frozen=True)
class Scenes:
    topics: list[Topic]
    objects: FileStore
    archiver: Archiver


def test_it_goes_on_from_whatever_it_finds(site: Site, scenes: Scenes) -> None:
    store = SegmentStore(scenes.objects)
    killed, damaged, lost, dropped, anew, grown = places = [(topic.name, 0) for topic in scenes.topics]
    on_broker = {place: list(kafka.read(site.bootstrap, [place[0]])) for place in places}
    for place in (killed, damaged, dropped, grown):
        store.put(on_broker[place][:7], 0)
    half = store.segments(damaged)[0].path
    half.write_bytes(half.read_bytes()[:-1])
    beyond = [replace(on_broker[anew][0], offset=offset) for offset in range(12)]
    store.put(beyond, 0)
    store.begin(grown, Beginning(first=0, topic_id="of the topic before"))
    committing = collector.consumer(site.bootstrap)
    committing.commit(offsets=[TopicPartition(*lost, 7), TopicPartition(*dropped, 7)], asynchronous=False)
    committing.close()
    admin, target = AdminClient(kafka.quiet(site.bootstrap)), TopicPartition(*dropped, 9)
    admin.delete_records([target])[target].result(20)

    scenes.archiver.start()
    try:
        wait_until(lambda: assert_ends(store, {killed: 10, damaged: 10, dropped: 10, anew: 12}))
        told = scenes.archiver.health()
    finally:
        scenes.archiver.stop()

    assert [one.first for one in store.segments(killed)] == [0, 7]
    assert [one.first for one in store.segments(damaged)] == [0, 5]
    for place in (killed, damaged):
        assert [one for segment in store.segments(place) for one in segment.records()] == on_broker[place]
    announced = {one.first.offset for one in site.acts_about(killed[0])}
    assert announced == {0, 7}
    assert store.segments(lost) == []
    assert [one.first for one in store.segments(grown)] == [0]
    ids = kafka_topics.ids(admin, [killed[0]])
    assert store.beginning(killed) == Beginning(first=0, topic_id=ids[killed[0]])
    assert sorted(told) == [
        f"archive of {grown[0]}/0: the topic is not the one that is archived: it was made anew; move the topic's folder"
        " out of the archive and restart the archiver",
        f"archive of {lost[0]}/0: empty, though records before 7 were archived: mount the object store and restart the"
        " archiver; to begin anew `sinsok archive reset` while it is down",
        f"archive of {anew[0]}/0: holds records before 12, the topic only such before 10: it was made anew; move the"
        " topic's folder out of the archive and restart the archiver",
    ]
    (seam,) = seams(store.segments(dropped))
    assert str(seam) == f"archive of {dropped[0]}/0: records 7 to 8 are missing"
    assert collector.forget(site.bootstrap)
    asking = collector.consumer(site.bootstrap)
    assert [one.offset for one in asking.committed([TopicPartition(*lost)], timeout=120)] == [OFFSET_INVALID]
    asking.close()
    with pytest.raises(Unreadable, match="records 7 to 8 are missing"):
        list(history.read(site.bootstrap, scenes.objects, [dropped[0]]))


def assert_ends(store: SegmentStore, ends: dict[Place, int]) -> None:
    for place, end in ends.items():
        newest = store.newest(place)
        assert newest is not None
        assert newest.next == end


def test_what_is_damaged_is_named_by_verify_and_by_who_reads(installation: Installation, site: Site) -> None:
    whole = installation.sinsok("archive", "verify")
    assert (whole.returncode, whole.stderr) == (0, "")
    printed = set(installation.sinsok("events", "dicom.series", "--all", "--json").stdout.splitlines())
    damaged = site.store.segments(("dicom.series", 3))[1]
    kept = damaged.path.read_bytes()
    damaged.path.write_bytes(kept[:100] + bytes([kept[100] ^ 1]) + kept[101:])

    verified = installation.sinsok("archive", "verify")
    assert verified.returncode == 1
    (line,) = [line for line in verified.stdout.splitlines() if line.startswith("damaged")]
    assert str(damaged.path) in line
    with pytest.raises(Unreadable, match=re.escape(str(damaged.path))):
        site.read("dicom.series")
    rest = installation.sinsok("events", "dicom.series", "--all", "--json")
    assert rest.returncode == 1
    fault, last = rest.stderr.splitlines()
    assert str(damaged.path) in fault
    assert "`sinsok archive verify` names all" in last
    lost = [json.loads(line) for line in printed - set(rest.stdout.splitlines())]
    assert {(one["partition"], damaged.first <= one["offset"] <= damaged.last) for one in lost} <= {(3, True)}
