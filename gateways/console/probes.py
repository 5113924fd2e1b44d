"""How the other parts are: their ``/readyz`` and lag, asked every few seconds and remembered."""

import http.client
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from threading import Event, Thread
from typing import Final, NamedTuple

import structlog

log = structlog.get_logger()
_EVERY_S: Final = 10.0
_ANSWER_S: Final = 3.0
_LAG: Final = re.compile(r"^sinsok_lag\{[^}]*\} (\S+)$", re.MULTILINE)


class PartHealth(NamedTuple):
    """What a part said of itself, and when it was asked."""

    name: str
    state: str
    """``ready``, ``not ready`` or ``away``."""
    complaints: tuple[str, ...]
    lag: int | None
    at: datetime


class Probes:
    """``parts`` are the health addresses (``host:port``) by name."""

    def __init__(self, parts: Mapping[str, str], now: Callable[[], datetime]) -> None:
        self._parts = dict(parts)
        self._now = now
        self._stop = Event()
        self._thread = Thread(target=self._run, name="probes", daemon=True)
        self._newest: dict[str, PartHealth] = {}

    @property
    def newest(self) -> list[PartHealth]:
        """As they were when last asked, in the order of the flow."""
        newest = self._newest
        return [newest[name] for name in self._parts if name in newest]

    @property
    def alive(self) -> bool:
        """Whether they are being asked."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def ask(self) -> None:
        """Ask each part once."""
        for name, address in self._parts.items():
            at = self._now()
            try:
                said = _ask(name, address, at)
            except Exception as error:  # noqa: BLE001 - whatever one answers, the others are asked
                log.warning("a part cannot be understood", part=name, error=f"{type(error).__name__}: {error}")
                said = PartHealth(name, "away", (), None, at)
            self._newest = {**self._newest, name: said}

    def _run(self) -> None:
        while not self._stop.is_set():
            self.ask()
            self._stop.wait(_EVERY_S)


def _ask(name: str, address: str, at: datetime) -> PartHealth:
    try:
        status, said = _get(address, "/readyz")
        _, metrics = _get(address, "/metrics")
    except (OSError, http.client.HTTPException):
        return PartHealth(name, "away", (), None, at)
    lags = [int(float(value)) for value in _LAG.findall(metrics)]
    ready = status == http.client.OK
    complaints = () if ready else tuple(said.splitlines())
    return PartHealth(name, "ready" if ready else "not ready", complaints, sum(lags) if lags else None, at)


def _get(address: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=_ANSWER_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()
