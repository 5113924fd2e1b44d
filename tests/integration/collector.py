"""A collector of spans: takes OTLP over HTTP as the protocol has it, and can be told to refuse."""

import gzip
import http.server
import threading
from types import TracebackType
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """``spans`` are those it took, with the name of their service; ``answers`` what it says instead, one a request."""

    def __init__(self, port: int) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.answers: list[int] = []
        self.refused = 0
        self.headers: dict[str, str] = {}
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = collector._take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                answer = ExportTraceServiceResponse().SerializeToString() if status == 200 else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        if path != "/v1/traces" or headers["content-type"] != "application/x-protobuf":
            return 404
        if self.answers:
            self.refused += 1
            return self.answers.pop(0)
        self.headers = headers
        request = ExportTraceServiceRequest()
        request.ParseFromString(gzip.decompress(body))
        for of_resource in request.resource_spans:
            names = {one.key: one.value.string_value for one in of_resource.resource.attributes}
            for of_scope in of_resource.scope_spans:
                self.spans += [(names["service.name"], span) for span in of_scope.spans]
        return 200

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
