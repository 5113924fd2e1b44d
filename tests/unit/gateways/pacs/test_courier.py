"""One result after the other into a PACS that behaves, refuses, forgets, is away, or has another patient."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from uuid import uuid4

import pytest

from gateways.delivery.ledger import Ledger, State
from gateways.objects import FileStore
from gateways.pacs.courier import PacsCourier
from gateways.pacs.making import Job, Made, Makers, make
from gateways.pacs.outgoing import Outgoing
from gateways.pacs.peer import Answer, Commitment, Instance, StudyPatient
from gateways.pacs.settings import ObjectSettings, PacsSettings
from schemas.base import Event
from schemas.deliveries import (
    ObjectKind,
    Proof,
    ResultArchived,
    ResultHeld,
    ResultRejected,
    WrittenObject,
)
from schemas.envelope import decode
from schemas.events import Outcome, StudyTriaged
from schemas.failures import Refused, Unavailable
from tests.results import ReadStudy, small_study

NAME = "suwon/pacs"


class FakePacs:
    """Has what it accepted. Each question is answered by a function that a test may exchange."""

    def __init__(self, study: ReadStudy) -> None:
        ds = study.datasets[0]
        self.patient: StudyPatient | None = StudyPatient(
            str(ds.PatientID), None, str(ds.PatientName), str(ds.PatientBirthDate), str(ds.PatientSex)
        )
        self.has: dict[str, Instance] = {}
        self.sent: list[str] = []
        self.asked: list[str] = []
        self.answer: Callable[[Instance], Answer] = lambda one: accepted(one)
        self.commits: Callable[[str, Sequence[Instance]], Commitment | None] = self._all
        self.away = ""

    def store(self, study_uid: str, instances: Sequence[Instance]) -> list[Answer]:
        self._reach()
        answers = []
        for one in instances:
            assert one.path.exists()
            answers.append(self.answer(one))
            self.sent.append(one.sop_instance_uid)
            if answers[-1].accepted:
                self.has[one.sop_instance_uid] = one
        return answers

    def patient_of(self, study_uid: str) -> StudyPatient | None:
        self._reach()
        return self.patient

    def holds(self, study_uid: str, instances: Sequence[Instance]) -> set[str]:
        self._reach()
        return {one.sop_instance_uid for one in instances} & self.has.keys()

    def request_commitment(self, transaction_uid: str, instances: Sequence[Instance]) -> Commitment | None:
        self._reach()
        self.asked.append(transaction_uid)
        return self.commits(transaction_uid, instances)

    def close(self) -> None:
        pass

    def _reach(self) -> None:
        if self.away:
            raise Unavailable(self.away)

    def _all(self, transaction_uid: str, instances: Sequence[Instance]) -> Commitment:
        uids = frozenset(one.sop_instance_uid for one in instances)
        return Commitment(transaction_uid, uids & self.has.keys(), dict.fromkeys(uids - self.has.keys(), "no such"))


def accepted(one: Instance) -> Answer:
    return Answer(one.sop_instance_uid, "0x0000", True, False, "")


def refused(one: Instance, status: str = "0xA900", *, passing: bool = False) -> Answer:
    return Answer(one.sop_instance_uid, status, False, passing, "no")


class MakesHere(Makers):
    """Makes objects in this process; ``deaths`` of its processes come first."""

    def __init__(self) -> None:
        super().__init__(1)
        self.deaths = 0
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> Future[Made]:
        future: Future[Made] = Future()
        self.jobs.append(job)
        if self.deaths:
            self.deaths -= 1
            future.set_exception(BrokenProcessPool())
            return future
        try:
            future.set_result(make(job))
        except Exception as error:  # noqa: BLE001 - as a process would hand it over
            future.set_exception(error)
        return future


class Hospital:
    """A courier at work, by hand and by a clock that does not tick by itself."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.store = FileStore(folder / "objects")
        self.study = small_study(self.store, "unit", slices=4, size=32)
        self.pacs = FakePacs(self.study)
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.outgoing = Outgoing(folder / "outgoing")
        self.makers = MakesHere()
        configured = PacsSettings(objects=ObjectSettings(rejections=True), **settings)  # type: ignore[arg-type]
        self.courier = PacsCourier(NAME, self.ledger, configured, self.pacs, self.store, self.outgoing, self.makers)

    def owe(self, *results: StudyTriaged) -> None:
        with self.ledger.transaction():
            for result in results:
                self.ledger.owe(NAME, result, 0.0)

    def work(self, *, later_s: float = 1e12) -> None:
        """Work until nothing is due, even later; an absence is over by the next call."""
        for _ in range(50):
            try:
                if not self.courier.work(later_s):
                    return
            except Unavailable:
                self.courier.rest()
                return
        raise AssertionError("it never comes to an end")

    def said(self) -> list[Event]:
        return [decode(row.message.headers, row.message.value) for row in self.ledger.outbox(100)]

    def states(self) -> list[State]:
        rows = self.ledger._rows("SELECT state FROM delivery ORDER BY id")
        return [State(row[0]) for row in rows]

    def outgoing_objects(self) -> tuple[WrittenObject, ...]:
        (delivery,) = self.ledger.in_states((State.SENDING,))
        return delivery.objects

    def files(self) -> list[Path]:
        return list(self.outgoing.root.iterdir())


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    hospital = Hospital(tmp_path)
    yield hospital
    hospital.ledger.close()


