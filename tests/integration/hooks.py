"""A server for webhooks that fails, hangs and answers late as it is told."""

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from tests.integration.certificates import Certificate


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        return json.loads(self.body)


class Hooks:
    """``status`` and ``said`` are its answer; 0: none, until it is closed. ``late_s`` is how long it takes for that."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        self.status = 200
        self.said = b""
        self.late_s = 0.0
        self.trickle_s = 0.0
        """Pause behind each byte of the answer."""
        self.requests: list[Request] = []
        self._closed = threading.Event()
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                hooks.requests.append(Request(self.path, dict(self.headers), body))
                hooks._closed.wait(hooks.late_s)
                if hooks.status == 0:
                    hooks._closed.wait()
                    return
                head = f"HTTP/1.1 {hooks.status} so\r\nContent-Length: {len(hooks.said)}\r\n\r\n"
                for part in (*(bytes([byte]) for byte in head.encode()), hooks.said):
                    try:
                        self.wfile.write(part)
                    except OSError:
                        return
                    time.sleep(hooks.trickle_s)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
