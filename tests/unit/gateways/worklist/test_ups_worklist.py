"""Workitems on a server with the rules of UPS-RS."""

import json
import socket
import warnings

import pytest
from pydicom.dataset import Dataset

from gateways.worklist.port import Updated
from gateways.worklist.settings import UpsSettings
from gateways.worklist.ups_worklist import UpsWorklist
from schemas.events import Priority
from schemas.failures import Busy, PortFailure, Refused, Unavailable
from tests.unit.gateways.worklist.examples import LOCAL_FINDING, STUDY, finding, head, triaged, update
from tests.unit.gateways.worklist.ups_server import LABEL, PRIORITY, STATE, UpsServer, value

STAT = update(triaged(finding(), LOCAL_FINDING))
URGENT = update(triaged(finding(), priority=Priority.URGENT))
GONE = update(triaged(revision=2), Priority.STAT)


@pytest.fixture
def server():
    with UpsServer() as server:
        yield server


def worklist(server, **changes):
    return UpsWorklist(UpsSettings(**{"url": server.url, **changes}), "suwon/ups")


def told(one, of):
    """The workitem that took an update; None where it changed nothing."""
    updated = one.update(of)
    if updated.failure:
        raise updated.failure
    return next(iter(updated.accepted), None)


def test_a_finding_becomes_a_workitem_that_asks_for_the_reading_of_the_study(server):
    uid = told(worklist(server), STAT)
    workitem = Dataset.from_json(server.workitems[uid])
    assert workitem.SOPInstanceUID == uid
    assert workitem.ScheduledProcedureStepPriority == "HIGH"
    assert workitem.ProcedureStepState == "SCHEDULED"
    assert workitem.ScheduledWorkitemCodeSequence[0].CodeMeaning == "Interpretation"
    assert workitem.ReferencedRequestSequence[0].StudyInstanceUID == STUDY
    assert workitem.ReferencedRequestSequence[0].AccessionNumber == "ACC-0001"
    assert workitem.InputInformationSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.102"
    assert (workitem.PatientID, workitem.PatientName.phonetic) == ("PHANTOM-0001", "가나^팬텀")
    assert "Not for diagnosis without a physician." in workitem.CommentsOnTheScheduledProcedureStep


def test_the_same_update_again_changes_nothing(server):
    first = told(worklist(server), STAT)
    before = dict(server.workitems[first])
    assert told(worklist(server), STAT) == first
    assert server.workitems == {first: before}


def test_a_later_result_changes_the_workitem(server):
    uid = told(worklist(server), URGENT)
    assert value(server.workitems[uid], PRIORITY) == "MEDIUM"
    assert told(worklist(server), update(triaged(finding(), revision=2), Priority.URGENT)) == uid
    assert value(server.workitems[uid], PRIORITY) == "HIGH"


def test_a_finding_that_was_taken_back_cancels_it(server):
    uid = told(worklist(server), STAT)
    assert told(worklist(server), GONE) == uid
    assert value(server.workitems[uid], STATE) == "CANCELED"
    assert worklist(server).update(GONE) == Updated(priority=Priority.ROUTINE)
    assert len(server.workitems) == 1


def test_or_lowers_it_where_the_site_says_so(server):
    lowers = worklist(server, taken_back="lower")
    uid = told(lowers, STAT)
    told(lowers, GONE)
    assert (value(server.workitems[uid], STATE), value(server.workitems[uid], PRIORITY)) == ("SCHEDULED", "LOW")


def test_or_leaves_its_priority_where_the_site_never_lowers(server):
    never = worklist(server, lower=False)
    uid = told(never, STAT)
    assert never.update(GONE) == Updated((uid,), Priority.STAT)
    assert (value(server.workitems[uid], STATE), value(server.workitems[uid], PRIORITY)) == ("SCHEDULED", "HIGH")
    again = triaged(finding(), revision=3, priority=Priority.URGENT)
    assert never.update(update(again, Priority.STAT, before=GONE.result)) == Updated((uid,), Priority.STAT)
    assert value(server.workitems[uid], PRIORITY) == "HIGH"


def test_a_workitem_somebody_reads_is_left_alone(server):
    uid = told(worklist(server), URGENT)
    server.begin(uid)
    before = dict(server.workitems[uid])
    assert worklist(server).update(update(triaged(finding(), revision=2), Priority.URGENT)) == Updated()
    assert told(worklist(server), URGENT) == uid  # as after a crash: it was told before it was begun
    assert worklist(server).update(GONE) == Updated((uid,), Priority.ROUTINE)
    assert server.workitems == {uid: before}
    assert server.requests[-1][:2] == ("POST", f"/dicom-web/workitems/{uid}/cancelrequest")


