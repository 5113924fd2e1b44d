"""The one thread that serves a destination. None of them waits for another: a PACS that is away slows nothing else."""

import time
from abc import abstractmethod
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from gateways import metrics
from gateways.delivery.breaker import Breaker
from gateways.delivery.ledger import OPEN, Delivery, Ledger, State
from gateways.worker import Worker, fault
from schemas.deliveries import DeliveryEvent, WrittenObject
from schemas.events import Priority
from schemas.failures import Unavailable
from schemas.identity import trace_id

_LOOK_EVERY_S: Final = 5.0
_LOG_EVERY_S: Final = 60.0
_STUCK_S: Final = 600.0


class Courier(Worker):
    """Works off what the ledger says is owed to one destination."""

    def __init__(self, destination: str, ledger: Ledger, breaker: Breaker) -> None:
        super().__init__(destination, structlog.get_logger().bind(destination=destination))
        self.destination = destination
        self.ledger = ledger
        self.breaker = breaker
        self._away = ""
        self._logged_at = -_LOG_EVERY_S

    @abstractmethod
    def work(self, now: float) -> bool:
        """Do what is due; whether there was anything.

        Raises :class:`schemas.failures.Unavailable` where the destination is away; then it is left alone for a while.
        """

    @abstractmethod
    def rest(self) -> None:
        """Nothing has been due for a while, or the destination is away: let go of connections."""

    def complaints(self) -> list[str]:
        """What a person should know, one line each; empty while all is well."""
        backlog, found = self.ledger.backlog(self.destination), []
        waiting = sum(count for state, count in backlog.states.items() if state is not State.HELD)
        if backlog.oldest_at is not None and (age := time.time() - backlog.oldest_at) > _STUCK_S:
            why = f": {self._away}" if self._away else ""
            found.append(f"{self.destination}: {waiting} results wait, the oldest for {age:.0f} s{why}")
        return found

    def measure(self) -> None:
        """Bring the gauges up to date."""
        backlog = self.ledger.backlog(self.destination)
        for state in OPEN:
            metrics.DELIVERIES_OPEN.labels(self.destination, state).set(backlog.states.get(state, 0))
        metrics.DELIVERIES_OPEN.labels(self.destination, State.REJECTED).set(
            self.ledger.rejected_count(self.destination)
        )
        age = 0.0 if backlog.oldest_at is None else max(0.0, time.time() - backlog.oldest_at)
        metrics.DELIVERY_AGE_SECONDS.labels(self.destination).set(age)
        metrics.DESTINATION_AWAY.labels(self.destination).set(not self.breaker.closed)

    def end(
        self,
        delivery: Delivery,
        state: State,
        *,
        reason: str = "",
        event: DeliveryEvent | None = None,
        objects: tuple[WrittenObject, ...] | None = None,
        standing: tuple[WrittenObject, ...] | None = None,
        told: Priority | None = None,
    ) -> None:
        """Note in the ledger, the log and the metrics how a delivery ended."""
        now = time.time()
        ended = self.ledger.end(
            delivery, state, now, reason=reason, event=event, objects=objects, standing=standing, told=told
        )
        if not ended:
            return
        metrics.DELIVERIES.labels(self.destination, state).inc()
        if state is State.DONE:
            metrics.DELIVERY_SECONDS.labels(self.destination).observe(max(0.0, now - delivery.taken_at))
        say = self.log.error if state is State.REJECTED else self.log.info
        said = {"reason": reason} if reason else {}
        say("delivery ended", state=state.value, **self.about(delivery), **said)

    def say_fault(self, delivery: Delivery, error: Exception) -> None:
        """A fault of ours over one delivery, for the log."""
        self.log.error("fault over a delivery", **self.about(delivery), **fault(error))

    def about(self, delivery: Delivery) -> dict[str, object]:
        """What every line of the log about a delivery has."""
        return {
            "study_key": delivery.study_key,
            "trace_id": trace_id(delivery.study_key),
            "result": str(delivery.result.event_id),
            "revision": delivery.result.revision,
        }

    def event_fields(self, delivery: Delivery) -> dict[str, Any]:
        """What every event about a delivery has."""
        result = delivery.result
        return {
            "time": datetime.now(UTC),
            "site": result.site,
            "study_uid": result.study_uid,
            "revision": result.revision,
            "unconfirmed": result.unconfirmed,
            "result": result.event_id,
            "destination": self.destination,
        }

    def turn(self) -> None:
        """Do what is due; wait where there is nothing, or the destination is away."""
        if (pause := self.breaker.pause_s) > 0:
            self._stop.wait(pause)
            return
        try:
            worked = self.work(time.time())
        except Unavailable as error:
            self._away = str(error)
            pause = self.breaker.failed()
            self._say("destination away", error=str(error), retry_in_s=round(pause, 1))
            self.rest()
            return
        self._away = ""
        if not worked:
            self._idle()

    def _run(self) -> None:
        super()._run()
        self.rest()

    def _idle(self) -> None:
        due_at = self.ledger.next_due_at(self.destination)
        until = _LOOK_EVERY_S if due_at is None else min(_LOOK_EVERY_S, max(0.05, due_at - time.time()))
        if not self._wake.wait(min(until, 1.0)):
            self.rest()
            self._wake.wait(max(0.0, until - 1.0))

    def _say(self, what: str, **details: object) -> None:
        if time.monotonic() - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = time.monotonic()
            self.log.warning(what, **details)
