"""The PACS writer as a whole: what it is made of, how it starts, recovers, watches itself and stops."""

import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Final

import structlog
from confluent_kafka import Consumer, Producer

from gateways.delivery.courier import Courier
from gateways.delivery.intake import Intake
from gateways.delivery.ledger import Ledger, State
from gateways.delivery.settings import WriterSettings
from gateways.outbox.publisher import OutboxPublisher
from gateways.pacs.courier import PacsCourier
from gateways.pacs.listener import CommitmentListener
from gateways.pacs.outgoing import Outgoing
from gateways.pacs.peer import Commitment
from gateways.process import CannotStart, Taken, hold
from schemas.failures import Unavailable

log = structlog.get_logger()
_FLUSH_S: Final = 3.0
_WATCH_S: Final = 5.0
_DAY_S: Final = 86_400.0

Couriers = Callable[[Ledger, Outgoing, Callable[[Commitment], None]], Sequence[Courier]]


class ResultWriter:
    """Takes results off ``triage.results`` and delivers them to every destination of their site.

    ``asks_as`` are the AE titles under which PACS are asked for commitments: they report to those.
    ``folder`` holds the ledger and the objects under way, and belongs to one writer at a time. ``couriers`` makes those
    who deliver; ``source`` and ``sink`` make a Kafka consumer and producer. Neither broker nor PACS need be there.
    """

    def __init__(
        self,
        settings: WriterSettings,
        folder: Path,
        couriers: Couriers,
        source: Callable[[], Consumer],
        sink: Callable[[], Producer],
        asks_as: Collection[str],
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._make_couriers = couriers
        self._source = source
        self._sink = sink
        self._asks_as = asks_as
        self._stopping = Event()
        self._watch = Thread(target=self._run_watch, name="watch", daemon=True)

    def start(self) -> None:
        """Recover what a crash left, then listen and deliver. Raises :class:`CannotStart`."""
        with ExitStack() as undo:
            try:
                self._lock = undo.enter_context(hold(self._folder / "writer.lock"))
                self._ledger = Ledger(self._folder / "ledger.sqlite")
                undo.callback(self._ledger.close)
                outgoing = Outgoing(self._folder / "outgoing")
                self._recover(outgoing)
            except Taken as error:
                raise CannotStart(f"another PACS writer (pid {error.pid}) works on {self._folder}") from None
            except (OSError, sqlite3.Error) as error:
                raise CannotStart(f"the ledger in {self._folder} cannot be used: {error}") from error
            couriers = self._make_couriers(self._ledger, outgoing, self._committed)
            self._couriers = {one.destination: one for one in couriers}
            self._listener = CommitmentListener(
                self._settings.host,
                self._settings.port,
                {self._settings.aet, *self._asks_as},
                self._committed,
                tls=self._settings.tls,
            )
            try:
                self._listener.start()
            except OSError as error:
                where = f"{self._settings.host}:{self._settings.port}"
                why = error.strerror or error
                raise CannotStart(f"the PACS writer cannot listen on {where}: {why}; set writer.port") from error
            except Unavailable as error:
                raise CannotStart(f"the PACS writer cannot listen: {error}; set writer.tls") from error
            undo.pop_all()
        self._publisher = OutboxPublisher(self._ledger, self._sink)
        self._publisher.start()
        for courier in self._couriers.values():
            courier.start()
        self._intake = Intake(self._ledger, self._source, self._by_site(), lambda name: self._couriers[name].wake())
        self._intake.start()
        self._watch.start()
        log.info("pacs writer runs", destinations=sorted(self._couriers), host=self._settings.host, port=self.port)

    def stop(self) -> None:
        """Take no more, finish what is being sent, say what became of it; the rest waits for the next start."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._intake.stop()
        for courier in self._couriers.values():
            courier.stop()
        self._listener.stop()
        self._watch.join()
        self._publisher.stop(_FLUSH_S)
        self._ledger.close()
        self._lock.close()
        log.info("pacs writer stopped")

    @property
    def port(self) -> int:
        """The port on which it hears of commitments."""
        return self._listener.port

    def deaths(self) -> list[str]:
        """What only a restart mends, one line each; empty while it can go on by itself."""
        threads = {"intake": self._intake.alive, "outbox": self._publisher.alive, "watch": self._watch.is_alive()}
        threads |= {name: courier.alive for name, courier in self._couriers.items()}
        return [f"the {name} thread has died: restart the PACS writer" for name, alive in threads.items() if not alive]

    def health(self) -> list[str]:
        """What is wrong, one line each; empty while all is well."""
        complaints = self.deaths()
        complaints += [line for courier in self._couriers.values() for line in courier.complaints()]
        return complaints + self._intake.complaints() + self._publisher.complaints("ledger")

    def _recover(self, outgoing: Outgoing) -> None:
        forgotten = self._forget()
        under_way = self._ledger.in_states((State.SENDING, State.STORED, State.HELD), limit=-1)
        outgoing.clean({one.sop_instance_uid for delivery in under_way for one in delivery.objects})
        log.info("ledger opened", under_way=len(under_way), forgotten=forgotten)

    def _forget(self) -> int:
        self._forgot_at = time.monotonic()
        return self._ledger.forget(time.time() - self._settings.keep_days * _DAY_S)

    def _by_site(self) -> Mapping[str, Sequence[str]]:
        sites: dict[str, list[str]] = {}
        for name in self._couriers:
            sites.setdefault(name.partition("/")[0], []).append(name)
        return sites

    def _committed(self, commitment: Commitment) -> None:
        """Called by the listener before it answers the PACS, which tries again where this raises."""
        deliveries = self._ledger.about(commitment.transaction_uid)
        if not deliveries:
            log.info("commitment that nothing waits for", transaction_uid=commitment.transaction_uid)
        for delivery in deliveries:
            courier = self._couriers.get(delivery.destination)
            if isinstance(courier, PacsCourier):
                courier.committed(commitment, [delivery])

    def _run_watch(self) -> None:
        while not self._stopping.wait(_WATCH_S):
            try:
                for courier in self._couriers.values():
                    courier.measure()
                if time.monotonic() - self._forgot_at > _DAY_S:
                    self._forget()
                self._intake.measure()
                self._publisher.measure()
            except Exception:  # the edge of this thread: it must look again, whatever it saw
                log.exception("watch failed")
