"""HL7 messages as HAPI sees them: an implementation of HL7 v2 that is not ours, with its validation on.

``tests/hapi`` is the receiver. The receiving facility of a message says what it answers.
"""

import contextlib
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateways.tls import TlsSettings
from gateways.worklist.hl7_worklist import Hl7Worklist
from gateways.worklist.port import Updated
from schemas.events import Priority
from schemas.failures import Busy, Refused, Unavailable
from tests.integration.hapi import Hapi
from tests.unit.gateways.worklist.examples import (
    DESTINATION,
    LOCAL_FINDING,
    NAME,
    OUTSIDE_KS_X_1001,
    finding,
    head,
    settings,
    triaged,
    update,
)
from tests.unit.gateways.worklist.receiver import ScriptedReceiver, answer

pytestmark = pytest.mark.integration

STAT = triaged(finding(), LOCAL_FINDING)


@pytest.fixture(scope="module")
def hapi():
    with Hapi() as receiver:
        yield receiver


def worklist(hapi: Hapi, facility: str = "SUWON", **changes: Any) -> contextlib.closing[Hl7Worklist]:
    site = settings(port=hapi.port, receiving_facility=facility, **changes)
    return contextlib.closing(Hl7Worklist(site, DESTINATION))


@pytest.mark.parametrize("charset", ["utf-8", "euc-kr"])
def test_a_result_as_hapi_sees_it(hapi, charset):
    with worklist(hapi, messages=("oru",), charset=charset, language="ko") as one:
        updated = one.update(update(STAT))
    seen = hapi.message()
    assert (seen.structure, seen.nonstandard) == ("ORU_R01", [])
    assert updated == Updated((seen.get("MSH", 10),), Priority.STAT)
    assert seen.get("MSH", 18) == {"utf-8": "UNICODE UTF-8", "euc-kr": "KS X 1001"}[charset]
    assert seen.all("PID", 5)[0] == [
        ["KANA", "PHANTOM", "", "", "", "", "L", "A"],
        ["假名", "人體模型", "", "", "", "", "L", "I"],
        ["가나", "팬텀", "", "", "", "", "L", "P"],
    ]
    assert seen.all("PID", 3) == [[["PHANTOM-0001", "", "", "SUWON", "PI"]]]
    assert (seen.get("PID", 7), seen.get("PID", 8)) == ("19000101", "O")
    assert (seen.get("OBR", 3), seen.get("OBR", 18), seen.get("OBR", 25)) == ("ACC-0001", "ACC-0001", "F")
    assert seen.get("OBR", 4, 2) == "Brain CT^w/o contrast & 3D | 뇌"
    assert (seen.get("OBR", 27, 6), seen.get("TQ1", 9)) == ("S", "S")
    assert seen.groups("TQ1") == {"/PATIENT_RESULT/ORDER_OBSERVATION/TIMING_QTY"}
    assert seen.groups("OBX") == {"/PATIENT_RESULT/ORDER_OBSERVATION/OBSERVATION"}
    assert seen.all("OBX", 5)[0] == [["2.25.100"]]
    assert [["1386000", "Intracranial hemorrhage", "SCT"]] in seen.all("OBX", 5)
    assert [["EAH", "Extra-axial haemorrhage", "99SINSOK"]] in seen.all("OBX", 5)
    assert [["12.34"]] in seen.all("OBX", 5)
    ((words,),) = seen.all("OBX", 5)[-1]
    assert words.split("\\.br\\")[-1] == "AI 분석 결과입니다. 의사의 판독 없이 진단에 사용할 수 없습니다."


@pytest.mark.parametrize("charset", ["utf-8", "euc-kr"])
def test_an_order_change_as_hapi_sees_it(hapi, charset):
    with worklist(hapi, messages=("orm",), charset=charset) as one:
        one.update(update(STAT))
    seen = hapi.message()
    assert (seen.structure, seen.nonstandard) == ("ORM_O01", ["ZDS"])
    assert (seen.get("ORC", 1), seen.get("ORC", 3)) == ("XO", "ACC-0001")
    assert (seen.get("ORC", 7, 6), seen.get("OBR", 27, 6)) == ("S", "S")
    assert (seen.groups("ORC"), seen.groups("OBR")) == ({"/ORDER"}, {"/ORDER/ORDER_DETAIL"})
    assert seen.get("ZDS", 1) == "2.25.100"
    assert seen.all("PID", 5)[0][2][:2] == ["가나", "팬텀"]


