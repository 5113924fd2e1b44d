"""Health and metrics of a process over HTTP: ``/healthz``, ``/readyz`` and ``/metrics``.

It runs in a thread of its own, so that it answers, red, also when the process's main loop is stuck.
"""

import http.server
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from gateways.metrics import CLOCK_SECONDS

Complaints = Callable[[], list[str]]
"""What is wrong now, one line each; nothing is wrong when it is empty. Called from the server's thread."""

_log = structlog.get_logger()


class HealthServer:
    """Answers probes and Prometheus.

    ``/healthz`` is for the supervisor: 503 when the process should be restarted (``alive`` complains). ``/readyz`` is
    for who wants to use it: 503 when it cannot do its work now (``alive`` or ``ready`` complain). Both name the
    complaints, one a line.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        alive: Complaints,
        ready: Complaints,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """Bind the address (port 0 takes a free one). Raises :class:`OSError` when it is taken."""
        probes: dict[str, tuple[Complaints, ...]] = {"/healthz": (alive,), "/readyz": (alive, ready)}

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    CLOCK_SECONDS.set(time.time())
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif path in probes:
                    complaints = _complaints(probes[path])
                    text = "\n".join(complaints) or "ok"
                    self._answer(503 if complaints else 200, f"{text}\n".encode(), "text/plain; charset=utf-8")
                else:
                    self._answer(404, b"/healthz, /readyz or /metrics\n", "text/plain; charset=utf-8")

            def _answer(self, status: int, body: bytes, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Probes come every second: they are not worth a line."""

        self._server = _Server((host, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def address(self) -> str:
        """``host:port`` that it is bound to."""
        host, port = self._server.server_address[:2]
        return f"{host if isinstance(host, str) else host.decode()}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and free the address."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A prober that hangs up is no error of this process."""
        _log.debug("health probe broke off", exc_info=True)


def _complaints(checks: tuple[Complaints, ...]) -> list[str]:
    found = []
    for check in checks:
        try:
            found += check()
        except Exception as error:  # noqa: BLE001 - a check that cannot tell is a reason to be red, not to say nothing
            found.append(f"the check failed: {type(error).__name__}: {error}")
    return list(dict.fromkeys(found))  # who is dead is also not ready: said once
