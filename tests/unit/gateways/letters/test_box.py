"""Which letters there are and what became of each, in whatever order that is read."""

from datetime import timedelta
from itertools import permutations

from gateways.kafka import Record
from gateways.letters.box import Box, Case, State, grouped
from gateways.letters.letter import Place
from schemas.audit import LetterDiscarded, LetterRequeued, Origin
from schemas.base import Event
from schemas.envelope import encode
from tests.letters import START, letter
from tests.unit.schemas.examples import EXAMPLES

MINUTE = timedelta(minutes=1)


def act(event: Event) -> Record:
    message = encode(event)
    return Record("audit.acts", 0, 0, 0, message.key, message.headers, message.value)


def requeued(offset: int = 0, attempt: int = 1, minutes: float = 1.0, by: str = "kim") -> LetterRequeued:
    return LetterRequeued(
        time=START + minutes * MINUTE, site="suwon", by=by, letter=place(offset), attempt=attempt, to="triage.studies"
    )


def discarded(offset: int = 0, minutes: float = 1.0, by: str = "lee") -> LetterDiscarded:
    return LetterDiscarded(time=START + minutes * MINUTE, site="suwon", by=by, letter=place(offset), reason="noise")


def place(offset: int) -> Origin:
    return Origin(topic="dead.letters", partition=0, offset=offset)


def case(box: Box, offset: int = 0) -> Case:
    found = box.case(Place(0, offset))
    assert found is not None
    return found


def test_a_letter_is_open_until_something_is_done_to_it() -> None:
    box = Box.of([letter(offset=0), letter(offset=1), letter(offset=2), act(requeued(1)), act(discarded(2))])
    assert [case(box, offset).state for offset in range(3)] == [State.OPEN, State.REQUEUED, State.DISCARDED]
    assert [one.letter.place.offset for one in box.cases(State.OPEN)] == [0]
    assert [one.letter.place.offset for one in box.cases(*State)] == [0, 1, 2]
    assert box.case(Place(1, 0)) is None


def test_the_order_of_reading_makes_no_difference_and_a_copy_neither() -> None:
    records = [letter(), act(requeued(minutes=1)), act(requeued(attempt=2, minutes=2)), act(requeued(minutes=1))]
    found = {
        (one.state, one.requeued, len(one.acts))
        for order in permutations(records)
        for one in [case(Box.of([*order, letter()]))]
    }
    assert found == {(State.REQUEUED, 2, 2)}


def test_the_last_act_decides() -> None:
    box = Box.of([letter(), act(discarded(minutes=1)), act(requeued(minutes=2))])
    assert case(box).state is State.REQUEUED


def test_other_records_are_passed_over() -> None:
    later = act(requeued())
    changed = Record("audit.acts", 0, 0, 0, None, later.headers, b'{"from": "the future"}')
    looked = act(EXAMPLES["sinsok.StudyViewed.v1"])
    box = Box.of([letter(), changed, looked, Record("triage.studies", 0, 0, 0, None, later.headers, later.value)])
    assert case(box).acts == ()


def test_attempts_are_counted_over_what_a_message_was_before_and_since() -> None:
    back = letter(headers=[("sinsok_requeued", b"2"), ("sinsok_letter", b"0/3")])
    assert case(Box.of([back])).requeued == 2
    assert case(Box.of([back, act(requeued(attempt=3))])).requeued == 3
    assert case(Box.of([letter(), act(requeued(attempt=1))])).requeued == 1


def test_letters_are_grouped_by_cause_the_newest_first() -> None:
    box = Box.of(
        [
            letter(offset=0, at=START + 2 * MINUTE),
            letter(offset=1, at=START),
            letter(offset=2, at=START + MINUTE, hop="alert"),
            letter(offset=3, at=START + 3 * MINUTE, error="ValueError"),
        ]
    )
    groups = grouped(box.cases(State.OPEN))
    assert [(one.cause.hop, one.cause.error, len(one.cases)) for one in groups] == [
        ("infer", "ValueError", 1),
        ("infer", "NotAnEvent", 2),
        ("alert", "NotAnEvent", 1),
    ]
    assert [one.letter.place.offset for one in groups[1].cases] == [1, 0]
    assert (groups[1].first, groups[1].last) == (START, START + 2 * MINUTE)


def test_twins_are_the_open_letters_of_the_same_record() -> None:
    box = Box.of(
        [
            letter(offset=0, hop="infer"),
            _of_record(5, "confirm"),
            _of_record(6, "audit"),
            letter(offset=1),
            act(discarded(6)),
        ]
    )
    assert [one.letter.place.offset for one in box.twins(case(box, 0))] == [5]
    assert [one.letter.place.offset for one in box.twins(case(box, 5))] == [0]
    nowhere = Box.of([Record("dead.letters", 0, n, 0, None, [], b"") for n in range(2)])
    assert nowhere.twins(case(nowhere)) == []


def _of_record(offset: int, hop: str) -> Record:
    """A letter of the same record as ``letter(offset=0)``, of another hop."""
    first = letter(offset=0, hop=hop)
    return Record(first.topic, 0, offset, first.timestamp_ms, first.key, first.headers, first.value)


def test_what_a_letter_was_before_is_followed_and_a_circle_ends() -> None:
    box = Box.of(
        [
            letter(offset=0, headers=[("sinsok_letter", b"0/2")]),
            letter(offset=1, headers=[("sinsok_letter", b"0/0")]),
            letter(offset=2, headers=[("sinsok_letter", b"0/1")]),
            letter(offset=3, headers=[("sinsok_letter", b"0/99")]),
        ]
    )
    assert [one.letter.place.offset for one in box.history(case(box, 2).letter)] == [1, 0]
    assert list(box.history(case(box, 3).letter)) == []


def test_a_box_of_the_newest_lets_the_oldest_go_with_what_was_done_to_it() -> None:
    box = Box(newest=2)
    for offset, minutes in enumerate((3, 1, 2, 4)):
        box.read(letter(offset=offset, at=START + minutes * MINUTE))
        box.note(requeued(offset))
    assert [one.letter.place.offset for one in box.cases(*State)] == [0, 3]
    assert box.left_out == 2
    assert box.twins(case(box, 0)) == []
    for offset in range(1000):
        box.note(requeued(10_000 + offset))
    assert len(box._acts) <= 40
