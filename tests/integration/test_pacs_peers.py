"""Writing to a PACS: Orthanc and dcmtk as they are, and one that behaves oddly."""

import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from socket import create_connection
from ssl import CERT_REQUIRED, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER, SSLContext
from struct import unpack_from
from threading import Thread

import psutil
import pytest
import requests
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, _config, build_context
from pynetdicom.sop_class import Comprehensive3DSRStorage, SecondaryCaptureImageStorage, Verification

from gateways.dicom.association import Address, AssociationFailed, associate
from gateways.pacs.data_set import decode
from gateways.pacs.dicomweb import Dicomweb
from gateways.pacs.dimse import Dimse
from gateways.pacs.listener import CommitmentListener
from gateways.pacs.peer import Commitment, Instance, Pacs
from gateways.tls import TlsSettings
from schemas.failures import PortFailure, Refused, Unavailable, Unreadable
from tests.integration import odd_pacs
from tests.integration.certificates import Authority, Certificate
from tests.integration.odd_pacs import OddPacs
from tests.integration.result_objects import KOREAN, a_result, an_object
from tests.stack import Orthanc, free_port, wait_until

pytestmark = pytest.mark.integration
QUOTED = "PHANTOM^KIM 1999"


class Reports:
    """A listener, and what it was told."""

    def __init__(self) -> None:
        self.heard: Queue[Commitment] = Queue()
        self.failing = False
        self.listener = CommitmentListener("127.0.0.1", 0, {"SINSOK", "SUWON_AI "}, self._record)

    def _record(self, commitment: Commitment) -> None:
        if self.failing:
            raise OSError("the ledger's disk is full")
        self.heard.put(commitment)

    def next(self) -> Commitment:
        return self.heard.get(timeout=120)


@pytest.fixture(autouse=True)
def _options_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.IGNORE)


@pytest.fixture(scope="module")
def reports() -> Iterator[Reports]:
    reports = Reports()
    reports.listener.start()
    yield reports
    reports.listener.stop()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, reports: Reports) -> Iterator[Orthanc]:
    home = tmp_path_factory.mktemp("orthanc")
    with Orthanc(home, [("SINSOK", "127.0.0.1", reports.listener.port)]) as pacs:
        yield pacs


@pytest.fixture
def dimse(orthanc: Orthanc) -> Iterator[Dimse]:
    dimse = Dimse(Address("127.0.0.1", orthanc.dicom_port, "PACS", "SINSOK"), timeout_s=10)
    yield dimse
    dimse.close()


@pytest.fixture
def dicomweb(orthanc: Orthanc) -> Iterator[Dicomweb]:
    dicomweb = Dicomweb(f"http://{orthanc.http}/dicom-web", timeout_s=10)
    yield dicomweb
    dicomweb.close()


@pytest.fixture(params=["dimse", "dicomweb"])
def pacs(request: pytest.FixtureRequest) -> Pacs:
    return request.getfixturevalue(request.param)


def data_set_of(content: bytes) -> bytes:
    """What follows the file meta information of a file."""
    (length,) = unpack_from("<I", content, 140)
    return content[144 + length :]


# --- Orthanc -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study_uid", [generate_uid(), "ID_0a1b2c3d"], ids=["valid uid", "invalid uid"])
def test_what_is_stored_is_there_as_it_was_sent(
    pacs: Pacs, orthanc: Orthanc, tmp_path: Path, study_uid: str, request: pytest.FixtureRequest
) -> None:
    study_uid = f"{study_uid}{len(request.node.name)}"
    instances = a_result(tmp_path, study_uid)
    absent = Instance(SecondaryCaptureImageStorage, generate_uid(), instances[0].series_uid, tmp_path / "none")
    assert [answer.accepted for answer in pacs.store(study_uid, instances)] == [True, True]
    assert pacs.holds(study_uid, [*instances, absent]) == {one.sop_instance_uid for one in instances}
    for instance in instances:
        query = {"Level": "Instance", "Query": {"SOPInstanceUID": instance.sop_instance_uid}}
        (found,) = requests.post(f"http://{orthanc.http}/tools/find", json=query, timeout=60).json()
        kept = requests.get(f"http://{orthanc.http}/instances/{found}/file", timeout=60).content
        assert data_set_of(kept) == data_set_of(instance.path.read_bytes())


