"""The one thread that serves a recipient: channel after channel, until a far side has the message.

A channel that is away is asked ever more rarely, and the next one is used meanwhile. Nobody waits for another
recipient's channels.
"""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import structlog

from gateways import metrics
from gateways.alerts.channel import Channel, Kind, Message, Shut
from gateways.alerts.ledger import Failure, Ledger, Owed
from gateways.alerts.wording import Wording
from gateways.delivery.breaker import Breaker
from gateways.worker import Worker, fault
from schemas.events import AlertWithdrawn
from schemas.failures import PortFailure, Refused, Unavailable
from schemas.identity import study_key, trace_id
from schemas.paging import AlertPaged

_LOOK_EVERY_S: Final = 5.0


@dataclass
class Way:
    """A channel of a recipient and what it answered last. For any thread."""

    name: str
    """Unlike those of the recipient's other channels: smtp, webhook, webhook-2."""
    channel: Channel
    breaker: Breaker
    away: str = ""
    """Why it did not answer."""
    shut: bool = False
    """Whether it will not until a person has seen to it."""
    refused: str = ""
    """Why it refused a message."""
    _lock: Lock = field(default_factory=Lock, repr=False)

    def failed(self, error: PortFailure) -> None:
        """It did not answer, or lets no message in."""
        with self._lock:
            self.breaker.failed()
            self.away, self.shut, self.refused = str(error), isinstance(error, Shut), ""

    def answered(self, refusal: str = "") -> None:
        """It is there, and has the message or refuses it."""
        with self._lock:
            self.breaker.answered()
            self.away, self.shut, self.refused = "", False, refusal


