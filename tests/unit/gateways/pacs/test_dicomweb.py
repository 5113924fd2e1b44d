"""DICOMweb at servers that say no in every way that HTTP has."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server
from threading import Thread
from typing import Any

import pytest

from gateways.pacs.dicomweb import Dicomweb
from gateways.pacs.peer import Instance
from schemas.failures import PortFailure, Refused, Unavailable, Unreadable

SC, SR = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.34"
Reply = tuple[int, dict[str, str], bytes]


class Web:
    """What a server answers, by method; the last answer stays. ``asked`` holds the requests."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = ""
        self.phrase: str | None = None
        """The reason phrase of every answer; the usual one where there is none."""

    def on(self, method: str, status: int, answer: Any = b"", **headers: str) -> "Web":
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.replies.setdefault(method, []).append((status, headers, content))
        return self

    def next(self, method: str) -> Reply:
        replies = self.replies[method]
        return replies.pop(0) if len(replies) > 1 else replies[0]


@contextmanager
def running(web: Web, **settings: Any) -> Iterator[Dicomweb]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            web.asked.append((self.command, self.path, dict(self.headers), body))
            status, headers, content = web.next(self.command)
            self.send_response(status, web.phrase)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    pacs = Dicomweb(web.url + "/", timeout_s=5, credentials=("sinsok", "secret"), **settings)
    try:
        yield pacs
    finally:
        pacs.close()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def instances(tmp_path: Path) -> list[Instance]:
    (tmp_path / "a").write_bytes(b"first object")
    (tmp_path / "b").write_bytes(b"second object")
    return [Instance(SC, "1.2.1", "1.2", tmp_path / "a"), Instance(SR, "1.2.2", "1.3", tmp_path / "b")]


def referenced(uid: str, tag: str = "", reason: int | None = None) -> dict[str, Any]:
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    return item | ({tag: {"vr": "US", "Value": [reason]}} if reason is not None else {})


def module(stored: list[dict[str, Any]], failed: list[dict[str, Any]]) -> dict[str, Any]:
    return {"00081199": {"vr": "SQ", "Value": stored}, "00081198": {"vr": "SQ", "Value": failed}}


def test_objects_are_posted_as_they_lie_on_disk(instances: list[Instance]) -> None:
    web = Web().on("POST", 200, module([referenced("1.2.1"), referenced("1.2.2")], []))
    with running(web) as pacs:
        answers = pacs.store("ID_a/b c", instances)
    assert all(answer.accepted for answer in answers)
    ((_, path, headers, body),) = web.asked
    assert path == "/dicom-web/studies/ID_a%2Fb%20c"
    assert headers["Authorization"].startswith("Basic ")
    boundary = headers["Content-Type"].partition("boundary=")[2]
    assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"')
    parts = body.split(f"--{boundary}".encode())
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    assert [part.strip().partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [b"first object", b"second object"]


@pytest.mark.parametrize("status", [202, 409])
def test_a_partial_success_is_told_for_each_object(status: int, instances: list[Instance]) -> None:
    answer = module([referenced("1.2.1", "00081196", 0xB000)], [referenced("1.2.2", "00081197", 0xA900)])
    with running(Web().on("POST", status, answer)) as pacs:
        stored, failed = pacs.store("1.2.3", instances)
    assert (stored.accepted, stored.comment) == (True, "warning 0xB000")
    assert (failed.accepted, failed.passing, failed.status) == (False, False, "0xA900")
    assert failed.comment == "data set does not match SOP class"


@pytest.mark.parametrize(
    ("reason", "passing", "status"),
    [(0xA700, True, "0xA700"), (0xC122, False, "0xC122"), (None, False, "HTTP 409")],
)
def test_an_object_may_fail_for_a_reason_of_the_moment(
    reason: int | None, passing: bool, status: str, instances: list[Instance]
) -> None:
    answer = module([], [referenced("1.2.1", "00081197", reason)])
    with running(Web().on("POST", 409, answer)) as pacs:
        failed, unmentioned = pacs.store("1.2.3", instances)
    assert (failed.accepted, failed.passing, failed.status) == (False, passing, status)
    assert (unmentioned.accepted, unmentioned.status) == (False, "HTTP 409")


def test_an_object_that_it_has_already_was_sent_before_a_crash(instances: list[Instance]) -> None:
    answer = module([referenced("1.2.1")], [referenced("1.2.2", "00081197", 0x0111)])
    with running(Web().on("POST", 409, answer)) as pacs:
        stored, there = pacs.store("1.2.3", instances)
    assert (stored.accepted, there.accepted, there.status) == (True, True, "0x0111")


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"00081199": 7, "00081198": {"Value": [1, {}]}}'])
def test_success_without_a_readable_answer_is_success_and_nothing_else_is(
    content: bytes, instances: list[Instance]
) -> None:
    for status, accepted in ((200, True), (202, False), (400, False), (409, False), (415, False)):
        with running(Web().on("POST", status, content)) as pacs:
            answers = pacs.store("1.2.3", instances)
        assert [answer.accepted for answer in answers] == [accepted, accepted]
        assert [answer.status for answer in answers] == [f"HTTP {status}"] * 2


def test_what_is_too_large_together_is_sent_one_by_one(instances: list[Instance]) -> None:
    web = Web().on("POST", 413).on("POST", 200).on("POST", 413)
    with running(web) as pacs:
        first, second = pacs.store("1.2.3", instances)
    assert (first.accepted, second.accepted, second.status) == (True, False, "HTTP 413")
    assert [b"second" in body for *_, body in web.asked] == [True, False, True]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503, 507])