def test_sending_again_is_accepted_again(pacs: Pacs, tmp_path: Path) -> None:
    study_uid = generate_uid()
    instances = a_result(tmp_path, study_uid)
    for _ in range(2):
        assert all(answer.accepted for answer in pacs.store(study_uid, instances))


@pytest.mark.parametrize("character_set", ["ISO_IR 192", ["", "ISO 2022 IR 149"]])
def test_the_patient_of_a_study_is_read_in_hangul(pacs: Pacs, tmp_path: Path, character_set: str | list[str]) -> None:
    study_uid = generate_uid()
    pacs.store(study_uid, [an_object(tmp_path, study_uid, character_set=character_set, name=KOREAN)])
    patient = pacs.patient_of(study_uid)
    assert patient is not None
    assert (patient.patient_id, patient.name) == ("PHANTOM-1", KOREAN)
    assert (patient.birth_date, patient.sex) == ("19700101", "F")
    assert KOREAN not in repr(patient)


def test_a_study_that_is_not_there_has_no_patient_and_no_objects(pacs: Pacs, tmp_path: Path) -> None:
    assert pacs.patient_of("1.2.3.4.5") is None
    assert pacs.holds("1.2.3.4.5", a_result(tmp_path, "1.2.3.4.5")) == set()


def test_orthanc_commits_to_what_it_has_and_not_to_the_rest(dimse: Dimse, reports: Reports, tmp_path: Path) -> None:
    study_uid, transaction_uid = generate_uid(), generate_uid()
    instances = a_result(tmp_path, study_uid)
    absent = an_object(tmp_path, study_uid)
    dimse.store(study_uid, instances)
    assert dimse.request_commitment(transaction_uid, [*instances, absent]) is None
    report = reports.next()
    assert report.transaction_uid == transaction_uid
    assert report.committed == {one.sop_instance_uid for one in instances}
    assert report.failed == {absent.sop_instance_uid: "0x0112 no such object instance"}


def test_a_caller_that_orthanc_does_not_know_may_store_and_not_ask(orthanc: Orthanc, tmp_path: Path) -> None:
    stranger = Dimse(Address("127.0.0.1", orthanc.dicom_port, "PACS", "STRANGER"), timeout_s=10)
    study_uid = generate_uid()
    instances = a_result(tmp_path, study_uid)
    assert all(answer.accepted for answer in stranger.store(study_uid, instances))
    with pytest.raises(Unavailable, match=r"broke off over a query.*calling STRANGER"):
        stranger.patient_of(study_uid)
    with pytest.raises(Unavailable, match="broke off over storage commitment"):
        stranger.request_commitment("1.2.3", instances)


def test_one_association_serves_many_calls_and_its_end_goes_unnoticed(tmp_path: Path) -> None:
    with Orthanc(tmp_path / "orthanc") as orthanc:
        dimse = Dimse(Address("127.0.0.1", orthanc.dicom_port, "PACS", "SINSOK"), timeout_s=10)
        web = Dicomweb(f"http://{orthanc.http}/dicom-web", timeout_s=10)
        for pacs in (dimse, web):
            assert pacs.store("1.2.3", a_result(tmp_path, "1.2.3"))[0].accepted
        orthanc.kill()
        orthanc.start()
        for pacs in (dimse, web):
            assert pacs.store("1.2.3", a_result(tmp_path, "1.2.3"))[0].accepted
        orthanc.kill()
        for pacs in (dimse, web):
            with pytest.raises(Unavailable, match="nothing answers at"):
                pacs.store("1.2.3", a_result(tmp_path, "1.2.3"))
        orthanc.start()
        for pacs in (dimse, web):
            assert pacs.store("1.2.3", a_result(tmp_path, "1.2.3"))[0].accepted
            pacs.close()
            pacs.close()