class Courier(Worker):
    """See the module. ``ways`` are in the recipient's order of preference."""

    def __init__(
        self,
        site: str,
        recipient: str,
        ledger: Ledger,
        wording: Wording,
        ways: Sequence[Way],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(f"{site}/{recipient}", structlog.get_logger().bind(site=site, recipient=recipient))
        self.site = site
        self.recipient = recipient
        self._ledger = ledger
        self._wording = wording
        self.ways = ways
        self._clock = clock

    def complaints(self) -> list[str]:
        """What a person should know, one line each: whom nothing reaches, and which channel is set up wrong."""
        where = f"{self.site}/{self.recipient}"
        if all(not way.breaker.closed for way in self.ways):
            why = "; ".join(f"{way.name}: {way.away}" for way in self.ways)
            return [f"{where} cannot be reached: {why}"]
        shut = [f"{where}: {way.name} lets no message in: {way.away}" for way in self.ways if way.shut]
        refusals = ((way.name, way.refused) for way in self.ways if way.refused)
        return shut + [f"{where}: {name} refused the last message: {why}" for name, why in refusals]

    def measure(self) -> None:
        """Bring the gauges up to date."""
        for way in self.ways:
            metrics.CHANNEL_AWAY.labels(self._label(way)).set(not way.breaker.closed)

    def probe(self) -> bool:
        """Ask a channel that is away whether it is back, where that disturbs nobody; whether one was asked.

        For another thread than the courier's, whom a channel that hangs would keep from the others.
        """
        for way in self.ways:
            if not way.breaker.closed and not way.breaker.pause_s:
                try:
                    asked = way.channel.reach()
                except PortFailure as error:
                    way.failed(error)
                    return True
                if asked:
                    way.answered()
                    return True
        return False

    def turn(self) -> None:
        """Send what is due next; wait where there is nothing."""
        if not self.work():
            due_at = self._ledger.next_due_at(self.site, self.recipient)
            pause = _LOOK_EVERY_S if due_at is None else max(0.05, due_at - self._clock())
            self._wake.wait(min(_LOOK_EVERY_S, pause))

    def work(self) -> bool:
        """Send what is due next, or note that it does not go; whether there was anything."""
        now = self._clock()
        owed = self._ledger.due(self.site, self.recipient, now)
        if owed is None:
            return False
        try:
            self._deliver(owed, now)
        except (sqlite3.Error, OSError):  # of this machine, not of the message: it stays owed
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours over one message must not hold up those behind it
            self.log.error("fault over a message", **fault(error), **_about(owed))
            self._end(owed, f"it cannot be told, a fault of ours: {type(error).__name__}")
        return True

    def _deliver(self, owed: Owed, now: float) -> None:
        failures = owed.failures
        if now >= owed.give_up_at:
            tried = bool(owed.tried or failures)
            away = {way.name: Failure(way.away, refused=False) for way in self.ways}
            return self._give_up(owed, failures or away, tried=tried)
        message = self._message(owed)
        if message is None:
            return self._ledger.drop(owed, now)
        for way in self.ways:
            if way.name in failures and failures[way.name].refused:
                continue
            if way.breaker.pause_s:
                failures.setdefault(way.name, Failure(way.away, refused=False))
            elif not self._ledger.trying(owed) or self._send(owed, message, way, failures):
                return None
        if all(failures[way.name].refused for way in self.ways):
            return self._give_up(owed, failures)
        pause = min(way.breaker.pause_s for way in self.ways if not failures[way.name].refused)
        return self._ledger.put_off(owed, min(self._clock() + pause, owed.give_up_at), failures)

    def _send(self, owed: Owed, message: Message, way: Way, failures: dict[str, Failure]) -> bool:
        """Whether the far side has it; if not, ``failures`` says why."""
        label = self._label(way)
        try:
            answer = way.channel.send(message)
        except Unavailable as error:
            way.failed(error)
            failures[way.name] = Failure(str(error), refused=False)
            metrics.PAGES.labels(label, "unavailable").inc()
            self.log.warning("channel away", channel=way.name, error=str(error), **_about(owed))
            return False
        except Exception as error:  # noqa: BLE001 - a fault of ours over one message must not hold up those behind it
            known = isinstance(error, Refused)
            reason = str(error) if known else f"it cannot be sent, a fault of ours: {type(error).__name__}"
            way.answered(refusal=reason)
            failures[way.name] = Failure(reason, refused=True)
            metrics.PAGES.labels(label, "refused").inc()
            said = {"error": reason} if known else fault(error)
            self.log.error("message refused", channel=way.name, **said, **_about(owed))
            return False
        way.answered()
        now = self._clock()
        self._ledger.arrived(owed, way.name, answer, now)
        metrics.PAGES.labels(label, "delivered").inc()
        if owed.kind is Kind.PAGE:
            metrics.PAGE_SECONDS.labels(way.channel.kind).observe(max(0.0, now - message.at.timestamp()))
        self.log.info("message delivered", channel=way.name, answer=answer, **_about(owed))
        return True

    def _give_up(self, owed: Owed, failures: Mapping[str, Failure], *, tried: bool = True) -> None:
        said = "; ".join(f"{name}: {failure.reason}" for name, failure in failures.items() if failure.reason)
        late = not failures or not all(failure.refused for failure in failures.values())
        reason = "; ".join(part for part in ("not delivered in time" if late else "", said) if part)
        self._end(owed, reason, tried=tried)

    def _end(self, owed: Owed, reason: str, *, tried: bool = True) -> None:
        self._ledger.undelivered(owed, reason, self._clock(), tried=tried)
        if owed.kind is Kind.PAGE:
            metrics.PAGES.labels("", "undelivered").inc()
        self.log.error("message not delivered", reason=reason, **_about(owed))

    def _message(self, owed: Owed) -> Message | None:
        """None where there is nothing to say any more."""
        match owed.kind:
            case Kind.PAGE:
                return self._wording.page(owed.key, AlertPaged.model_validate_json(owed.event))
            case Kind.WITHDRAWAL:
                return self._wording.withdrawal(owed.key, AlertWithdrawn.model_validate_json(owed.event))
            case Kind.DIGEST:
                pages = self._ledger.deferred(owed)
                return self._wording.digest(owed.key, pages) if pages else None

    def _label(self, way: Way) -> str:
        return f"{self.site}/{self.recipient}/{way.name}"


def _about(owed: Owed) -> dict[str, object]:
    """What every line of the log about a message has, where the message can be read."""
    about: dict[str, object] = {"message": owed.key}
    with suppress(ValueError, KeyError, TypeError):
        about["trace_id"] = trace_id(study_key(owed.site, owed.study_uid))
    return about
