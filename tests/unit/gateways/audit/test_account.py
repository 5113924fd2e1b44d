"""What the trail says of a record on an event topic."""

from typing import Final

import pytest

from gateways.audit.account import account, author
from gateways.audit.canonical import record_digest
from gateways.kafka import Record
from schemas.audit import INSTALLATION, StudyViewed
from schemas.base import Event, StudyEvent
from schemas.envelope import encode
from schemas.identity import study_key
from schemas.paging import AlertAcknowledged
from schemas.steps import StepTaken
from schemas.topics import topic_of
from sinsok.auditing import tell
from streams.dead_letters import Obituary, with_obituary
from tests.unit.gateways.audit.examples import AT
from tests.unit.schemas.examples import JOURNEY

SITES: Final = ("suwon", "anseong")
EVENTS: Final = {type(event): event for event in JOURNEY}


def stands(event: Event, topic: str | None = None) -> Record:
    message = encode(event)
    return Record(topic or topic_of(event), 3, 17, 1_790_000_000_123, message.key, message.headers, message.value)


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: type(event).__name__)
def test_an_event_is_named_with_its_digest_and_never_with_its_study(event):
    record = stands(event)
    chain, told = account(record, SITES, tell)

    assert chain == (event.site if event.site in SITES else INSTALLATION)
    assert (told.type, told.event_id, told.digest) == (event.TYPE, event.event_id, record_digest(record))
    assert (told.where.topic, told.where.partition, told.where.offset) == (record.topic, 3, 17)
    assert told.time.timestamp() == pytest.approx(1_790_000_000.123)
    assert told.who != "unknown"
    assert told.what
    if isinstance(event, StudyEvent):
        assert told.study == study_key(event.site, event.study_uid)
        assert event.study_uid not in repr(told)


def test_a_person_goes_before_the_process():
    assert author(EVENTS[StudyViewed]) == EVENTS[StudyViewed].model_dump()["by"]
    assert author(EVENTS[AlertAcknowledged]) == EVENTS[AlertAcknowledged].model_dump()["by"]
    assert author(EVENTS[StepTaken]) == EVENTS[StepTaken].model_dump()["hop"]


def test_a_site_that_is_not_configured_starts_no_chain():
    chain, told = account(stands(EVENTS[StudyViewed]), ("anseong",), tell)

    assert (chain, told.type) == (INSTALLATION, StudyViewed.TYPE)


@pytest.mark.parametrize(
    ("headers", "value"), [([], b"{}"), ([("ce_type", b"\xff")], b"\xff"), ([("ce_type", b"sinsok.X.v1")], None)]
)
def test_what_is_no_event_belongs_to_the_installation_and_is_not_repeated(headers, value):
    chain, told = account(Record("triage.steps", 0, 1, 0, None, headers, value), SITES, tell)

    assert (chain, told.type, told.event_id, told.study) == (INSTALLATION, "undecodable", None, None)
    assert told.what == "no event of ours"


@pytest.mark.parametrize("timestamp_ms", [-1, 2**63 - 1])
def test_a_time_that_no_clock_shows_holds_nothing_up(timestamp_ms):
    record = Record("triage.steps", 0, 1, timestamp_ms, None, [], b"")

    assert 1970 <= account(record, SITES, tell)[1].time.year <= 9999


def test_a_dead_letter_is_of_the_site_of_what_died_where_that_can_be_read():
    event = EVENTS[StudyViewed]
    died = Obituary("ValueError", "it would not", "infer", 3, "triage.studies", 1, 2, AT)
    alive = stands(event, "dead.letters")
    letter = Record("dead.letters", 3, 17, 0, alive.key, with_obituary(alive.headers, died), alive.value)  # type: ignore[arg-type]
    broken = Record("dead.letters", 3, 18, 0, None, [], b"?")

    chain, told = account(letter, SITES, tell)
    assert (chain, told.type, told.who, told.event_id) == (event.site, "DeadLetter", "infer", event.event_id)
    assert "gave up after 3 attempts" in told.what
    assert [account(broken, SITES, tell)[0], account(broken, SITES, tell)[1].who] == [INSTALLATION, "unknown"]