def test_a_pacs_that_hangs_is_silent(tmp_path: Path) -> None:
    with Orthanc(tmp_path / "orthanc", [("SINSOK", "127.0.0.1", 1)]) as orthanc:
        dimse = Dimse(Address("127.0.0.1", orthanc.dicom_port, "PACS", "SINSOK"), timeout_s=1)
        web = Dicomweb(f"http://{orthanc.http}/dicom-web", timeout_s=1)
        assert dimse.patient_of("1.2.3") is None
        assert web.patient_of("1.2.3") is None

        def stopped() -> None:
            process = psutil.Process(orthanc.process.pid)
            states = {psutil.Process(thread.id).status() for thread in process.threads()}
            assert states == {psutil.STATUS_STOPPED}

        orthanc.pause()
        wait_until(stopped)
        for pacs in (dimse, web, dimse):
            with pytest.raises(Unavailable, match="is silent: no answer within 1 s"):
                pacs.patient_of("1.2.3")
        orthanc.resume()
        for pacs in (dimse, web):
            assert pacs.patient_of("1.2.3") is None
            pacs.close()


def test_an_object_of_another_study_is_refused_alone(dicomweb: Dicomweb, tmp_path: Path) -> None:
    study_uid = generate_uid()
    (image, report), other = a_result(tmp_path, study_uid), an_object(tmp_path, generate_uid())
    answers = dicomweb.store(study_uid, [image, other, report])
    assert [answer.accepted for answer in answers] == [True, False, True]
    assert (answers[1].status, answers[1].passing) == ("0x0110", False)


