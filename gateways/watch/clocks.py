"""The clocks of other processes, as their metrics tell them, against this one's."""

import http.client
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final, NamedTuple

from gateways.watch.condition import Condition, Key
from schemas.alarms import AlarmKind
from schemas.audit import INSTALLATION

_ANSWER_S: Final = 3.0
_AT_ONCE: Final = 8
_CLOCK: Final = re.compile(r"^sinsok_clock_seconds (\S+)$", re.MULTILINE)


class Clock(NamedTuple):
    """A clock that was read once, from outside. It was read at some moment between the question and its answer."""

    process: str
    ahead_s: float
    """Of ours, taken at the middle of the round trip; negative where it is behind."""
    uncertain_s: float
    """Half of the round trip: so far may that be wrong."""


def read(process: str, told: float, asked_at: float, answered_at: float) -> Clock:
    """What an answer says; all times in seconds since the epoch, the last two of our clock."""
    return Clock(process, told - (asked_at + answered_at) / 2, (answered_at - asked_at) / 2)


def skewed(clocks: Iterable[Clock], limit_s: float, now: datetime) -> Iterator[Condition]:
    """Those that differ from ours by more than the limit for certain."""
    for clock in clocks:
        if abs(clock.ahead_s) - clock.uncertain_s > limit_s:
            which = "ahead of" if clock.ahead_s > 0 else "behind"
            detail = (
                f"the clock of {clock.process} is {abs(clock.ahead_s):.1f} s {which} the watcher's: look at the time"
                " service (chrony) of both hosts; deadlines and waits are measured by these clocks"
            )
            yield Condition(Key(INSTALLATION, AlarmKind.CLOCK_SKEW, clock.process), now, detail)


class Clocks:
    """``addresses`` are the health addresses (``host:port``) of the processes by name."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)
        self._askers = ThreadPoolExecutor(_AT_ONCE, "clocks")

    def look(self) -> dict[str, Clock | None]:
        """Every process's clock; None where it does not answer, or is of a version that tells no time."""
        asked = {name: self._askers.submit(_ask, name, address) for name, address in self._addresses.items()}
        return {name: answer.result() for name, answer in asked.items()}

    def close(self) -> None:
        """End."""
        self._askers.shutdown()


def _ask(process: str, address: str) -> Clock | None:
    connection = http.client.HTTPConnection(address, timeout=_ANSWER_S)
    try:
        connection.connect()
        asked_at = time.time()
        connection.request("GET", "/metrics")
        said = connection.getresponse().read().decode(errors="replace")
        answered_at = time.time()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    told = _CLOCK.search(said)
    return read(process, float(told[1]), asked_at, answered_at) if told else None
