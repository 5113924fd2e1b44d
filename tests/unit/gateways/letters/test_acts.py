"""What people do with letters: first it is done, then it is recorded, and what cannot be done changes nothing."""

from datetime import datetime, timedelta

import pytest

from gateways.kafka import Record
from gateways.letters.acts import (
    Desk,
    LimitReached,
    NoOrigin,
    NoReason,
    NoSuchLetter,
    NotOpen,
    NotPossible,
    TopicGone,
)
from gateways.letters.box import Box, State
from gateways.letters.letter import Place
from schemas.audit import INSTALLATION, LetterDiscarded
from schemas.base import Event
from schemas.failures import Unavailable
from tests.letters import START, LetterRack, letter
from tests.unit.schemas.examples import EXAMPLES

TRIAGED = EXAMPLES["sinsok.StudyTriaged.v1"]


class Office:
    """A desk with letters, and what went out of it, in order."""

    def __init__(self, *letters: Record, attempts: int = 3) -> None:
        self.box = Box.of(letters)
        self.rack = LetterRack(*letters)
        self.told: list[Event] = []
        self.seconds = 0
        self.desk = Desk(self.box, "kim", self.tell, self.now, attempts)

    def now(self) -> datetime:
        self.seconds += 1
        return START + timedelta(seconds=self.seconds)

    def tell(self, event: Event) -> None:
        assert self.rack.sent or isinstance(event, LetterDiscarded), "recorded before it was done"
        self.told.append(event)

    def state(self, offset: int = 0) -> State:
        return self.desk.case(Place(0, offset)).state


def test_requeued_a_letter_is_what_it_was() -> None:
    one = letter(TRIAGED)
    office = Office(one)
    (act,) = office.desk.requeue(one, office.rack)
    (sent,) = office.rack.sent
    before = [(name, value) for name, value in one.headers if not name.startswith("dl_")]
    assert sent == (
        "triage.studies",
        4,
        one.key,
        one.value,
        [*before, ("sinsok_requeued", b"1"), ("sinsok_letter", b"0/0")],
    )
    assert (act.by, act.site, act.attempt, act.to) == ("kim", "suwon", 1, "triage.studies")
    assert office.told == [act]
    assert office.state() is State.REQUEUED


def test_bytes_that_are_no_event_are_of_the_installation() -> None:
    one = letter(b"noise", headers=[("ce_source", b"/sinsok/suwon")])
    office = Office(one)
    (act,) = office.desk.requeue(one, office.rack)
    assert act.site == INSTALLATION


def test_sent_and_not_recorded_it_is_open_and_may_be_sent_again() -> None:
    one = letter(TRIAGED)
    office = Office(one)

    def crash(event: Event) -> None:
        raise Unavailable("the broker is gone")

    broken = Desk(office.box, "kim", crash, office.now)
    with pytest.raises(Unavailable):
        broken.requeue(one, office.rack)
    assert office.state() is State.OPEN
    office.desk.requeue(one, office.rack)
    first, second = office.rack.sent
    assert first == second, "a copy: consumers drop it by its id"


def test_not_sent_it_is_not_recorded() -> None:
    one = letter()
    office = Office(one)
    office.rack.fails = Unavailable("no answer")
    with pytest.raises(Unavailable):
        office.desk.requeue(one, office.rack)
    assert (office.told, office.state()) == ([], State.OPEN)


def test_attempts_are_limited_over_all_that_a_message_becomes() -> None:
    one = letter()
    office = Office(one, attempts=2)
    for attempt in (1, 2):
        (act,) = office.desk.requeue(one, office.rack)
        assert act.attempt == attempt
        # It dies again, and is another letter with the same count.
        one = letter(offset=attempt, headers=office.rack.sent[-1].headers)
        office.box.read(one)
    with pytest.raises(LimitReached, match="was requeued 2 times and is back"):
        office.desk.requeue(one, office.rack)
    assert (len(office.rack.sent), len(office.told)) == (2, 2)
    assert office.state(2) is State.OPEN
    more = Desk(office.box, "kim", office.tell, office.now, 3)
    assert [act.attempt for act in more.requeue(one, office.rack)] == [3]


def test_letters_that_other_hops_wrote_of_the_same_record_go_with_it() -> None:
    one = letter(TRIAGED, hop="infer")
    twin = Record("dead.letters", 0, 7, one.timestamp_ms, one.key, letter(TRIAGED, hop="confirm").headers, one.value)
    office = Office(one, twin, letter(TRIAGED, 3))
    acts = office.desk.requeue(one, office.rack)
    assert [act.letter.offset for act in acts] == [0, 7]
    assert len(office.rack.sent) == 1, "both hops read it"
    assert [office.state(offset) for offset in (0, 7, 3)] == [State.REQUEUED, State.REQUEUED, State.OPEN]


def test_what_does_not_say_where_it_came_from_stays() -> None:
    bare = Record("dead.letters", 0, 0, 0, b"k", [("dl_hop", b"infer")], b"x")
    office = Office(bare)
    with pytest.raises(NoOrigin, match="discard it"):
        office.desk.requeue(bare, office.rack)
    assert office.rack.sent == []


def test_what_came_from_a_topic_that_is_gone_stays() -> None:
    one = letter(topic="no.such")
    office = Office(one)
    with pytest.raises(TopicGone, match=r"no\.such"):
        office.desk.requeue(one, office.rack)
    assert (office.rack.sent, office.told) == ([], [])

    one = letter()
    office = Office(one)
    office.rack.topics.clear()
    with pytest.raises(TopicGone, match="the broker does not have: `sinsok topics --apply`, or discard it"):
        office.desk.requeue(one, office.rack)
    assert (office.rack.sent, office.told) == ([], [])


@pytest.mark.parametrize("topic", ["audit.trail", "sinsok-alert-alerts-changelog", "triage.steps"])
def test_whoever_writes_a_letter_does_not_choose_where_an_operator_writes(topic: str) -> None:
    one = letter(topic=topic)
    office = Office(one)
    office.rack.topics.add(topic)
    with pytest.raises(TopicGone, match="which no hop reads: discard it"):
        office.desk.requeue(one, office.rack)
    assert office.rack.sent == []


def test_discarded_with_a_reason_once() -> None:
    office = Office(letter(TRIAGED))
    event = office.desk.discard(Place(0, 0), "  a\n test ")
    assert (event.reason, event.by, event.site) == ("a test", "kim", "suwon")
    assert (office.told, office.state()) == ([event], State.DISCARDED)
    with pytest.raises(NotOpen, match="was discarded already, by kim at 2026-03-01 03:00:01 UTC: a test"):
        office.desk.discard(Place(0, 0), "again")
    assert len(office.told) == 1


def test_what_was_requeued_is_not_discarded() -> None:
    one = letter()
    office = Office(one)
    office.desk.requeue(one, office.rack)
    with pytest.raises(NotOpen, match="was requeued already, by kim"):
        office.desk.discard(Place(0, 0), "noise")


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 501])
def test_no_reason_no_discard(reason: str) -> None:
    office = Office(letter())
    with pytest.raises(NoReason):
        office.desk.discard(Place(0, 0), reason)
    assert office.state() is State.OPEN


def test_what_is_not_there_is_said() -> None:
    office = Office()
    with pytest.raises(NoSuchLetter, match="there is no letter 3/12"):
        office.desk.case(Place(3, 12))
    with pytest.raises(NotPossible):
        office.desk.discard(Place(3, 12), "noise")