@pytest.mark.parametrize("charset", ["utf-8", "euc-kr"])
def test_an_imaging_order_change_as_hapi_sees_it(hapi, charset):
    with worklist(hapi, messages=("omi",), charset=charset) as one:
        one.update(update(STAT))
    seen = hapi.message()
    assert (seen.structure, seen.nonstandard) == ("OMI_O23", [])
    assert seen.all("TQ1", 9) == [[["S", "Stat", "HL70485"]]]
    assert (seen.groups("TQ1"), seen.groups("IPC")) == ({"/ORDER/TIMING"}, {"/ORDER"})
    assert [seen.get("IPC", number) for number in (1, 2, 3, 4, 5)] == [
        "ACC-0001",
        "RP-0001",
        "2.25.100",
        "SPS-0001",
        "CT",
    ]
    assert seen.all("PID", 5)[0][2][:2] == ["가나", "팬텀"]


def test_a_withdrawal_as_hapi_sees_it(hapi):
    with worklist(hapi) as one:
        updated = one.update(update(triaged(revision=2), Priority.STAT, before=STAT))
    order, result = hapi.message(), hapi.message()
    assert updated == Updated((order.get("MSH", 10), result.get("MSH", 10)), Priority.ROUTINE)
    assert order.get("ORC", 7, 6) == "R"
    assert result.get("OBR", 25) == "C"
    assert [one[0][0] for one in result.all("OBX", 11)] == ["O"] + ["D"] * 7 + ["C"]


def test_what_a_character_set_lacks_and_what_separates_fields_arrives_as_text(hapi):
    name = NAME.replace("가나", f"가{OUTSIDE_KS_X_1001}|")
    awkward = head(SpecificCharacterSet="ISO_IR 192", PatientName=name, AccessionNumber="A|B~C&D")
    with worklist(hapi, messages=("oru",), charset="euc-kr") as one:
        one.update(update(STAT, head=awkward))
    seen = hapi.message()
    assert seen.all("PID", 5)[0][2][0] == "가□|"
    assert seen.get("OBR", 18) == "A|B~C&D"


@pytest.mark.parametrize(
    ("code", "ae_is", "kind"), [("AR", "retry", Refused), ("AE", "refused", Refused), ("AE", "retry", Busy)]
)
def test_what_hapi_says_no_to(hapi, code, ae_is, kind):
    with worklist(hapi, code, messages=("oru",), ae_is=ae_is) as one:
        failure = one.update(update(STAT)).failure
        assert isinstance(failure, kind)
        assert str(failure).endswith(f"{code} (204 unknown key identifier at PID-3)")
    hapi.message()
    with worklist(hapi, code, messages=("oru",), repeat_error_text=True) as one:
        assert "KANA" in str(one.update(update(STAT)).failure)
    hapi.message()


def test_a_commit_accept_of_hapi_is_enough_in_commit_mode(hapi):
    with worklist(hapi, "CA", messages=("oru",), acknowledgment="commit") as one:
        assert one.update(update(STAT)).accepted == (hapi.message().get("MSH", 10),)


def test_silence_is_no_acceptance(hapi):
    with worklist(hapi, "SILENT", messages=("oru",), timeout_s=0.5) as one, pytest.raises(Unavailable):
        one.update(update(STAT))
    hapi.message()


def test_a_message_outlives_a_receiver_that_is_killed_and_is_the_same_afterwards(hapi):
    with worklist(hapi) as one:
        one.update(update(STAT))
        first = [hapi.message(), hapi.message()]
        hapi.kill()
        with pytest.raises(Unavailable):
            one.update(update(STAT))
        assert hapi.is_idle
        hapi.start()
        one.update(update(STAT))
    again = [hapi.message(), hapi.message()]
    assert [message.segments for message in again] == [message.segments for message in first]


def test_tls_is_spoken_with_a_receiver_whose_certificate_is_known_and_with_no_other(tmp_path):
    theirs, others = certificate(tmp_path, "theirs"), certificate(tmp_path, "others")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*theirs)
    with ScriptedReceiver([], [answer(), answer()], tls=context) as receiver:
        for ca, expected in ((others[0], False), (theirs[0], True)):
            site = settings(port=receiver.port, tls=TlsSettings(ca=ca, server_name="ris.test"))
            with contextlib.closing(Hl7Worklist(site, DESTINATION)) as one:
                if expected:
                    one.reach()
                    assert one.update(update(STAT)).accepted
                else:
                    with pytest.raises(Unavailable, match="no TLS"):
                        one.reach()


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    written, key = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ("-subj", "/CN=ris.test", "-addext", "subjectAltName=DNS:ris.test", "-days", "2")
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject)
    subprocess.run((*new, "-out", str(written), "-keyout", str(key)), check=True, capture_output=True)
    return written, key
