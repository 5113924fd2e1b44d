"""One result after the other into a worklist that takes it, refuses it, is away, or has the record locked."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.delivery.breaker import Breaker
from gateways.delivery.ledger import Ledger, State
from gateways.objects import FileStore
from gateways.worklist import bearing
from gateways.worklist.courier import WorklistCourier
from gateways.worklist.hl7_worklist import Hl7Worklist
from gateways.worklist.port import Update, Updated, Worklist
from gateways.worklist.settings import Hl7Settings, UpsSettings
from gateways.worklist.ups_worklist import UpsWorklist
from schemas.base import Event
from schemas.deliveries import WorklistRejected, WorklistUpdated
from schemas.envelope import decode
from schemas.events import Priority, StudyTriaged
from schemas.failures import Busy, PortFailure, Refused, Unavailable
from tests.results import ReadStudy, small_study
from tests.unit.gateways.worklist.receiver import ScriptedReceiver, answer
from tests.unit.gateways.worklist.ups_server import PRIORITY, UpsServer, value

NAME = "suwon/hl7"
PAUSE_S = 60.0


class FakeWorklist:
    """Takes what it is told, but for the answers that a test puts before it."""

    protocol = "hl7"

    def __init__(self) -> None:
        self.heard: list[Update] = []
        self.answers: list[Updated | Exception] = []
        self.away: PortFailure | None = None

    def wants(self, result: StudyTriaged, told: Priority | None, before: StudyTriaged | None = None) -> bool:
        return bearing.is_told(result, told, before, unconfirmed=True)

    def update(self, update: Update) -> Updated:
        self.heard.append(update)
        said = self.answers.pop(0) if self.answers else Updated(("1", "2"), update.result.priority)
        if isinstance(said, Exception):
            raise said
        return said

    def reach(self) -> None:
        if self.away:
            raise self.away

    def close(self) -> None:
        pass


class Ris:
    """A courier at work, by hand and by a clock that does not tick by itself."""

    def __init__(self, folder: Path, worklist: Worklist) -> None:
        self.folder, self.worklist = folder, worklist
        self.store = FileStore(folder / "objects")
        self.study, self.other = (small_study(self.store, name, slices=4, size=32) for name in ("one", "other"))
        self.begin()

    def begin(self) -> None:
        """As after a crash: nothing is known but what is on the disk."""
        self.ledger = Ledger(self.folder / "ledger.sqlite")
        self.courier = WorklistCourier(NAME, self.ledger, Breaker(1.0, PAUSE_S), self.worklist, self.store)

    def owe(self, *results: StudyTriaged) -> None:
        with self.ledger.transaction():
            for result in results:
                self.ledger.owe(NAME, result, 0.0)

    def work(self, *, later_s: float = 1.0) -> bool:
        """Work until nothing is due by then; whether the worklist was there."""
        for _ in range(20):
            try:
                if not self.courier.work(time.time() + later_s):
                    return True
            except Unavailable:
                return False
        raise AssertionError("it never comes to an end")

    def said(self) -> list[Event]:
        return [decode(row.message.headers, row.message.value) for row in self.ledger.outbox(100)]

    def states(self) -> list[State]:
        return [State(row[0]) for row in self.ledger._rows("SELECT state FROM delivery ORDER BY id")]

    def told(self) -> list[str | None]:
        return [row[0] for row in self.ledger._rows("SELECT told FROM delivery ORDER BY id")]


@pytest.fixture
def worklist() -> FakeWorklist:
    return FakeWorklist()


@pytest.fixture
def ris(tmp_path: Path, worklist: FakeWorklist) -> Iterator[Ris]:
    ris = Ris(tmp_path, worklist)
    yield ris
    ris.ledger.close()


def urgent(study: ReadStudy, revision: int = 1, *, unconfirmed: bool = False) -> StudyTriaged:
    result = study.result(revision, unconfirmed=unconfirmed)
    return result.model_copy(update={"priority": Priority.URGENT})


def test_a_result_is_told_and_the_next_one_knows_of_it(ris: Ris, worklist: FakeWorklist) -> None:
    first, second = ris.study.result(1), ris.study.result(2, bleed=False)
    for result in (first, second):
        ris.owe(result)
        assert ris.work()
    assert [(one.told, one.before) for one in worklist.heard] == [(None, None), (Priority.STAT, first)]
    assert worklist.heard[0].head.PatientID == ris.study.datasets[0].PatientID
    said = ris.said()
    assert [type(one) for one in said] == [WorklistUpdated, WorklistUpdated]
    assert [(one.priority, one.message) for one in said] == [(Priority.STAT, "1 2"), (Priority.ROUTINE, "1 2")]
    assert ris.states() == [State.DONE, State.DONE]


def test_what_raises_nothing_is_not_told(ris: Ris, worklist: FakeWorklist) -> None:
    ris.owe(ris.study.result(bleed=False))
    ris.work()
    assert (ris.states(), worklist.heard, ris.said()) == ([State.NOTHING], [], [])


def test_what_a_worklist_missed_in_its_absence_is_the_newest_result_only(ris: Ris, worklist: FakeWorklist) -> None:
    worklist.away = Unavailable("away")
    ris.owe(ris.study.result(1))
    assert not ris.work()
    ris.owe(ris.study.result(2))
    worklist.away = None
    assert ris.work()
    assert ris.states() == [State.SUPERSEDED, State.DONE]
    assert [one.result.revision for one in worklist.heard] == [2]


def test_what_was_begun_is_told_before_what_took_its_place(ris: Ris, worklist: FakeWorklist) -> None:
    worklist.answers = [Unavailable("no answer: it may be there, or not")]
    ris.owe(ris.study.result(1))
    assert not ris.work()
    ris.owe(ris.study.result(2, bleed=False))
    ris.ledger.close()
    ris.begin()
    assert ris.work()
    assert ris.states() == [State.DONE, State.DONE]
    assert [one.result.revision for one in worklist.heard] == [1, 1, 2]
    assert worklist.heard[0] == worklist.heard[1]
    assert worklist.heard[2].told is Priority.STAT


def test_a_refusal_is_said_and_holds_up_nobody(ris: Ris, worklist: FakeWorklist) -> None:
    worklist.answers = [Updated(failure=Refused("AR"))]
    ris.owe(ris.study.result(), ris.other.result())
    assert ris.work()
    assert ris.states() == [State.REJECTED, State.DONE]
    assert ris.told() == [None, "stat"]
    rejected = ris.said()[0]
    assert isinstance(rejected, WorklistRejected)
    assert (rejected.reason, rejected.priority, rejected.message) == ("AR", None, None)


def test_an_answer_of_no_for_everybody_is_a_refusal(ris: Ris, worklist: FakeWorklist) -> None:
    worklist.away = Refused("HTTP 401")
    ris.owe(ris.study.result())
    assert ris.work()
    assert ris.states() == [State.REJECTED]


def test_a_fault_of_ours_names_nobody_and_holds_up_nobody(ris: Ris, worklist: FakeWorklist) -> None:
    worklist.answers = [ValueError("KANA^PHANTOM")]
    ris.owe(ris.study.result(), ris.other.result())
    assert ris.work()
    assert ris.states() == [State.REJECTED, State.DONE]
    rejected = ris.said()[0]
    assert isinstance(rejected, WorklistRejected)
    assert rejected.reason == "it cannot be told, a fault of ours: ValueError"


def test_what_was_taken_beside_a_refusal_can_be_taken_back(ris: Ris, worklist: FakeWorklist) -> None:
    worklist.answers = [Updated(("1",), Priority.STAT, Refused("ORU^R01: AR"))]
    first = ris.study.result(1)
    ris.owe(first)
    ris.work()
    assert ris.states() == [State.REJECTED]
    (rejected,) = ris.said()
    assert isinstance(rejected, WorklistRejected)
    assert (rejected.priority, rejected.message) == (Priority.STAT, "1")
    ris.owe(ris.study.result(2, bleed=False))
    ris.work()
    assert (worklist.heard[1].told, worklist.heard[1].before) == (Priority.STAT, first)
    assert ris.told() == ["stat", "routine"]


def test_a_person_has_the_same_update_sent_again(ris: Ris, worklist: FakeWorklist) -> None:
    worklist.answers = [Updated(("1",), Priority.STAT, Refused("ORU^R01: AR"))]
    ris.owe(ris.study.result())
    ris.work()
    assert ris.ledger.retry([NAME], time.time()) == 1
    ris.work()
    assert worklist.heard[0] == worklist.heard[1]
    assert ris.states() == [State.DONE]


def test_what_was_taken_is_known_though_another_result_took_the_place_of_the_retry(
    ris: Ris, worklist: FakeWorklist
) -> None:
    worklist.answers = [Updated(("1",), Priority.STAT, Refused("ORU^R01: AR"))]
    ris.owe(ris.study.result(1))
    ris.work()
    ris.ledger.retry([NAME], time.time())
    ris.owe(ris.study.result(2, bleed=False))
    ris.work()
    assert ris.states() == [State.SUPERSEDED, State.DONE]
    assert worklist.heard[1].told is Priority.STAT


def test_an_update_that_left_all_as_it_was_is_not_said_to_have_moved_it(ris: Ris, worklist: FakeWorklist) -> None:
    worklist.answers = [Updated(), Updated(priority=Priority.ROUTINE)]
    ris.owe(ris.study.result(1), ris.other.result(1))
    ris.work()
    assert (ris.states(), ris.said(), ris.told()) == ([State.NOTHING, State.NOTHING], [], [None, "routine"])


def test_a_locked_order_waits_alone(ris: Ris, worklist: FakeWorklist) -> None:
    worklist.answers = [Updated(("1",), Priority.STAT, Busy("206"))]
    ris.owe(ris.study.result(), ris.other.result())
    assert ris.work()
    assert ris.states() == [State.SENDING, State.DONE]
    assert ris.courier.breaker.closed
    assert ris.work(later_s=PAUSE_S / 2)
    assert len(worklist.heard) == 2
    assert ris.work(later_s=PAUSE_S + 1)
    assert ris.states() == [State.DONE, State.DONE]
    assert worklist.heard[0] == worklist.heard[2]


def test_an_order_that_stays_locked_for_a_day_is_for_a_person(
    ris: Ris, worklist: FakeWorklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time() + 1_000_000.0  # it had waited for days already: only the lock counts
    monkeypatch.setattr(time, "time", lambda: now)
    ris.owe(ris.study.result())
    for hours in (0, 12, 11, 2):
        assert ris.states() != [State.REJECTED]
        now += hours * 3600.0
        worklist.answers = [Updated(("1",), Priority.STAT, Busy("206"))]
        assert ris.work()
    assert ris.states() == [State.REJECTED]
    assert ris.told() == ["stat"]
    (rejected,) = ris.said()
    assert isinstance(rejected, WorklistRejected)
    assert (rejected.reason, rejected.priority) == ("206", Priority.STAT)


# --- worklists that are there ----------------------------------------------------------------------------------------


def test_a_result_that_found_no_place_leaves_an_order_that_falls_again(tmp_path: Path) -> None:
    with ScriptedReceiver([answer(), answer("AR"), answer(), answer()]) as receiver:
        ris = Ris(tmp_path, Hl7Worklist(Hl7Settings(host="127.0.0.1", port=receiver.port), NAME))
        with_accession(ris)
        for result in (ris.study.result(1), ris.study.result(2, bleed=False)):
            ris.owe(result)
            assert ris.work()
        ris.courier.rest()
    assert ris.states() == [State.SUPERSEDED, State.DONE]
    assert ris.told() == ["stat", "routine"]
    assert [(kind(one), code(one)) for one in receiver.received] == [
        ("ORM", "S"),
        ("ORU", "S"),
        ("ORM", "R"),
        ("ORU", "R"),
    ]
    ris.ledger.close()


def test_an_order_that_must_not_fall_does_not_fall_by_the_way(tmp_path: Path) -> None:
    with ScriptedReceiver([answer()] * 4) as receiver:
        settings = Hl7Settings(host="127.0.0.1", port=receiver.port, lower=False)
        ris = Ris(tmp_path, Hl7Worklist(settings, NAME))
        with_accession(ris)
        for result in (ris.study.result(1), ris.study.result(2, bleed=False), urgent(ris.study, 3)):
            ris.owe(result)
            assert ris.work()
        ris.courier.rest()
    assert [(kind(one), code(one)) for one in receiver.received] == [("ORM", "S"), ("ORU", "S")] + [("ORU", "S")] * 2
    said = ris.said()
    assert [one.priority for one in said if isinstance(one, WorklistUpdated)] == [Priority.STAT] * 3
    assert ris.told() == ["stat"] * 3
    ris.ledger.close()


def test_nor_does_a_workitem(tmp_path: Path) -> None:
    with UpsServer() as server:
        ris = Ris(tmp_path, UpsWorklist(UpsSettings(url=server.url, lower=False), NAME))
        results = (ris.study.result(1), ris.study.result(2, bleed=False), urgent(ris.study, 3, unconfirmed=True))
        for result in results:
            ris.owe(result)
            assert ris.work()
            (workitem,) = server.workitems.values()
            assert value(workitem, PRIORITY) == "HIGH"
    said = ris.said()
    assert [one.priority for one in said if isinstance(one, WorklistUpdated)] == [Priority.STAT] * 3
    ris.ledger.close()


def with_accession(ris: Ris) -> None:
    """Images that know which order they answer."""
    for ds in ris.study.datasets:
        ds.AccessionNumber = "ACC-0001"
    ris.study = ReadStudy(ris.store, ris.study.site, ris.study.datasets)


def kind(message: bytes) -> str:
    return message.split(b"|")[8].decode()[:3]


def code(message: bytes) -> str:
    """OBR-27.6."""
    obr = next(one for one in message.split(b"\r") if one.startswith(b"OBR"))
    return obr.split(b"|")[27].decode().strip("^")
