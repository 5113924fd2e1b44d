"""The one thread that serves a recipient: channel after channel, until a far side has the message.

A channel that is away is asked ever more rarely, and the next one is used meanwhile. Nobody waits for another
recipient's channels.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final

import structlog

from gateways import metrics
from gateways.alerts.channel import Channel, Kind, Message
from gateways.alerts.ledger import Failure, Ledger, Owed
from gateways.alerts.wording import Wording
from gateways.delivery.breaker import Breaker
from gateways.delivery.courier import fault
from schemas.events import AlertWithdrawn
from schemas.failures import Refused, Unavailable
from schemas.identity import study_key, trace_id
from schemas.paging import AlertPaged

_LOOK_EVERY_S: Final = 5.0
_FAULT_PAUSE_S: Final = 5.0


@dataclass
class Way:
    """A channel of a recipient and whether it answers."""

    name: str
    """Unlike those of the recipient's other channels: smtp, webhook, webhook-2."""
    channel: Channel
    breaker: Breaker
    away: str = ""
    """Why it did not answer when it was last asked."""


class Courier:
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
        self.site = site
        self.recipient = recipient
        self._ledger = ledger
        self._wording = wording
        self.ways = ways
        self._clock = clock
        self._log = structlog.get_logger().bind(site=site, recipient=recipient)
        self._wake = Event()
        self._stop = Event()
        self._thread = Thread(target=self._run, name=f"{site}/{recipient}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    def stop(self) -> None:
        """Finish what is in hand, and end."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether messages are being delivered, or waited for."""
        return self._thread.is_alive()

    def complaints(self) -> list[str]:
        """What a person should know, one line each: a recipient whom nothing reaches."""
        if all(not way.breaker.closed for way in self.ways):
            why = "; ".join(f"{way.name}: {way.away}" for way in self.ways)
            return [f"{self.site}/{self.recipient} cannot be reached: {why}"]
        return []

    def measure(self) -> None:
        """Bring the gauges up to date."""
        for way in self.ways:
            metrics.CHANNEL_AWAY.labels(self._label(way)).set(not way.breaker.closed)

    def work(self) -> bool:
        """Send what is due next, or note that it does not go; whether there was anything."""
        now = self._clock()
        owed = self._ledger.due(self.site, self.recipient, now)
        if owed is None:
            return False
        failures = dict(owed.failures)
        if now >= owed.give_up_at:
            self._give_up(owed, failures or {way.name: Failure(way.away, refused=False) for way in self.ways})
            return True
        message = self._message(owed)
        if message is None or not self._ledger.trying(owed):
            self._ledger.drop(owed, now)
            return True
        for way in self.ways:
            if way.name in failures and failures[way.name].refused:
                continue
            if way.breaker.open_until > now:
                failures.setdefault(way.name, Failure(way.away, refused=False))
            elif self._send(owed, message, way, failures):
                return True
        if all(failures[way.name].refused for way in self.ways):
            self._give_up(owed, failures)
        else:
            again = min(way.breaker.open_until for way in self.ways if not failures[way.name].refused)
            self._ledger.put_off(owed, min(again, owed.give_up_at), failures)
        return True

    def _send(self, owed: Owed, message: Message, way: Way, failures: dict[str, Failure]) -> bool:
        """Whether the far side has it; if not, ``failures`` says why."""
        label = self._label(way)
        try:
            answer = way.channel.send(message)
        except Unavailable as error:
            way.away = str(error)
            way.breaker.failed(self._clock())
            failures[way.name] = Failure(str(error), refused=False)
            metrics.PAGES.labels(label, "unavailable").inc()
            self._log.warning("channel away", channel=way.name, error=str(error), **_about(owed))
            return False
        except Exception as error:  # noqa: BLE001 - a fault of ours over one message must not hold up those behind it
            known = isinstance(error, Refused)
            reason = str(error) if known else f"it cannot be sent, a fault of ours: {type(error).__name__}"
            failures[way.name] = Failure(reason, refused=True)
            metrics.PAGES.labels(label, "refused").inc()
            said = {"error": reason} if known else fault(error)
            self._log.error("message refused", channel=way.name, **said, **_about(owed))
            return False
        way.breaker.answered()
        way.away = ""
        now = self._clock()
        self._ledger.arrived(owed, self.recipient, way.name, answer, now)
        metrics.PAGES.labels(label, "delivered").inc()
        if owed.kind is Kind.PAGE:
            metrics.PAGE_SECONDS.labels(way.channel.kind).observe(max(0.0, now - message.at.timestamp()))
        self._log.info("message delivered", channel=way.name, answer=answer, **_about(owed))
        return True

    def _give_up(self, owed: Owed, failures: Mapping[str, Failure]) -> None:
        said = "; ".join(f"{name}: {failure.reason}" for name, failure in failures.items() if failure.reason)
        late = not failures or not all(failure.refused for failure in failures.values())
        reason = "; ".join(part for part in ("not delivered in time" if late else "", said) if part)
        self._ledger.undelivered(owed, self.recipient, reason, self._clock())
        if owed.kind is Kind.PAGE:
            metrics.PAGES.labels("", "undelivered").inc()
        self._log.error("message not delivered", reason=reason, **_about(owed))

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

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                worked = self.work()
            except Exception as error:  # noqa: BLE001 - the edge of this thread: it must go on with what is behind
                self._log.error("courier failed, it goes on", **fault(error))
                self._stop.wait(_FAULT_PAUSE_S)
            else:
                if not worked:
                    due_at = self._ledger.next_due_at(self.site, self.recipient)
                    pause = _LOOK_EVERY_S if due_at is None else max(0.05, due_at - self._clock())
                    self._wake.wait(min(_LOOK_EVERY_S, pause))


def _about(owed: Owed) -> dict[str, object]:
    """What every line of the log about a message has."""
    kind = AlertWithdrawn if owed.kind is Kind.WITHDRAWAL else AlertPaged
    event = kind.model_validate_json(owed.event)
    return {"message": owed.key, "trace_id": trace_id(study_key(event.site, event.study_uid))}
