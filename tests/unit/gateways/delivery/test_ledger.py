"""What is owed, in which order, and that nothing is said of it twice."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateways.delivery.ledger import Delivery, Ledger, State
from schemas.deliveries import (
    ObjectKind,
    Proof,
    ResultArchived,
    ResultHeld,
    WrittenObject,
)
from schemas.events import Priority, StudyTriaged
from tests.unit.gateways.delivery.examples import PACS, triaged

REPORT = WrittenObject(
    kind=ObjectKind.REPORT,
    sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
    sop_instance_uid="2.25.7",
    series_uid="2.25.8",
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def owe(ledger: Ledger, result: StudyTriaged, now: float = 0.0, destination: str = PACS) -> bool:
    with ledger.transaction():
        return ledger.owe(destination, result, now)


def due(ledger: Ledger, now: float = 100.0, **more: object) -> list[StudyTriaged]:
    return [delivery.result for delivery in ledger.due(PACS, now, 10, **more)]  # type: ignore[arg-type]


def only(ledger: Ledger) -> Delivery:
    (delivery,) = ledger.due(PACS, 100.0, 10)
    return delivery


def archived(delivery: Delivery) -> ResultArchived:
    return ResultArchived(
        time=datetime.now(UTC),
        site="suwon",
        study_uid=delivery.result.study_uid,
        revision=delivery.result.revision,
        unconfirmed=delivery.result.unconfirmed,
        result=delivery.result.event_id,
        destination=delivery.destination,
        objects=(REPORT,),
        proof=Proof.COMMITMENT,
        transaction_uid="2.25.9",
        replaces=None,
    )


def held(delivery: Delivery, reason: str) -> ResultHeld:
    return ResultHeld(
        time=datetime.now(UTC),
        site="suwon",
        study_uid=delivery.result.study_uid,
        revision=delivery.result.revision,
        unconfirmed=False,
        result=delivery.result.event_id,
        destination=delivery.destination,
        reason=reason,
    )


def test_a_result_is_owed_once_to_each_destination(ledger: Ledger) -> None:
    assert owe(ledger, triaged())
    assert not owe(ledger, triaged())
    assert owe(ledger, triaged(), destination="suwon/hl7")
    assert due(ledger) == [triaged()]


def test_what_is_owed_survives_a_crash_and_what_is_not_committed_does_not(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger.sqlite")
    owe(first, triaged(1))
    with pytest.raises(RuntimeError), first.transaction():  # noqa: PT012
        first.owe(PACS, triaged(2), 0.0)
        raise RuntimeError
    second = Ledger(tmp_path / "ledger.sqlite")  # the first is not closed
    assert due(second) == [triaged(1)]
    first.close()
    second.close()


def test_of_a_study_one_is_under_way_at_a_time_in_the_order_of_revisions(ledger: Ledger) -> None:
    owe(ledger, triaged(1))
    owe(ledger, triaged(2), 1.0)
    owe(ledger, triaged(1, study="2.25.2"), 2.0)
    assert due(ledger) == [triaged(1), triaged(1, study="2.25.2")]
    assert due(ledger, busy=[triaged(1).key]) == [triaged(1, study="2.25.2")]
    first = ledger.due(PACS, 100.0, 1)[0]
    assert ledger.overtaken(first)
    ledger.end(first, State.DONE, 3.0)
    assert due(ledger) == [triaged(2), triaged(1, study="2.25.2")]
    assert not ledger.overtaken(only_of(ledger, triaged(2)))


def only_of(ledger: Ledger, result: StudyTriaged) -> Delivery:
    return next(one for one in ledger.due(PACS, 100.0, 10) if one.result == result)


def test_one_that_is_put_off_keeps_its_place_before_the_next_of_its_study(ledger: Ledger) -> None:
    owe(ledger, triaged(1))
    owe(ledger, triaged(2))
    ledger.put_off(ledger.due(PACS, 100.0, 1)[0], 200.0, "away")
    assert due(ledger, 100.0) == []
    assert due(ledger, 200.0) == [triaged(1)]
    assert ledger.next_due_at(PACS) == 0.0


def test_the_confirmed_result_ranks_above_the_unconfirmed_one_whatever_comes_first(ledger: Ledger) -> None:
    assert owe(ledger, triaged(1))
    assert not owe(ledger, triaged(1, unconfirmed=True))
    assert due(ledger) == [triaged(1)]
    assert owe(ledger, triaged(2, unconfirmed=True))
    assert owe(ledger, triaged(2))
    assert due(ledger) == [triaged(1)]


def test_an_end_is_said_once(ledger: Ledger) -> None:
    owe(ledger, triaged())
    delivery = only(ledger)
    ledger.fix(delivery, [REPORT], None)
    ledger.stored(delivery, 0.0)
    assert ledger.end(delivery, State.DONE, 1.0, event=archived(delivery))
    assert not ledger.end(delivery, State.DONE, 2.0, event=archived(delivery))
    assert len(ledger.outbox(10)) == 1
    assert due(ledger) == []
    assert ledger.next_due_at(PACS) is None


def test_what_was_written_is_what_the_next_result_replaces(ledger: Ledger) -> None:
    owe(ledger, triaged(1))
    first = only(ledger)
    assert ledger.current(first) is None
    ledger.fix(first, [REPORT], None)
    ledger.end(first, State.DONE, 1.0)
    owe(ledger, triaged(2))
    current = ledger.current(only(ledger))
    assert current == (triaged(1).event_id, (REPORT,))


def test_a_result_with_nothing_written_does_not_hide_the_one_before(ledger: Ledger) -> None:
    owe(ledger, triaged(1))
    ledger.fix(only(ledger), [REPORT], None)
    ledger.end(only(ledger), State.DONE, 1.0)
    owe(ledger, triaged(2))
    ledger.end(only(ledger), State.NOTHING, 2.0)
    owe(ledger, triaged(3))
    current = ledger.current(only(ledger))
    assert current is not None
    assert current.result == triaged(1).event_id


def test_holding_is_said_once_for_each_reason(ledger: Ledger) -> None:
    owe(ledger, triaged())
    for reason in ("PatientID", "PatientID", "PatientName", "PatientName"):
        delivery = only(ledger)
        ledger.hold(delivery, 50.0, reason, held(delivery, reason))
    assert len(ledger.outbox(10)) == 2
    assert due(ledger, 49.0) == []
    assert due(ledger, 50.0) == [triaged()]


def test_a_commitment_that_was_asked_for_twice_counts_whichever_answer_comes(ledger: Ledger) -> None:
    owe(ledger, triaged())
    ledger.fix(only(ledger), [REPORT], None)
    ledger.stored(only(ledger), 10.0)
    assert ledger.unproven(PACS, 9.0, 10) == []
    (delivery,) = ledger.unproven(PACS, 10.0, 10)
    ledger.asked("2.25.1", [delivery], 20.0)
    assert ledger.unproven(PACS, 19.0, 10) == []
    (delivery,) = ledger.unproven(PACS, 20.0, 10)
    assert delivery.proofs == 1
    ledger.asked("2.25.2", [delivery], 30.0)
    for transaction in ("2.25.1", "2.25.2"):
        assert [one.id for one in ledger.about(transaction)] == [delivery.id]
    ledger.end(delivery, State.DONE, 25.0)
    assert ledger.about("2.25.1") == []
    assert ledger.about("unheard of") == []


def test_a_question_that_did_not_get_through_does_not_count(ledger: Ledger) -> None:
    owe(ledger, triaged())
    ledger.stored(only(ledger), 0.0)
    (delivery,) = ledger.unproven(PACS, 1.0, 10)
    ledger.asked("2.25.1", [delivery], 60.0)
    ledger.ask_again([delivery], 2.0)
    (again,) = ledger.unproven(PACS, 2.0, 10)
    assert again.proofs == 0


def test_what_the_pacs_has_lost_is_sent_again(ledger: Ledger) -> None:
    owe(ledger, triaged())
    ledger.fix(only(ledger), [REPORT], None)
    ledger.stored(only(ledger), 0.0)
    (delivery,) = ledger.unproven(PACS, 1.0, 10)
    ledger.send_again(delivery, 5.0, "lost")
    again = only(ledger)
    assert (again.state, again.resent, again.objects) == (State.SENDING, 1, (REPORT,))


def test_rejected_is_shown_and_tried_again_on_request(ledger: Ledger) -> None:
    owe(ledger, triaged(1))
    ledger.end(only(ledger), State.REJECTED, 1.0, reason="0xA900", objects=[REPORT])
    assert due(ledger) == []
    (shown,) = ledger.in_states([State.REJECTED])
    assert (shown.reason, shown.result) == ("0xA900", triaged(1))
    assert ledger.rejected_count(PACS) == 1
    assert ledger.retry(["suwon/hl7"], 2.0) == 0
    assert ledger.retry([PACS], 2.0) == 1
    assert only(ledger).state is State.WAITING


def test_rejected_is_not_tried_again_behind_a_newer_result(ledger: Ledger) -> None:
    owe(ledger, triaged(1))
    ledger.end(only(ledger), State.REJECTED, 1.0)
    owe(ledger, triaged(2))
    assert ledger.retry([PACS], 2.0) == 0


def test_what_a_worklist_was_told_last(ledger: Ledger) -> None:
    owe(ledger, triaged(1))
    assert ledger.told(only(ledger)) is None
    ledger.end(only(ledger), State.DONE, 1.0, told=Priority.STAT)
    owe(ledger, triaged(2, findings=()))
    assert ledger.told(only(ledger)) == (Priority.STAT, triaged(1))
    ledger.end(only(ledger), State.DONE, 2.0, told=Priority.ROUTINE)
    owe(ledger, triaged(3))
    assert ledger.told(only(ledger)) == (Priority.ROUTINE, triaged(2, findings=()))


def test_the_backlog_says_how_many_and_since_when(ledger: Ledger) -> None:
    owe(ledger, triaged(1), 5.0)
    owe(ledger, triaged(1, study="2.25.2"), 3.0)
    two = only_of(ledger, triaged(1, study="2.25.2"))
    ledger.hold(two, 50.0, "PatientID", held(two, "PatientID"))
    backlog = ledger.backlog(PACS)
    assert backlog.states == {State.WAITING: 1, State.HELD: 1}
    assert backlog.oldest_at == 5.0


def test_what_ended_long_ago_is_forgotten(ledger: Ledger) -> None:
    owe(ledger, triaged(1))
    ledger.end(only(ledger), State.DONE, 10.0)
    owe(ledger, triaged(1, study="2.25.2"))
    assert ledger.forget(10.0) == 0
    assert ledger.forget(11.0) == 1
    assert due(ledger) == [triaged(1, study="2.25.2")]