def test_there_is_no_commitment_over_dicomweb(dicomweb: Dicomweb, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no storage commitment over DICOMweb"):
        dicomweb.request_commitment("1.2.3", a_result(tmp_path, "1.2.3"))


# --- storage at an odd PACS ----------------------------------------------------------------------------------------


def comment(status: int, text: str) -> Dataset:
    ds = Dataset()
    ds.Status, ds.ErrorComment = status, text
    return ds


def test_the_answer_to_each_object_is_told(tmp_path: Path) -> None:
    odd = OddPacs()
    odd.statuses = iter([0xA700, 0x0000, comment(0xA900, "no\tframe  of reference"), 0xB000, 0xC123, 0x0110])
    instances = [an_object(tmp_path, "1.2.3") for _ in range(6)]
    with odd.running():
        pacs = Dimse(odd.address)
        answers = pacs.store("1.2.3", instances)
        assert pacs.store("1.2.3", instances[:1])[0].accepted
        pacs.close()
    assert [answer.status for answer in answers] == ["0xA700", "0x0000", "0xA900", "0xB000", "0xC123", "0x0110"]
    assert [answer.accepted for answer in answers] == [False, True, False, True, False, False]
    assert [answer.passing for answer in answers] == [True, False, False, False, False, True]
    assert answers[2].comment == "Data Set Does Not Match SOP Class"
    assert len(odd.associations) == 1


def quoting(status: int) -> Dataset:
    return comment(status, f"no\tplace for {QUOTED}")


@pytest.mark.parametrize("repeat", [False, True])
def test_a_name_that_a_pacs_quotes_is_repeated_only_where_the_site_wants_it(tmp_path: Path, repeat: bool) -> None:
    odd = OddPacs()
    odd.statuses = iter([quoting(0xA900), quoting(0xB000), quoting(0xA700)])
    odd.commit = lambda pacs, event, request: quoting(0x0213)
    instances = [an_object(tmp_path, "1.2.3") for _ in range(3)]
    with odd.running():
        pacs = Dimse(odd.address, repeat_error_text=repeat)
        said = [f"{answer.status} {answer.comment}" for answer in pacs.store("1.2.3", instances)]
        for status in (0xA700, 0xA900):
            odd.matches = [(quoting(status), None)]
            for ask in (pacs.patient_of, lambda uid: pacs.holds(uid, instances)):
                with pytest.raises(PortFailure) as raised:
                    ask("1.2.3")
                said.append(str(raised.value))
        with pytest.raises(Unavailable, match="0x0213") as raised:
            pacs.request_commitment("1.2.1", instances)
        said.append(str(raised.value))
        odd.commit = lambda pacs, event, request: quoting(0x0119)
        with pytest.raises(Refused, match="0x0119") as raised:
            pacs.request_commitment("1.2.1", instances)
        said.append(str(raised.value))
        odd.echo = quoting(0xA700)
        with pytest.raises(Refused, match="0xA700") as raised:
            pacs.reach()
        said.append(str(raised.value))
        pacs.close()
    assert len(said) == 10
    assert [f"no place for {QUOTED}" in words for words in said] == [repeat] * 10


def test_what_a_pacs_has_already_was_sent_before_a_crash(tmp_path: Path) -> None:
    odd = OddPacs()
    odd.statuses = iter([0x0000, 0x0111])
    with odd.running():
        pacs = Dimse(odd.address)
        answers = pacs.store("1.2.3", a_result(tmp_path, "1.2.3"))
        pacs.close()
    assert [(answer.status, answer.accepted) for answer in answers] == [("0x0000", True), ("0x0111", True)]


def test_a_pacs_is_reached_under_the_ae_titles_of_the_site() -> None:
    odd = OddPacs()
    with odd.running():
        Dimse(odd.address).reach()
        with pytest.raises(Unavailable, match="Called AE title not recognised"):
            Dimse(Address("127.0.0.1", odd.port, "NOBODY", "SINSOK")).reach()
    assert [assoc.requestor.ae_title for assoc in odd.associations] == ["SINSOK"]
    with pytest.raises(Unavailable, match="nothing answers at"):
        Dimse(odd.address).reach()


def test_a_pacs_that_takes_only_implicit_vr_gets_it(tmp_path: Path) -> None:
    odd = OddPacs({SecondaryCaptureImageStorage: [ImplicitVRLittleEndian]})
    instance = an_object(tmp_path, "ID_1", name=KOREAN)
    with odd.running():
        pacs = Dimse(odd.address)
        answers = pacs.store("ID_1", [instance, an_object(tmp_path, "ID_1", sop_class=Comprehensive3DSRStorage)])
        pacs.close()
    assert [answer.accepted for answer in answers] == [True, False]
    assert answers[1].status is None
    assert "takes Comprehensive 3D SR Storage neither in Explicit nor in Implicit VR" in answers[1].comment
    ((syntax, encoded),) = odd.arrived
    assert syntax == ImplicitVRLittleEndian
    sent, received = dcmread(instance.path), decode(encoded, syntax)
    assert {element.tag: element.value for element in received} == {element.tag: element.value for element in sent}


def test_explicit_vr_goes_first(tmp_path: Path) -> None:
    odd, instance = OddPacs(), an_object(tmp_path, "1.2.3")
    with odd.running():
        pacs = Dimse(odd.address)
        pacs.store("1.2.3", [instance])
        pacs.close()
    assert odd.arrived == [(ExplicitVRLittleEndian, data_set_of(instance.path.read_bytes()))]


def test_a_class_that_was_not_proposed_yet_is_proposed(tmp_path: Path) -> None:
    other = "1.2.840.10008.5.1.4.1.1.104.1"
    odd = OddPacs(dict.fromkeys((SecondaryCaptureImageStorage, other), odd_pacs.BOTH))
    with odd.running():
        pacs = Dimse(odd.address)
        for sop_class in (SecondaryCaptureImageStorage, other, SecondaryCaptureImageStorage):
            assert pacs.store("1.2.3", [an_object(tmp_path, "1.2.3", sop_class=sop_class)])[0].accepted
        pacs.close()
    assert len(odd.associations) == 2


def test_an_abort_in_the_middle_is_unavailable_and_the_next_call_begins_anew(tmp_path: Path) -> None:
    odd = OddPacs()
    odd.statuses = iter([0x0000, None])
    instances = a_result(tmp_path, "1.2.3")
    with odd.running():
        pacs = Dimse(odd.address, timeout_s=10)
        with pytest.raises(Unavailable, match="broke off over storage"):
            pacs.store("1.2.3", instances)
        assert all(answer.accepted for answer in pacs.store("1.2.3", instances))
        pacs.close()
    assert len(odd.associations) == 2


def test_a_kept_association_that_is_aborted_is_opened_anew_once(tmp_path: Path) -> None:
    odd = OddPacs()
    odd.statuses = iter([0x0000, 0x0000, 0xB000, None])
    instances = a_result(tmp_path, "1.2.3")
    with odd.running():
        pacs = Dimse(odd.address, timeout_s=10)
        pacs.store("1.2.3", instances)
        answers = pacs.store("1.2.3", instances)
        pacs.close()
    assert [answer.status for answer in answers] == ["0xB000", "0x0000"]
    assert len(odd.arrived) == 4
    assert len(odd.associations) == 2


def test_a_rejected_association_is_unavailable_with_its_reason(tmp_path: Path) -> None:
    odd = OddPacs()
    odd.reject = True
    instances = a_result(tmp_path, "1.2.3")
    with odd.running():
        with pytest.raises(Unavailable, match=r"rejected transient: Local limit exceeded by 127\.0\.0\.1:\d+ \(called"):
            Dimse(odd.address).store("1.2.3", instances)
        stranger = Address("127.0.0.1", odd.port, "NOBODY", "SINSOK")
        odd.reject = False
        with pytest.raises(Unavailable, match="Called AE title not recognised"):
            Dimse(stranger).store("1.2.3", instances)


def test_an_object_that_is_gone_is_unreadable_and_the_association_stays_in_step(tmp_path: Path) -> None:
    odd = OddPacs()
    odd.statuses = iter([0x0000, 0xA900])
    image, report = a_result(tmp_path, "1.2.3")
    content = report.path.read_bytes()
    report.path.unlink()
    with odd.running():
        pacs = Dimse(odd.address)
        with pytest.raises(Unreadable, match="gone from the disk"):
            pacs.store("1.2.3", [image, report])
        report.path.write_bytes(content)
        assert [answer.status for answer in pacs.store("1.2.3", [report, image])] == ["0xA900", "0x0000"]
        pacs.close()
    assert len(odd.associations) == 1


# --- queries at an odd PACS ----------------------------------------------------------------------------------------


def match(study_uid: str, patient_id: str = "1", name: str = KOREAN, character_set: object = None) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = character_set or ["", "ISO 2022 IR 149"]
    ds.QueryRetrieveLevel = "STUDY"
    ds.StudyInstanceUID = study_uid
    ds.PatientID, ds.PatientName = patient_id, name
    return ds


@pytest.mark.parametrize("model", [odd_pacs.STUDY_ROOT, odd_pacs.PATIENT_ROOT])
def test_either_root_tells_the_patient_and_other_studies_do_not_count(model: str) -> None:
    odd = OddPacs({model: [ImplicitVRLittleEndian]})
    odd.matches = [(0xFF00, match("1.2.9", "2")), (0xFF01, match("ID_abc")), (0xFF00, match("1.2.8", "3"))]
    with odd.running():
        pacs = Dimse(odd.address)
        patient = pacs.patient_of("ID_abc")
        assert pacs.patient_of("1.2.7") is None
        pacs.close()
    assert patient is not None
    assert (patient.patient_id, patient.name, patient.issuer) == ("1", KOREAN, None)
    assert odd.identifiers[0].StudyInstanceUID == "ID_abc"
    assert odd.identifiers[0].QueryRetrieveLevel == "STUDY"


def test_two_patients_for_one_study_are_refused() -> None:
    odd = OddPacs()
    odd.matches = [(0xFF00, match("1.2.3", "1")), (0xFF00, match("1.2.3", "2"))]
    with odd.running(), pytest.raises(Refused, match="more than one patient"):
        Dimse(odd.address).patient_of("1.2.3")


def test_a_pacs_without_queries_refuses_them(tmp_path: Path) -> None:
    odd = OddPacs(dict.fromkeys(odd_pacs.STORAGE, odd_pacs.BOTH))
    with odd.running():
        pacs = Dimse(odd.address)
        for ask in (pacs.patient_of, lambda study: pacs.holds(study, a_result(tmp_path, study))):
            with pytest.raises(Refused, match=r"answers no queries .*calling SINSOK"):
                ask("1.2.3")
        pacs.close()


@pytest.mark.parametrize(("status", "kind"), [(0xA700, Unavailable), (0xA900, Refused), (0xC001, Refused)])
def test_a_query_that_fails_says_how(status: int, kind: type[Exception]) -> None:
    odd = OddPacs()
    odd.matches = [(status, None)]
    with odd.running():
        pacs = Dimse(odd.address)
        with pytest.raises(kind, match=f"0x{status:04X}"):
            pacs.patient_of("1.2.3")
        odd.matches = ()
        assert pacs.patient_of("1.2.3") is None
        pacs.close()
    assert len(odd.associations) == 1


# --- storage commitment at an odd PACS -----------------------------------------------------------------------------


@pytest.mark.parametrize("commit", [odd_pacs.on_the_same_association, odd_pacs.before_it_answers])
def test_a_report_on_the_same_association_is_the_answer(tmp_path: Path, commit: odd_pacs.Committing) -> None:
    odd = OddPacs()
    odd.commit = commit
    instances = a_result(tmp_path, "ID_1")
    with odd.running():
        pacs = Dimse(odd.address, report_within_s=10)
        for transaction_uid in ("1.2.1", "1.2.2"):
            report = pacs.request_commitment(transaction_uid, instances)
            assert report == Commitment(transaction_uid, frozenset(one.sop_instance_uid for one in instances), {})
        pacs.close()
    assert odd.answers == [0x0000, 0x0000]


def test_a_report_may_fail_objects(tmp_path: Path) -> None:
    odd = OddPacs()
    odd.commit = odd_pacs.without_one_object
    image, report = a_result(tmp_path, "1.2.3")
    with odd.running():
        pacs = Dimse(odd.address)
        answer = pacs.request_commitment("1.2.1", [image, report])
        pacs.close()
    assert answer == Commitment(
        "1.2.1", frozenset({report.sop_instance_uid}), {image.sop_instance_uid: "0x0112 no such object instance"}
    )


@pytest.mark.parametrize("recorded", [True, False])
def test_a_report_on_something_else_is_handed_over_before_it_is_answered(tmp_path: Path, recorded: bool) -> None:
    odd = OddPacs()
    odd.commit = odd_pacs.twice_and_of_another
    heard: list[str] = []
    with odd.running():
        pacs = Dimse(odd.address, on_commitment=(lambda one: heard.append(one.transaction_uid)) if recorded else None)
        answer = pacs.request_commitment("1.2.1", a_result(tmp_path, "1.2.3"))
        pacs.close()
    assert answer is not None
    assert answer.transaction_uid == "1.2.1"
    assert heard == (["1.2.999"] if recorded else [])
    assert odd.answers == [0x0000 if recorded else 0x0110, 0x0000]


def test_a_report_that_comes_late_is_handed_over_before_the_association_is_let_go(tmp_path: Path) -> None:
    odd, heard = OddPacs(), []
    requests_made: list[Dataset] = []

    def silent(pacs: OddPacs, event: object, request: Dataset) -> int:
        requests_made.append(request)
        return 0x0000

    odd.commit = silent
    with odd.running():
        pacs = Dimse(odd.address, on_commitment=heard.append, report_within_s=0.1)
        assert pacs.request_commitment("1.2.77.5", a_result(tmp_path, "1.2.3")) is None
        odd.later(lambda: odd.report(odd.associations[0], odd_pacs.report_of(requests_made[0])))

        def reported() -> None:
            assert any(b"1.2.77.5" in sent for sent in odd.sent)

        wait_until(reported)
        pacs.close()
    assert odd.answers == [0x0000]
    assert [one.transaction_uid for one in heard] == ["1.2.77.5"]


@pytest.mark.parametrize(("status", "kind"), [(0x0112, Refused), (0x0119, Refused), (0x0213, Unavailable)])
def test_a_request_that_is_not_granted_says_why(tmp_path: Path, status: int, kind: type[Exception]) -> None:
    odd = OddPacs()
    odd.commit = lambda pacs, event, request: status
    with odd.running():
        pacs = Dimse(odd.address)
        with pytest.raises(kind, match=f"0x{status:04X}"):
            pacs.request_commitment("1.2.1", a_result(tmp_path, "1.2.3"))
        pacs.close()


def test_a_pacs_without_storage_commitment_refuses_it(tmp_path: Path) -> None:
    odd = OddPacs(dict.fromkeys(odd_pacs.STORAGE, odd_pacs.BOTH))
    with odd.running():
        pacs = Dimse(odd.address)
        with pytest.raises(Refused, match="offers no storage commitment"):
            pacs.request_commitment("1.2.1", a_result(tmp_path, "1.2.3"))
        pacs.close()


def test_an_abort_instead_of_an_answer_to_the_request_is_unavailable(tmp_path: Path) -> None:
    odd = OddPacs()
    odd.commit = odd_pacs.breaks_off
    with odd.running(), pytest.raises(Unavailable, match="broke off over storage commitment"):
        Dimse(odd.address, timeout_s=10).request_commitment("1.2.1", a_result(tmp_path, "1.2.3"))


# --- the listener --------------------------------------------------------------------------------------------------


def a_request(tmp_path: Path, transaction_uid: str) -> Dataset:
    request = Dataset()
    request.TransactionUID = transaction_uid
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3.4"
    request.ReferencedSOPSequence = [item]
    return request


def test_the_listener_answers_success_only_when_the_report_is_recorded(reports: Reports, tmp_path: Path) -> None:
    report = odd_pacs.report_of(a_request(tmp_path, "1.2.77"))
    odd = OddPacs()
    reports.failing = True
    odd.report_anew(reports.listener.port, report)
    reports.failing = False
    odd.report_anew(reports.listener.port, report, report)
    assert odd.answers == [0x0110, 0x0000, 0x0000]
    assert [reports.next().transaction_uid for _ in range(2)] == ["1.2.77", "1.2.77"]


def test_a_report_without_a_transaction_is_no_report(reports: Reports) -> None:
    odd, report = OddPacs(), Dataset()
    report.RetrieveAETitle = "PACS"
    odd.report_anew(reports.listener.port, report)
    assert odd.answers == [0x0115]
    assert reports.heard.empty()


def test_the_listener_answers_under_every_ae_title_that_asks_and_under_no_other(reports: Reports) -> None:
    ae = AE("PACS")
    ae.add_requested_context(Verification)
    for ours in ("SINSOK", "SUWON_AI"):
        assoc = ae.associate("127.0.0.1", reports.listener.port, ae_title=ours)
        assert assoc.send_c_echo().Status == 0x0000
        assoc.release()
    rejected = ae.associate("127.0.0.1", reports.listener.port, ae_title="OTHER")
    assert rejected.is_rejected
    assert rejected.acceptor.primitive.diagnostic == 7


def test_a_report_comes_to_the_ae_title_that_asked(reports: Reports, tmp_path: Path) -> None:
    odd = OddPacs()
    odd.report_anew(reports.listener.port, odd_pacs.report_of(a_request(tmp_path, "1.2.79")), called="SUWON_AI")
    assert odd.answers == [0x0000]
    assert reports.next().transaction_uid == "1.2.79"


# --- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def ours(authority: Authority) -> TlsSettings:
    made = authority.signs("sinsok")
    return TlsSettings(ca=authority.certificate, certificate=made.certificate, key=made.key)


def test_dcmtk_is_sent_objects_over_tls(authority: Authority, ours: TlsSettings, tmp_path: Path) -> None:
    theirs, port, folder = authority.signs("pacs"), free_port(), tmp_path / "received"
    folder.mkdir()
    command = ["storescp", "+tls", theirs.key, theirs.certificate, "+cf", authority.certificate, "-pm", "-od", folder]
    scp = subprocess.Popen([*map(str, command), "-aet", "PACS", "+uf", str(port)])
    try:
        instances = [an_object(tmp_path, "1.2.3", pixels=3_000_000), *a_result(tmp_path, "1.2.3")]
        pacs = Dimse(Address("127.0.0.1", port, "PACS", "SINSOK"), tls=ours, timeout_s=10)

        def stored() -> None:
            try:
                assert all(answer.accepted for answer in pacs.store("1.2.3", instances))
            except Unavailable as error:
                raise AssertionError from error

        wait_until(stored)
        pacs.close()
        nobody = Dimse(Address("127.0.0.1", port, "PACS", "SINSOK"), tls=TlsSettings(ca=ours.ca), timeout_s=10)
        with pytest.raises(Unavailable):
            nobody.store("1.2.3", instances)
    finally:
        scp.kill()
        scp.wait()
    assert len(list(folder.iterdir())) == 3


def server_context(certificate: Certificate, authority: Authority) -> SSLContext:
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = CERT_REQUIRED
    return context


def test_a_certificate_that_is_not_in_order_is_named_in_words(
    authority: Authority, ours: TlsSettings, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    cases = {
        "certificate has expired": authority.signs("expired", days=-1),
        "IP address mismatch": authority.signs("elsewhere", alternative="DNS:elsewhere.test"),
        "unable to get local issuer certificate": other.signs("pacs"),
    }
    for words, theirs in cases.items():
        with (
            OddPacs().running(ssl_context=server_context(theirs, authority)) as odd,
            pytest.raises(Unavailable, match=f"no TLS with .*: its certificate is not accepted: .*{words}"),
        ):
            Dimse(odd.address, tls=ours, timeout_s=10).patient_of("1.2.3")


def test_the_name_in_the_certificate_may_be_told(authority: Authority, ours: TlsSettings, tmp_path: Path) -> None:
    theirs = authority.signs("named", alternative="DNS:pacs.test")
    odd = OddPacs()
    with odd.running(ssl_context=server_context(theirs, authority)):
        pacs = Dimse(odd.address, tls=ours.model_copy(update={"server_name": "pacs.test"}), timeout_s=10)
        odd.commit = odd_pacs.on_the_same_association
        instances = a_result(tmp_path, "1.2.3")
        assert all(answer.accepted for answer in pacs.store("1.2.3", instances))
        assert pacs.request_commitment("1.2.1", instances) is not None
        pacs.close()


def test_a_certificate_of_ours_is_shown_over_dicomweb_too(
    authority: Authority, ours: TlsSettings, tmp_path: Path
) -> None:
    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Nothing)
    server.socket = server_context(authority.signs("web"), authority).wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    url = f"https://127.0.0.1:{server.server_address[1]}/dicom-web"
    try:
        known = Dicomweb(url, tls=ours, timeout_s=5)
        known.reach()
        known.close()
        for stranger in (TlsSettings(ca=ours.ca), ours.model_copy(update={"key": tmp_path / "none"})):
            nobody = Dicomweb(url, tls=stranger, timeout_s=5)
            with pytest.raises(Unavailable):
                nobody.reach()
            nobody.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_pacs_that_speaks_no_tls_is_unavailable(ours: TlsSettings) -> None:
    with OddPacs().running() as odd, pytest.raises(Unavailable, match="no TLS with 127"):
        Dimse(odd.address, tls=ours, timeout_s=1).patient_of("1.2.3")


def test_the_listener_wants_a_certificate_of_the_pacs(authority: Authority, ours: TlsSettings, tmp_path: Path) -> None:
    heard: list[Commitment] = []
    listener = CommitmentListener("127.0.0.1", 0, ["SINSOK"], heard.append, tls=ours, timeout_s=5)
    listener.start()
    try:
        silent = create_connection(("127.0.0.1", listener.port))
        stranger = SSLContext(PROTOCOL_TLS_CLIENT)
        stranger.load_verify_locations(ours.ca)
        with pytest.raises(AssociationFailed):
            associate(Address("127.0.0.1", listener.port, "SINSOK", "PACS"), [build_context(Verification)], 5, stranger)
        known = SSLContext(PROTOCOL_TLS_CLIENT)
        known.load_verify_locations(ours.ca)
        known.load_cert_chain(*authority.signs("reporter"))
        odd = OddPacs()
        odd.report_anew(listener.port, odd_pacs.report_of(a_request(tmp_path, "1.2.78")), ssl=known)
        silent.close()
    finally:
        listener.stop()
    assert odd.answers == [0x0000]
    assert [one.transaction_uid for one in heard] == ["1.2.78"]
