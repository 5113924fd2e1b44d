"""The DICOM gateway as a whole: what it is made of, how it starts, recovers, watches itself and stops."""

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from threading import Event, Thread
from typing import Final

import structlog
from confluent_kafka import Producer

from gateways.dicom.admission import Admission
from gateways.dicom.batches import Batches
from gateways.dicom.committer import Committer
from gateways.dicom.journal import Journal
from gateways.dicom.leniency import accept_what_comes
from gateways.dicom.receiver import Receiver
from gateways.dicom.reconcile import RECONCILIATION, Reconciliation
from gateways.dicom.server import DicomServer
from gateways.dicom.settings import DicomGatewaySettings, SiteAccess
from gateways.objects import FileStore
from gateways.outbox.publisher import OutboxPublisher
from gateways.process import CannotStart, Taken, hold
from schemas.events import BatchEnd

log = structlog.get_logger()
_SWEEP_S: Final = 0.25
_FLUSH_S: Final = 3.0


class DicomGateway:
    """Receives DICOM, stores it, and says so on ``dicom.series``.

    ``sites`` says which AE titles belong to which site. ``store`` holds objects, journal and quarantine, and belongs to
    one gateway at a time. ``connect`` makes a Kafka producer as :func:`gateways.kafka.producer` does; the broker need
    not be there.
    """

    def __init__(
        self,
        settings: DicomGatewaySettings,
        sites: Mapping[str, SiteAccess],
        store: FileStore,
        connect: Callable[[], Producer],
    ) -> None:
        """Raises ``ValueError`` where two sites share a called AE title."""
        self._settings = settings
        self._admission = Admission(sites)
        self._store = store
        self._connect = connect
        self._stopping = Event()
        self._watch = Thread(target=self._run_watch, name="watch", daemon=True)
        self._reconcile = Thread(target=self._run_reconcile, name="reconcile", daemon=True)

    def start(self) -> None:
        """Recover what a crash left, then listen. Raises :class:`CannotStart`."""
        accept_what_comes()
        with ExitStack() as undo:
            try:
                self._lock = undo.enter_context(hold(self._store.root / "journal" / "gateway.lock"))
                self._journal = Journal(self._store.root / "journal" / "dicom.sqlite")
                undo.callback(self._journal.close)
                self._committer = Committer(self._journal)
                self._batches = Batches(self._journal, self._store)
                self._receiver = Receiver(self._settings, self._store, self._journal, self._committer)
                self._publisher = OutboxPublisher(self._journal, self._connect)
                self._server = DicomServer(self._settings, self._admission, self._receiver, self._batches)
                self._receiver.prepare()
            except Taken as error:
                raise CannotStart(
                    f"another DICOM gateway (pid {error.pid}) works on the store at {self._store.root}"
                ) from None
            except (OSError, sqlite3.Error) as error:
                raise CannotStart(f"the store at {self._store.root} cannot be used: {error}") from error
            self._started_at = time.time()
            for association in self._journal.touching():
                self._batches.end(association, BatchEnd.RECOVERED)
            self._committer.start()
            undo.callback(self._committer.stop)
            try:
                self._server.start()
            except OSError as error:
                where = f"{self._settings.host}:{self._settings.port}"
                raise CannotStart(f"the DICOM gateway cannot listen on {where}: {error.strerror or error}") from error
            undo.pop_all()
        self._publisher.start()
        self._watch.start()
        self._reconcile.start()
        log.info("dicom gateway listens", host=self._settings.host, port=self.port)

    def stop(self) -> None:
        """Stop accepting, let associations end, publish what the broker takes; the rest waits for the next start."""
        if self._stopping.is_set():
            return
        self._server.stop()
        self._stopping.set()
        self._watch.join()
        self._reconcile.join()
        self._sweep()
        self._committer.stop()
        self._publisher.stop(_FLUSH_S)
        self._journal.close()
        self._lock.close()
        log.info("dicom gateway stopped")

    @property
    def port(self) -> int:
        """The port it listens on, also where the settings left the choice to the system."""
        return self._server.port

    def deaths(self) -> list[str]:
        """What only a restart mends, one line each; empty while it can go on by itself."""
        return [
            f"the {name} thread has died: restart the gateway"
            for name, alive in (
                ("committer", self._committer.alive),
                ("outbox", self._publisher.alive),
                ("watch", self._watch.is_alive()),
            )
            if not alive
        ]

    def health(self) -> list[str]:
        """What is wrong, one line each; empty while all is well."""
        complaints = self.deaths()
        complaints += filter(None, (self._receiver.complaint(), self._batches.complaint()))
        return complaints + self._publisher.complaints("journal")

    def _sweep(self) -> None:
        self._server.sweep()
        touching = self._journal.touching()  # asked before who is open: whoever opens in between is not taken for dead
        for association in touching - self._server.associations() - self._batches.due() - {RECONCILIATION}:
            self._batches.end(association, BatchEnd.ABORTED)
        self._batches.settle()
        self._publisher.measure()

    def _run_watch(self) -> None:
        while not self._stopping.wait(_SWEEP_S):
            try:
                self._sweep()
            except Exception:  # the edge of this thread: it must look again, whatever it saw
                log.exception("watch failed")

    def _run_reconcile(self) -> None:
        try:
            Reconciliation(self._store, self._journal, self._batches, self._started_at).run(self._stopping)
        except Exception:  # the edge of this thread: receiving goes on without it
            log.exception("reconciliation failed")