def test_a_result_is_stored_proven_and_said(hospital: Hospital) -> None:
    hospital.owe(hospital.study.result())
    hospital.work()
    (said,) = hospital.said()
    assert isinstance(said, ResultArchived)
    assert said.proof is Proof.COMMITMENT
    assert said.transaction_uid in hospital.pacs.asked
    assert {one.sop_instance_uid for one in said.objects} == hospital.pacs.has.keys()
    assert hospital.states() == [State.DONE]
    assert hospital.files() == []


def test_the_next_revision_replaces_it(hospital: Hospital) -> None:
    first, second = hospital.study.result(1), hospital.study.result(2)
    hospital.owe(first)
    hospital.work()
    hospital.owe(second)
    hospital.work()
    one, two = hospital.said()
    assert isinstance(one, ResultArchived)
    assert isinstance(two, ResultArchived)
    assert (one.replaces, two.replaces) == (None, first.event_id)
    assert ObjectKind.REJECTION in {written.kind for written in two.objects}


def test_a_backlog_of_one_study_is_its_newest_result(hospital: Hospital) -> None:
    hospital.pacs.away = "away"
    hospital.owe(hospital.study.result(1))
    hospital.work()
    hospital.owe(hospital.study.result(2), hospital.study.result(3))
    hospital.pacs.away = ""
    hospital.work()
    assert hospital.states() == [State.SUPERSEDED, State.SUPERSEDED, State.DONE]
    (said,) = hospital.said()
    assert isinstance(said, ResultArchived)
    assert said.revision == 3
    assert hospital.files() == []


def test_a_site_may_want_every_revision(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, superseded="write")
    hospital.owe(hospital.study.result(1), hospital.study.result(2))
    hospital.work()
    assert hospital.states() == [State.DONE, State.DONE]
    hospital.ledger.close()


def test_what_was_begun_is_sent_again_as_the_same_objects(hospital: Hospital) -> None:
    hospital.owe(hospital.study.result())
    hospital.pacs.answer = lambda one: refused(one, "0xA700", passing=True)
    hospital.work()
    assert hospital.states() == [State.SENDING]
    begun = sorted(hospital.files())
    contents = [file.read_bytes() for file in begun]
    hospital.pacs.answer = accepted
    tries = hospital.pacs.sent[:]
    stored: list[bytes] = []

    def keep(one: Instance) -> Answer:
        stored.append(one.path.read_bytes())
        return accepted(one)

    hospital.pacs.answer = keep
    hospital.work()
    assert hospital.pacs.sent == [*tries, *tries]
    assert sorted(stored) == sorted(contents)
    assert hospital.states() == [State.DONE]


def test_a_begun_result_is_finished_though_a_newer_one_waits(hospital: Hospital) -> None:
    hospital.owe(hospital.study.result(1))
    hospital.pacs.answer = lambda one: refused(one, "0xA700", passing=True)
    hospital.work()
    hospital.pacs.answer = accepted
    hospital.owe(hospital.study.result(2))
    hospital.work()
    assert hospital.states() == [State.DONE, State.DONE]


def test_a_refusal_is_said_with_status_and_comment_and_not_repeated(hospital: Hospital) -> None:
    hospital.owe(hospital.study.result())
    hospital.pacs.answer = refused
    hospital.work()
    (said,) = hospital.said()
    assert isinstance(said, ResultRejected)
    assert (said.status, said.reason) == ("0xA900", "no")
    assert hospital.states() == [State.REJECTED]
    sent = len(hospital.pacs.sent)
    hospital.work()
    assert len(hospital.pacs.sent) == sent
    assert hospital.files() == []


