"""The notifier as a whole: what it is made of, how it starts, recovers, watches itself and stops."""

import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Final

import structlog
from confluent_kafka import Consumer, Producer

from gateways.alerts.budget import Budget
from gateways.alerts.courier import Courier
from gateways.alerts.intake import Intake
from gateways.alerts.ledger import Ledger
from gateways.outbox.publisher import OutboxPublisher
from gateways.process import CannotStart, Taken, hold

log = structlog.get_logger()
_FLUSH_S: Final = 3.0
_WATCH_S: Final = 5.0
_DAY_S: Final = 86_400.0

Couriers = Callable[[Ledger], Sequence[Courier]]


class Notifier:
    """Takes pages off the topics of alerts and tells the recipients.

    ``folder`` holds the ledger and belongs to one notifier at a time. ``sites`` are those whose topics are read,
    ``budgets`` what may disturb them; ``couriers`` makes those who deliver; ``source`` and ``sink`` make a Kafka
    consumer and producer. Neither broker nor channel need be there.
    """

    def __init__(
        self,
        keep_days: int,
        folder: Path,
        sites: Collection[str],
        budgets: Mapping[str, Budget],
        couriers: Couriers,
        source: Callable[[], Consumer],
        sink: Callable[[], Producer],
    ) -> None:
        self._keep_days = keep_days
        self._folder = folder
        self._sites = sites
        self._budgets = budgets
        self._make_couriers = couriers
        self._source = source
        self._sink = sink
        self._stopping = Event()
        self._watch = Thread(target=self._run_watch, name="watch", daemon=True)

    def start(self) -> None:
        """Go on with what a crash left, then read and deliver. Raises :class:`CannotStart`."""
        with ExitStack() as undo:
            try:
                self._lock = undo.enter_context(hold(self._folder / "notifier.lock"))
                self._ledger = Ledger(self._folder / "ledger.sqlite")
                undo.callback(self._ledger.close)
                forgotten = self._forget()
            except Taken as error:
                raise CannotStart(f"another notifier (pid {error.pid}) works on {self._folder}") from None
            except (OSError, sqlite3.Error) as error:
                raise CannotStart(f"the ledger in {self._folder} cannot be used: {error}") from error
            undo.pop_all()
        log.info("ledger opened", forgotten=forgotten)
        self._couriers = {(one.site, one.recipient): one for one in self._make_couriers(self._ledger)}
        self._publisher = OutboxPublisher(self._ledger, self._sink)
        self._publisher.start()
        for courier in self._couriers.values():
            courier.start()
        recipients = {site: {recipient for where, recipient in self._couriers if where == site} for site in self._sites}
        self._intake = Intake(self._ledger, self._source, recipients, self._budgets, self._wake)
        self._intake.start()
        self._watch.start()
        log.info("notifier runs", recipients=["/".join(names) for names in self._couriers])

    def stop(self) -> None:
        """Take no more, finish what is being sent, say what became of it; the rest waits for the next start."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._intake.stop()
        for courier in self._couriers.values():
            courier.stop()
        self._watch.join()
        self._publisher.stop(_FLUSH_S)
        self._ledger.close()
        self._lock.close()
        log.info("notifier stopped")

    def deaths(self) -> list[str]:
        """What only a restart mends, one line each; empty while it can go on by itself."""
        threads = {"intake": self._intake.alive, "outbox": self._publisher.alive, "watch": self._watch.is_alive()}
        threads |= {"/".join(names): courier.alive for names, courier in self._couriers.items()}
        return [f"the {name} thread has died: restart the notifier" for name, alive in threads.items() if not alive]

    def health(self) -> list[str]:
        """What is wrong, one line each; empty while all is well."""
        complaints = self.deaths()
        complaints += [line for courier in self._couriers.values() for line in courier.complaints()]
        return complaints + self._intake.complaints() + self._publisher.complaints("ledger")

    def _forget(self) -> int:
        self._forgot_at = time.monotonic()
        return self._ledger.forget(time.time() - self._keep_days * _DAY_S)

    def _wake(self, site: str, recipient: str) -> None:
        if courier := self._couriers.get((site, recipient)):
            courier.wake()

    def _run_watch(self) -> None:
        while not self._stopping.wait(_WATCH_S):
            try:
                for courier in self._couriers.values():
                    courier.measure()
                self._intake.measure()
                self._publisher.measure()
                if time.monotonic() - self._forgot_at > _DAY_S:
                    self._forget()
                # One channel in a round: those that hang must not hold up what is watched.
                any(courier.probe() for courier in self._couriers.values())
            except Exception:  # the edge of this thread: it must look again, whatever it saw
                log.exception("watch failed")
