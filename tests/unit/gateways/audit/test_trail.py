"""What is written, in which order, without a broker."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import TopicPartition

from gateways.audit import source as audit_source
from gateways.audit.head import Heads
from gateways.audit.settings import AuditSettings
from gateways.audit.source import Lost, Source
from gateways.audit.tails import Standing, Tails
from gateways.audit.trail import Trail
from gateways.audit.transaction import Aborted, Line, Placed
from gateways.kafka import Place, Record
from schemas.topics import AUDIT_TRAIL
from schemas.trail import LINK, AuditRecord, Checkpoint, Link
from sinsok.auditing import tell
from tests.unit.gateways.audit.examples import SIGNER, VERIFIER, Consumer, source

STEPS: Final = "triage.steps"


class Topic:
    """The trail as a broker would hold it; ``fails`` is raised instead of the next commit."""

    def __init__(self, heads: Heads) -> None:
        self.records: list[Record] = []
        self.announced: list[int | None] = []
        self.fails: Exception | None = None
        self._heads = heads

    def write(self, lines: Iterable[Line], _offsets: Sequence[TopicPartition], _group: object) -> Placed:
        head = self._heads.read("suwon", VERIFIER)
        self.announced.append(head.next.sequence if head and head.next else None)
        if self.fails:
            raise self.fails
        placed = {}
        for line in lines:
            placed[line.chain, line.sequence] = (0, len(self.records))
            self.records.append(Record(AUDIT_TRAIL.name, 0, len(self.records), 0, line.chain.encode(), [], line.value))
        return placed

    def links(self) -> list[Link]:
        return [LINK.validate_json(one.value or b"") for one in self.records]


class House:
    """Heads, a topic, and trails that begin again as after a start."""

    def __init__(self, folder: Path) -> None:
        self.heads = Heads(folder)
        self.topic = Topic(self.heads)
        self.history: list[Record] = []

    def read(self, tails: Tails) -> dict[str, Standing]:
        """In the place of :meth:`Tails.read`."""
        for record in self.topic.records:
            tails.take(record)
        return tails.standing({0: 0})

    def trail(self, committed: dict[Place, int], **settings: float) -> tuple[Trail, Source]:
        parts = (self.heads, SIGNER, VERIFIER, self.topic)
        made = Trail(AuditSettings(**settings), ["suwon"], tell, lambda: self.history, *parts)  # type: ignore[arg-type]
        self.consumer = Consumer(committed)
        taken = source(self.consumer)
        made.take_up("nowhere", taken)
        return made, taken


@pytest.fixture
def house(tmp_path, monkeypatch):
    made = House(tmp_path)
    monkeypatch.setattr(Tails, "read", lambda tails, _: made.read(tails))
    return made


def no_event(offset: int) -> Record:
    return Record(STEPS, 0, offset, 1000, None, [], b"?")


def lost(begin: int, end: int) -> Lost:
    return Lost(STEPS, 0, begin, end)


def test_a_head_says_where_its_chain_is_about_to_be_and_then_that_it_is_there(house):
    house.trail({(STEPS, 0): 0})

    assert house.topic.announced == [0]
    head = house.heads.read("suwon", VERIFIER)
    assert (head.newest.sequence, head.next) == (0, None)


def test_without_a_head_nothing_is_written(house, monkeypatch):
    trail, taken = house.trail({(STEPS, 0): 0})
    before = len(house.topic.records)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Heads, "write", full)
    with pytest.raises(Aborted, match=r"sinsok\.head cannot be written, .*: No space left"):
        trail.append([no_event(0)], taken)

    assert len(house.topic.records) == before


def test_what_was_announced_and_did_not_take_place_is_written_again(house):
    trail, taken = house.trail({(STEPS, 0): 0})
    house.topic.fails = Aborted("the broker was away")
    with pytest.raises(Aborted):
        trail.append([no_event(0)], taken)
    house.topic.fails = None

    trail, taken = house.trail({(STEPS, 0): 0})
    trail.append([no_event(0)], taken)

    assert [one.sequence for one in house.topic.links() if one.chain == "sinsok"] == [0, 1]


def test_what_was_not_signed_at_a_stop_is_signed_after_the_next_start(house):
    trail, taken = house.trail({(STEPS, 0): 0})
    trail.append([no_event(0)], taken)

    trail, taken = house.trail({(STEPS, 0): 1}, checkpoint_s=1e-9)
    trail.append([], taken)

    newest = house.topic.links()[-1]
    assert isinstance(newest, Checkpoint)
    assert (newest.chain, newest.first, newest.last) == ("sinsok", 1, 1)


def test_records_that_were_gone_have_their_record_and_it_says_so(house):
    trail, taken = house.trail({(STEPS, 0): 0})
    trail.append([lost(4, 9), no_event(9)], taken)

    missing, after = house.topic.links()[-2:]
    assert isinstance(missing, AuditRecord)
    assert isinstance(after, AuditRecord)
    assert (missing.type, missing.digest, missing.where.offset) == ("missing", None, 4)
    assert missing.what == "5 records, up to 8, were gone before they were audited"
    assert after.where.offset == 9


def test_an_offset_that_the_broker_forgot_is_found_in_the_trail_archive_and_broker_as_one(house):
    trail, taken = house.trail({(STEPS, 0): 0})
    trail.append([no_event(5)], taken)
    house.history = house.topic.records

    _, taken = house.trail({(STEPS, 0): -1, (STEPS, 1): -1, (STEPS, 2): 7})

    assert house.consumer.assigned == {(STEPS, 0): 6, (STEPS, 1): 3, (STEPS, 2): 7}
    assert taken.positions() == [], "with the take-up's own transaction the broker was told"


def test_offsets_of_quiet_partitions_are_told_now_and_then(monkeypatch):
    now = 0.0
    monkeypatch.setattr(audit_source.time, "monotonic", lambda: now)
    taken = source(Consumer({}))
    taken.begin({(STEPS, 0): 4, (STEPS, 1): 5}, {})

    assert taken.positions() == []
    now = 601.0
    assert {(one.partition, one.offset) for one in taken.positions()} == {(0, 4), (1, 5)}
    assert taken.positions(), "a transaction that is aborted has told nothing"
    taken.settled()
    assert taken.positions() == []