def test_what_a_refused_result_left_there_is_replaced_by_the_next(hospital: Hospital) -> None:
    reports: list[str] = []

    def only_reports(one: Instance) -> Answer:
        if "88.3" not in one.sop_class_uid:
            return refused(one)
        reports.append(one.sop_instance_uid)
        return accepted(one)

    hospital.owe(hospital.study.result(1))
    hospital.pacs.answer = only_reports
    hospital.work()
    hospital.pacs.answer = accepted
    hospital.owe(hospital.study.result(2))
    hospital.work()
    (job,) = [job for job in hospital.makers.jobs if job.result.revision == 2]
    assert [one.sop_instance_uid for one in job.earlier] == reports


def test_another_patient_holds_it_and_the_right_one_lets_it_go(hospital: Hospital) -> None:
    right = hospital.pacs.patient
    hospital.pacs.patient = StudyPatient("PHANTOM-OTHER", None, "OTHER^PHANTOM", None, None)
    hospital.owe(hospital.study.result())
    hospital.courier.work(0.0)
    (said,) = hospital.said()
    assert isinstance(said, ResultHeld)
    assert said.reason == "the patient differs in PatientID, PatientName"
    assert hospital.states() == [State.HELD]
    made = len(hospital.makers.jobs)
    hospital.courier.work(1e12)
    assert [job.choice for job in hospital.makers.jobs[made:]] == [None], "nothing is made in vain"
    assert (hospital.pacs.sent, len(hospital.said())) == ([], 1)
    hospital.pacs.patient = right
    hospital.work(later_s=1e12)
    assert hospital.states() == [State.DONE]


def test_a_study_that_is_not_there_is_waited_for_or_not_as_the_site_wants(tmp_path: Path) -> None:
    patient = Hospital(tmp_path / "waits")
    patient.pacs.patient = None
    patient.owe(patient.study.result())
    patient.courier.work(0.0)
    assert patient.states() == [State.HELD]
    at_once = Hospital(tmp_path / "writes", absent_study="write")
    at_once.pacs.patient = None
    at_once.owe(at_once.study.result())
    at_once.work()
    assert at_once.states() == [State.DONE]
    for hospital in (patient, at_once):
        hospital.ledger.close()


def test_without_commitment_the_pacs_is_asked_for_each_object(hospital: Hospital) -> None:
    def none(transaction_uid: str, instances: Sequence[Instance]) -> Commitment | None:
        raise Refused("no storage commitment")

    hospital.pacs.commits = none
    hospital.owe(hospital.study.result())
    hospital.work()
    (said,) = hospital.said()
    assert isinstance(said, ResultArchived)
    assert (said.proof, said.transaction_uid) == (Proof.QUERY, None)


def test_a_commitment_that_never_comes_is_asked_for_again_and_then_queried(hospital: Hospital) -> None:
    hospital.pacs.commits = lambda transaction_uid, instances: None
    hospital.owe(hospital.study.result())
    hospital.work(later_s=1e12)
    assert len(set(hospital.pacs.asked)) == 3
    (said,) = hospital.said()
    assert isinstance(said, ResultArchived)
    assert said.proof is Proof.QUERY


def test_a_report_that_comes_later_counts_once(hospital: Hospital) -> None:
    hospital.pacs.commits = lambda transaction_uid, instances: None
    hospital.owe(hospital.study.result())
    hospital.courier.work(1.0)
    hospital.courier.work(1e12)
    report = Commitment(hospital.pacs.asked[0], frozenset(hospital.pacs.has), {})
    for _ in range(2):
        hospital.courier.committed(report, hospital.ledger.about(report.transaction_uid))
    assert hospital.states() == [State.DONE]
    assert len(hospital.said()) == 1


def test_objects_the_pacs_does_not_commit_to_are_sent_again_and_at_last_rejected(hospital: Hospital) -> None:
    hospital.pacs.commits = lambda transaction_uid, instances: Commitment(
        transaction_uid, frozenset(), {one.sop_instance_uid: "no such object instance" for one in instances}
    )
    hospital.owe(hospital.study.result())
    hospital.work(later_s=1e12)
    (said,) = hospital.said()
    assert isinstance(said, ResultRejected)
    assert "does not commit to 3 of 3 objects: no such object instance" in said.reason
    assert len(hospital.pacs.sent) == 3 * 3


