"""The watcher as a whole: what it is made of, how it starts, recovers, watches itself and stops."""

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Final

import structlog
from confluent_kafka import Producer

from gateways.metrics import WATCHED_AGE_SECONDS
from gateways.outbox.publisher import OutboxPublisher
from gateways.process import CannotStart, Taken, hold
from gateways.watch.intake import Intake, consumer
from gateways.watch.ledger import Ledger
from gateways.watch.lookout import Lookout, Surroundings
from gateways.watch.settings import WatchSettings
from schemas.failures import Unavailable

log = structlog.get_logger()
_FLUSH_S: Final = 3.0
_BLIND_S: Final = 120.0


class Watcher:
    """Looks after what should be there, and says on ``operations.alarms`` what is not.

    ``folder`` holds the ledger and belongs to one watcher at a time; ``around`` is what is watched; ``sink`` makes a
    Kafka producer. The broker need not be there.
    """

    def __init__(
        self, settings: WatchSettings, folder: Path, around: Surroundings, bootstrap: str, sink: Callable[[], Producer]
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._around = around
        self._bootstrap = bootstrap
        self._sink = sink
        self._started_at = _now()
        self._fault = ""
        self._stopping = Event()
        self._look = Thread(target=self._run, name="look", daemon=True)

    def start(self) -> None:
        """Go on with what a crash left, then read and look. Raises :class:`CannotStart`."""
        with ExitStack() as undo:
            try:
                self._lock = undo.enter_context(hold(self._folder / "watcher.lock"))
                self._ledger = Ledger(self._folder / "ledger.sqlite")
            except Taken as error:
                raise CannotStart(f"another watcher (pid {error.pid}) works on {self._folder}") from None
            except (OSError, sqlite3.Error) as error:
                raise CannotStart(f"the ledger in {self._folder} cannot be used: {error}") from error
            undo.pop_all()
        self._lookout = Lookout(self._ledger, self._settings, self._around, self._bootstrap, _now)
        self._publisher = OutboxPublisher(self._ledger, self._sink)
        self._publisher.start()
        self._intake = Intake(self._ledger, lambda: consumer(self._bootstrap, self._ledger))
        self._intake.start()
        self._look.start()
        log.info("watcher runs", groups=sorted(self._around.groups), certificates=len(self._around.certificates))

    def stop(self) -> None:
        """Say what was found; the rest waits for the next start."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._look.join()
        self._intake.stop()
        self._lookout.close()
        self._publisher.stop(_FLUSH_S)
        self._ledger.close()
        self._lock.close()
        log.info("watcher stopped")

    def deaths(self) -> list[str]:
        """What only a restart mends, one line each; empty while it can go on by itself."""
        threads = {"intake": self._intake.alive, "outbox": self._publisher.alive, "look": self._look.is_alive()}
        return [f"the {name} thread has died: restart the watcher" for name, alive in threads.items() if not alive]

    def health(self) -> list[str]:
        """What is wrong beside :meth:`deaths`, one line each; empty while all is well. Alarms are not: it works."""
        complaints = [f"cannot look: {self._fault}"] if self._fault else []
        if (age_s := self._age_s()) > _BLIND_S:
            complaints.append(f"what happened to studies in the last {age_s:.0f} s is not known")
        return complaints + self._intake.complaints() + self._publisher.complaints("ledger")

    def _age_s(self) -> float:
        return (_now() - (self._lookout.known_until or self._started_at)).total_seconds()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._lookout.look()
                self._fault = ""
            except Unavailable as error:
                self._say(str(error))
            except Exception as error:  # noqa: BLE001 - the edge of this thread: it must look again, whatever it saw
                self._say(f"{type(error).__name__}: {error}")
            WATCHED_AGE_SECONDS.set(self._age_s())
            self._intake.measure()
            self._publisher.measure()
            self._stopping.wait(self._settings.look_s)

    def _say(self, fault: str) -> None:
        if fault != self._fault:
            log.warning("cannot look", error=fault)
        self._fault = fault


def _now() -> datetime:
    return datetime.now(UTC)