@pytest.mark.parametrize("ended", ["COMPLETED", "CANCELED", "gone"])
def test_a_study_that_became_more_urgent_after_its_reading_gets_another_workitem(server, ended):
    first = told(worklist(server), URGENT)
    if ended == "gone":
        server.gone.add(first)
    else:
        server.end(first, ended)
    second = told(worklist(server), update(triaged(finding(), revision=2), Priority.URGENT))
    assert second != first
    assert value(server.workitems[second], PRIORITY) == "HIGH"


def test_a_study_that_was_read_is_not_put_up_again_for_the_same_result_or_urgency(server):
    uid = told(worklist(server), STAT)
    server.end(uid)
    assert told(worklist(server), STAT) == uid
    assert worklist(server).update(update(triaged(finding(), revision=2), Priority.STAT)) == Updated()
    assert worklist(server).update(GONE) == Updated(priority=Priority.ROUTINE)
    assert len(server.workitems) == 1


def test_a_finding_that_comes_back_after_the_reading_gets_another_workitem(server):
    one = worklist(server, lower=False)
    first = told(one, STAT)
    told(one, GONE)
    server.end(first)
    second = told(one, update(triaged(finding(), revision=3), Priority.STAT, before=GONE.result))
    assert second not in (first, None)


def test_a_cancellation_that_is_refused_changed_nothing(server):
    uid = told(worklist(server), STAT)
    content = json.dumps([server.workitems[uid]]).encode()
    server.says += [(200, content), (409, b"")]
    assert worklist(server).update(GONE) == Updated(priority=Priority.ROUTINE)


def test_nothing_is_created_to_be_cancelled(server):
    told(worklist(server), GONE)
    assert server.workitems == {}


def test_values_that_break_the_standard_warn_nobody_and_arrive(server):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        awkward = head(PatientBirthDate="not a date", PatientID="P" * 80, StudyDescription="S" * 80)
    uid = told(worklist(server), update(STAT.result, head=awkward))
    assert value(server.workitems[uid], LABEL) == "S" * 64


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_tried_again(server, status):
    server.says.append((status, b"KANA"))
    failed(server, Unavailable, f"HTTP {status}")


@pytest.mark.parametrize("status", [400, 401, 403, 302])
def test_a_server_that_says_no_is_not(server, status):
    server.says.append((status, b"KANA"))
    failed(server, Refused, f"HTTP {status}")


def test_a_workitem_that_changes_while_we_look_is_looked_at_again(server):
    server.says += [(404, b""), (409, b"")]
    failed(server, Busy, "changed")


def test_reaching_it_asks_and_changes_nothing(server):
    worklist(server).reach()
    assert [method for method, *_ in server.requests] == ["GET"]
    assert server.workitems == {}
    server.says.append((401, b"KANA"))
    with pytest.raises(Refused, match="HTTP 401"):
        worklist(server).reach()


@pytest.mark.parametrize("content", [b"", b"KANA", b"[]", b'[{"KANA":1}]', b"[{}]", b"7"])
def test_an_answer_that_is_no_workitem_is_tried_again(server, content):
    server.says.append((200, content))
    failed(server, Unavailable, "workitem")


def test_nobody_there_and_no_http_are_tried_again(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match="cannot be reached"):
        told(worklist(server, url=f"http://127.0.0.1:{port}"), STAT)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unavailable, match="did not answer"):
            told(worklist(server, url=address, timeout_s=0.1), STAT)


def test_a_token_goes_with_every_request_and_shows_nowhere(server):
    bearer = worklist(server, token="SECRET")
    told(bearer, STAT)
    assert {headers["Authorization"] for _, _, headers in server.requests} == {"Bearer SECRET"}
    assert "SECRET" not in repr(bearer._settings)


def test_it_wants_what_raises_and_what_takes_back(server):
    one = worklist(server)
    assert one.wants(STAT.result, None)
    assert one.wants(GONE.result, Priority.STAT)
    assert not one.wants(GONE.result, None)
    one.close()


def failed(server, kind, text):
    with pytest.raises(PortFailure, match=text) as raised:
        told(worklist(server), STAT)
    assert type(raised.value) is kind
    assert "KANA" not in str(raised.value)