def test_an_object_that_vanished_is_sent_again(hospital: Hospital) -> None:
    forgets = [True]

    def forgetful(transaction_uid: str, instances: Sequence[Instance]) -> Commitment | None:
        if forgets.pop() if forgets else False:
            del hospital.pacs.has[instances[0].sop_instance_uid]
        return hospital.pacs._all(transaction_uid, instances)

    hospital.pacs.commits = forgetful
    hospital.owe(hospital.study.result())
    hospital.work(later_s=1e12)
    assert hospital.states() == [State.DONE]
    assert len(hospital.pacs.has) == 3


def test_a_result_without_images_is_rejected_in_words_and_the_next_goes(hospital: Hospital) -> None:
    broken = hospital.study.result()
    decision = broken.series[0].model_copy(update={"manifest": None})
    other = small_study(hospital.store, "other", slices=4, size=32)
    hospital.pacs.patient = None
    hospital.owe(broken.model_copy(update={"series": (decision,)}))
    hospital.owe(other.result())
    hospital.work(later_s=0.0)
    assert hospital.states() == [State.REJECTED, State.HELD]
    said = hospital.said()[0]
    assert isinstance(said, ResultRejected)
    assert said.reason == "the series of a finding has no manifest: its images are not known"


def test_nothing_is_written_of_what_the_site_does_not_want(hospital: Hospital) -> None:
    hospital.owe(hospital.study.result(bleed=False))
    hospital.work()
    assert hospital.states() == [State.NOTHING]
    assert hospital.said() == []


def test_an_unconfirmed_result_without_findings_waits_for_the_last_word(hospital: Hospital) -> None:
    hospital.owe(hospital.study.result(bleed=False, unconfirmed=True))
    hospital.work()
    assert hospital.states() == [State.NOTHING]
    assert hospital.makers.jobs == []


def test_a_process_that_dies_while_making_is_tried_again_and_then_the_result_rejected(hospital: Hospital) -> None:
    hospital.makers.deaths = 2
    hospital.owe(hospital.study.result(1))
    hospital.work(later_s=1e12)
    assert hospital.states() == [State.DONE]
    hospital.makers.deaths = 100
    hospital.owe(hospital.study.result(2))
    hospital.work(later_s=1e12)
    assert hospital.states() == [State.DONE, State.REJECTED]


def test_a_pacs_that_is_away_loses_nothing(hospital: Hospital) -> None:
    hospital.pacs.away = "the PACS is away"
    hospital.owe(hospital.study.result())
    for _ in range(5):
        with pytest.raises(Unavailable, match="the PACS is away"):
            hospital.courier.work(1e12)
        hospital.courier.rest()
    assert hospital.states() == [State.WAITING]
    hospital.pacs.away = ""
    hospital.work(later_s=1e12)
    assert hospital.states() == [State.DONE]


def failed(result: StudyTriaged) -> StudyTriaged:
    """The next revision, of which no model gave an answer."""
    return result.model_copy(
        update={"outcome": Outcome.FAILED, "findings": (), "event_id": uuid4(), "revision": result.revision + 1}
    )


def test_a_failure_takes_the_place_of_no_finding_that_waits(hospital: Hospital) -> None:
    found = hospital.study.result(1)
    hospital.owe(found, failed(found))
    hospital.work()
    assert hospital.states() == [State.DONE, State.DONE]
    assert [event.revision for event in hospital.said() if isinstance(event, ResultArchived)] == [1, 2]


def test_an_unconfirmed_result_takes_the_place_of_no_confirmed_one(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, unconfirmed="never")
    hospital.owe(hospital.study.result(1), hospital.study.result(2, unconfirmed=True))
    hospital.work()
    assert hospital.states() == [State.DONE, State.NOTHING]
    hospital.ledger.close()


def test_a_second_reading_without_findings_takes_the_place_of_the_first_that_waits(hospital: Hospital) -> None:
    first, second = hospital.study.result(1, unconfirmed=True), hospital.study.result(1, bleed=False)
    hospital.owe(first, second.model_copy(update={"final": False}))
    hospital.work()
    assert hospital.states() == [State.SUPERSEDED, State.NOTHING]


def test_a_pacs_that_files_late_is_asked_again_before_anything_is_sent_again(hospital: Hospital) -> None:
    late = [True, True, True]

    def files_late(transaction_uid: str, instances: Sequence[Instance]) -> Commitment:
        if late:
            late.pop()
            return Commitment(transaction_uid, frozenset(), {one.sop_instance_uid: "no such" for one in instances})
        return hospital.pacs._all(transaction_uid, instances)

    hospital.pacs.commits = files_late
    hospital.owe(hospital.study.result())
    hospital.work()
    assert hospital.states() == [State.DONE]
    assert len(hospital.pacs.sent) == 3
    assert len(set(hospital.pacs.asked)) == 4


