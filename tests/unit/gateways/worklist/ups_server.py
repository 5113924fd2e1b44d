"""A worklist manager with the rules of UPS-RS (PS3.18, chapter 11; PS3.4, CC.1.1): no product, but a real HTTP server.

It keeps the states of workitems, asks for the Transaction UID where the standard does, and answers with its statuses.
"""

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

PRIORITY, STATE, TRANSACTION = "00741200", "00741000", "00081195"
UIDS, NAME, LABEL, START, READINESS = "00080018", "00100010", "00741204", "00404005", "00404041"
_MANDATORY = {PRIORITY, STATE, TRANSACTION, LABEL, START, READINESS, "0040A370", "00404021", "00080016"}
_ENDED = {"COMPLETED", "CANCELED"}


def value(workitem: dict[str, Any], tag: str) -> Any:
    return (workitem.get(tag, {}).get("Value") or [None])[0]


class UpsServer:
    """``http://127.0.0.1:PORT/dicom-web``. ``workitems`` are what it holds, ``requests`` what it was asked."""

    def __init__(self) -> None:
        self.workitems: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.says: list[tuple[int, bytes]] = []
        """Answers to give before the rules are asked again."""
        self.gone: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, dict(self.headers)))
                status, content = outer.says.pop(0) if outer.says else outer._handle(self.command, self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names http.server asks for

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/dicom-web"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def begin(self, uid: str) -> None:
        """A radiologist takes the workitem."""
        self.workitems[uid][STATE]["Value"] = ["IN PROGRESS"]
        self.workitems[uid][TRANSACTION] = {"vr": "UI", "Value": ["2.25.7"]}

    def end(self, uid: str, state: str = "COMPLETED") -> None:
        self.workitems[uid][STATE]["Value"] = [state]

    def _handle(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        url = urlsplit(path)
        parts = url.path.removeprefix("/dicom-web/").split("/")
        if parts[0] != "workitems" or len(parts) > 3:
            return HTTPStatus.NOT_FOUND, b""
        if len(parts) == 1 and method == "POST":
            return self._create(parse_qs(url.query)["workitem"][0], json.loads(body)[0]), b""
        uid = parts[1]
        if uid in self.gone:
            return HTTPStatus.GONE, b""
        if uid not in self.workitems:
            return HTTPStatus.NOT_FOUND, b""
        workitem = self.workitems[uid]
        if method == "GET" and len(parts) == 2:
            seen = {tag: element for tag, element in workitem.items() if tag != TRANSACTION}
            return HTTPStatus.OK, json.dumps([seen]).encode()
        if method == "POST" and len(parts) == 2:
            return self._update(workitem, json.loads(body)[0], url.query), b""
        if method == "POST" and parts[2] == "cancelrequest":
            return self._cancel(workitem), b""
        return HTTPStatus.NOT_FOUND, b""

    def _create(self, uid: str, workitem: dict[str, Any]) -> int:
        if not workitem.keys() >= _MANDATORY or value(workitem, STATE) != "SCHEDULED" or value(workitem, TRANSACTION):
            return HTTPStatus.BAD_REQUEST
        if uid in self.workitems:
            return HTTPStatus.CONFLICT
        self.workitems[uid] = workitem
        return HTTPStatus.CREATED

    def _update(self, workitem: dict[str, Any], changes: dict[str, Any], query: str) -> int:
        if changes.keys() & {STATE, TRANSACTION, UIDS}:
            return HTTPStatus.BAD_REQUEST
        if value(workitem, STATE) in _ENDED or (query or None) != value(workitem, TRANSACTION):
            return HTTPStatus.CONFLICT
        workitem.update(changes)
        return HTTPStatus.OK

    def _cancel(self, workitem: dict[str, Any]) -> int:
        if value(workitem, STATE) in _ENDED:
            return HTTPStatus.CONFLICT
        # Who performs a workitem in progress is told, and decides.
        if value(workitem, STATE) == "SCHEDULED":
            self.end(value(workitem, UIDS), "CANCELED")
        return HTTPStatus.ACCEPTED