def test_a_server_that_does_not_let_us_in_or_fails_is_tried_again_later(status: int, instances: list[Instance]) -> None:
    with running(Web().on("POST", status)) as pacs, pytest.raises(Unavailable, match=rf"HTTP {status} .*: http://127"):
        pacs.store("1.2.3", instances)


@pytest.mark.parametrize("status", [405, 501, 301, 302])
def test_a_server_without_the_service_refuses(status: int, instances: list[Instance]) -> None:
    web = Web().on("POST", status, Location="/login").on("GET", 200)
    with running(web) as pacs, pytest.raises(Refused, match=f"HTTP {status}"):
        pacs.store("1.2.3", instances)
    assert len(web.asked) == 1


def test_an_object_that_is_gone_is_unreadable(instances: list[Instance]) -> None:
    instances[1].path.unlink()
    with running(Web()) as pacs, pytest.raises(Unreadable, match="gone from the disk"):
        pacs.store("1.2.3", instances)


def study(uid: str, **patient: Any) -> dict[str, Any]:
    return {"0020000D": {"Value": [uid]}, **{f"0010{tag[1:]}": {"Value": [value]} for tag, value in patient.items()}}


def test_the_patient_is_read_from_the_json_model() -> None:
    name = {"Alphabetic": "Hong^Gildong", "Phonetic": "홍^길동"}
    answer = [study("1.2.4", t0020="other"), study("ID_1", t0020="P 1", t0010=name, t0030="19700101", t0040="M")]
    web = Web().on("GET", 200, answer)
    with running(web) as pacs:
        patient = pacs.patient_of("ID_1")
        assert pacs.patient_of("1.2.5") is None
    assert patient is not None
    assert (patient.patient_id, patient.issuer, patient.birth_date, patient.sex) == ("P 1", None, "19700101", "M")
    assert patient.name == "Hong^Gildong==홍^길동"
    assert "StudyInstanceUID=ID_1" in web.asked[0][1]
    assert "includefield=00100021" in web.asked[0][1]


def test_two_patients_for_one_study_are_refused() -> None:
    answer = [study("1.2.3", t0020="1"), study("1.2.3", t0020="2")]
    with running(Web().on("GET", 200, answer)) as pacs, pytest.raises(Refused, match="more than one patient"):
        pacs.patient_of("1.2.3")


@pytest.mark.parametrize("answer", [[], b"", [{}, 7, {"0020000D": {}}, {"0020000D": {"Value": [None]}}]])
def test_no_study_is_no_patient(answer: Any) -> None:
    with running(Web().on("GET", 200, answer)) as pacs:
        assert pacs.patient_of("1.2.3") is None


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (200, b"<html>sign in</html>", Refused),
        (400, b"", Refused),
        (404, b"", Refused),
        (501, b"", Refused),
        (401, b"", Unavailable),
        (403, b"", Unavailable),
        (503, b"", Unavailable),
    ],
)
def test_a_search_that_fails_is_not_taken_for_one_that_finds_nothing(
    status: int, content: bytes, kind: type[Exception], instances: list[Instance]
) -> None:
    with running(Web().on("GET", status, content)) as pacs:
        with pytest.raises(kind, match="http://127"):
            pacs.patient_of("1.2.3")
        with pytest.raises(kind, match="http://127"):
            pacs.holds("1.2.3", instances)


@pytest.mark.parametrize("repeat", [False, True])
def test_a_name_that_a_server_quotes_is_repeated_only_where_the_site_wants_it(
    repeat: bool, instances: list[Instance], caplog: pytest.LogCaptureFixture
) -> None:
    web = Web().on("POST", 409, b"PHANTOM^KIM").on("POST", 404).on("POST", 405)
    web.on("GET", 400).on("GET", 503).on("GET", 200, [], Warning="299 PACS: more of PHANTOM^KIM")
    web.phrase = "no place for PHANTOM^KIM"
    said = []
    with running(web, repeat_error_text=repeat) as pacs:
        answers = pacs.store("1.2.3", instances)
        for ask in (lambda uid: pacs.store(uid, instances),) * 2 + (pacs.patient_of,) * 2:
            with pytest.raises(PortFailure, match=r"HTTP [45]0\d ") as raised:
                ask("1.2.3")
            said.append(str(raised.value))
        pacs.patient_of("1.2.3")
    assert "PHANTOM" not in str(answers)
    assert ["PHANTOM^KIM" in words for words in said] == [repeat] * 4
    assert "PHANTOM" not in caplog.text


def test_a_server_is_reached_by_a_search_that_finds_nothing() -> None:
    web = Web().on("GET", 204).on("GET", 401)
    with running(web) as pacs:
        pacs.reach()
        with pytest.raises(Unavailable, match="HTTP 401 Unauthorized"):
            pacs.reach()
    assert {path.split("?")[0] for _, path, *_ in web.asked} == {"/dicom-web/studies"}


def test_404_is_no_such_study_where_searches_work_otherwise(instances: list[Instance]) -> None:
    web = Web().on("GET", 404).on("GET", 200, []).on("GET", 200, [{"00080018": {"Value": ["1.2.2"]}}])
    with running(web) as pacs:
        assert pacs.holds("1.2.3", instances) == {"1.2.2"}


def test_a_server_that_hangs_up_or_answers_no_http_is_away(instances: list[Instance]) -> None:
    with create_server(("127.0.0.1", 0)) as server:
        pacs = Dicomweb(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=0.3)
        with pytest.raises(Unavailable, match=r"is silent: no answer within 0\.3 s"):
            pacs.store("1.2.3", instances)
    for ask in (pacs.patient_of, lambda uid: pacs.holds(uid, instances), lambda uid: pacs.store(uid, instances)):
        with pytest.raises(Unavailable, match="nothing answers at http://127"):
            ask("1.2.3")
    pacs.close()