def test_what_stays_of_a_result_that_was_never_proven_is_replaced_by_the_next(hospital: Hospital) -> None:
    hospital.pacs.commits = lambda transaction_uid, instances: Commitment(
        transaction_uid, frozenset(), {instances[0].sop_instance_uid: "no such object instance"}
    )
    hospital.owe(hospital.study.result(1))
    hospital.work()
    assert hospital.states() == [State.REJECTED]
    there = set(hospital.pacs.has)
    hospital.pacs.commits = hospital.pacs._all
    hospital.owe(hospital.study.result(2))
    hospital.work()
    (job,) = [job for job in hospital.makers.jobs if job.result.revision == 2]
    assert {one.sop_instance_uid for one in job.earlier} == there
    assert hospital.states() == [State.SUPERSEDED, State.DONE], "nobody has to look at the first any more"


def test_what_a_refused_result_did_not_replace_is_replaced_by_the_next(hospital: Hospital) -> None:
    hospital.owe(hospital.study.result(1))
    hospital.work()
    first = {one.kind: one.sop_instance_uid for one in archived_objects(hospital)}
    hospital.pacs.answer = lambda one: accepted(one) if "88.34" in one.sop_class_uid else refused(one)
    hospital.owe(hospital.study.result(2))
    hospital.work()
    hospital.pacs.answer = accepted
    hospital.owe(hospital.study.result(3))
    hospital.work()
    (job,) = [job for job in hospital.makers.jobs if job.result.revision == 3]
    earlier = {one.sop_instance_uid for one in job.earlier}
    assert first[ObjectKind.REPORT] not in earlier
    assert {first[ObjectKind.SEGMENTATION], first[ObjectKind.KEY_IMAGE]} < earlier


def test_what_an_earlier_try_left_is_replaced_by_the_next_try(hospital: Hospital) -> None:
    hospital.pacs.answer = lambda one: refused(one) if "66.4" in one.sop_class_uid else accepted(one)
    hospital.owe(hospital.study.result(1))
    hospital.work()
    left = set(hospital.pacs.has)
    assert left
    hospital.pacs.answer = accepted
    assert hospital.ledger.retry([NAME], 0.0) == 1
    hospital.work()
    assert {one.sop_instance_uid for one in hospital.makers.jobs[-1].earlier} == left
    assert hospital.states() == [State.DONE]
    archived = hospital.said()[-1]
    assert isinstance(archived, ResultArchived)
    assert archived.replaces is None


def test_an_object_over_which_the_pacs_fails_holds_up_no_other_study_and_is_rejected_at_last(
    hospital: Hospital,
) -> None:
    other = small_study(hospital.store, "other", slices=4, size=32)
    hospital.pacs.answer = lambda one: refused(one, "0x0110", passing=True)
    hospital.owe(hospital.study.result())
    hospital.courier.work(0.0)
    assert hospital.states() == [State.SENDING]
    assert hospital.courier.breaker.closed
    failing = {one.sop_instance_uid for one in hospital.outgoing_objects()}
    hospital.pacs.answer = lambda one: (
        refused(one, "0x0110", passing=True) if one.sop_instance_uid in failing else accepted(one)
    )
    hospital.pacs.patient = None
    hospital.courier._settings = hospital.courier._settings.model_copy(update={"absent_study": "write"})
    hospital.owe(other.result())
    hospital.work()
    assert hospital.states() == [State.REJECTED, State.DONE]


def test_a_fault_of_the_ledger_rejects_nothing(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    hospital.owe(hospital.study.result())

    def locked(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(hospital.ledger, "stored", locked)
        with pytest.raises(sqlite3.OperationalError):
            hospital.courier.work(0.0)
    hospital.work()
    assert hospital.states() == [State.DONE]


def test_what_a_person_puts_aside_is_not_written(hospital: Hospital) -> None:
    hospital.pacs.patient = StudyPatient("PHANTOM-OTHER", None, "OTHER^PHANTOM", None, None)
    hospital.owe(hospital.study.result())
    hospital.courier.work(0.0)
    assert hospital.ledger.dismiss(hospital.study.uid, [NAME], 1.0) == 1
    hospital.work()
    assert hospital.states() == [State.DISMISSED]
    assert hospital.pacs.sent == []


def archived_objects(hospital: Hospital) -> tuple[WrittenObject, ...]:
    said = hospital.said()[-1]
    assert isinstance(said, ResultArchived)
    return said.objects
