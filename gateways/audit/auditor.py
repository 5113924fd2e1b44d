"""The writer of the audit trail as a process: it reads every event topic and appends to the chains, alone."""

import os
import signal
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, Producer

from gateways.audit.account import Tell
from gateways.audit.chain import Broken
from gateways.audit.head import Heads, UnusableHead
from gateways.audit.keys import Signer, UnusableKey, Verifier, create, public_key, signer
from gateways.audit.settings import AuditSettings
from gateways.audit.source import Source
from gateways.audit.trail import History, Trail
from gateways.audit.transaction import Aborted, Calls, Overtaken, Transactions
from gateways.metrics import UNREAD_SECONDS
from gateways.process import CannotStart, Taken, hold

log = structlog.get_logger()
_BATCH: Final = 2000
_PAUSE_S: Final = 2.0
_SILENT_S: Final = 30.0
_LOOK_S: Final = 10.0
_GRACE_S: Final = 15.0
_HUNG_S: Final = 90.0
"""No call that keeps to its timeout takes so long. While the broker is away calls are repeated, each timed anew."""


class Auditor:
    """Gives every record on the event topics its audit record, exactly once.

    ``folder`` holds the heads of the chains and belongs to one auditor at a time; ``key`` is the private key's place,
    made where neither it nor a chain is there. ``tell`` puts events in words, ``history`` reads the trail from archive
    and broker. ``source`` and ``sink`` make a consumer and a transactional producer. The broker need not be there when
    it starts.
    """

    def __init__(
        self,
        settings: AuditSettings,
        folder: Path,
        key: Path,
        bootstrap: str,
        topics: Collection[str],
        sites: Collection[str],
        tell: Tell,
        history: History,
        source: Callable[[], Consumer],
        sink: Callable[[], Producer],
    ) -> None:
        self._settings = settings
        self._heads = Heads(folder)
        self._key = key
        self._bootstrap = bootstrap
        self._topics = sorted(topics)
        self._sites = sites
        self._tell = tell
        self._history = history
        self._source = source
        self._sink = sink
        self._trail: Trail | None = None
        self._stopping = Event()
        self._death = ""
        self._fault = ""
        self._read_at = time.monotonic()
        self._calls = Calls()
        self._over = Event()
        self._thread = Thread(target=self._run, name="auditor", daemon=True)
        self._guard = Thread(target=self._watch, name="guard", daemon=True)

    def start(self) -> None:
        """Take the lock and the key, then work. Raises :class:`CannotStart`."""
        try:
            self._lock = hold(self._heads.folder / "auditor.lock")
            self._signer = self._own_key()
            retired = [public_key(place) for place in self._settings.retired]
        except Taken as error:
            raise CannotStart(f"another auditor (pid {error.pid}) works on {self._heads.folder}") from None
        except UnusableKey as error:
            raise CannotStart(f"{error}; docs/audit.md says how keys are kept") from None
        except OSError as error:
            raise CannotStart(f"the heads in {self._heads.folder} cannot be used: {error}") from error
        self._verifier = Verifier([*retired, self._signer.public])
        self._thread.start()
        self._guard.start()
        log.info("auditor runs", key=self._signer.id)

    def stop(self) -> None:
        """Finish the transaction in hand. Where the broker does not say how it ended, the next start finds out."""
        self._stopping.set()
        self._thread.join(_GRACE_S)
        self._over.set()
        self._lock.close()
        log.info("auditor stopped")

    def deaths(self) -> list[str]:
        """What only a restart or a person mends, one line each."""
        if self._death:
            return [self._death]
        alive = self._thread.is_alive() or self._stopping.is_set()
        return [] if alive else ["the auditor's thread has died: restart it"]

    def health(self) -> list[str]:
        """What is wrong, one line each; empty while what comes is audited."""
        silent_s = time.monotonic() - self._read_at
        UNREAD_SECONDS.labels("audit").set(silent_s)
        complaints = self.deaths()
        if self._fault or silent_s > _SILENT_S:
            since = datetime.now(UTC) - timedelta(seconds=silent_s)
            why = self._fault or "Kafka does not answer, or more comes than can be taken"
            complaints.append(f"events not audited to the newest since {since:%H:%M:%S} UTC: {why}")
        if self._trail is not None and (names := sorted(self._trail.unnoted)):
            complaints.append(f"the heads of {', '.join(names)} cannot be written: is the disk full?")
        return complaints

    def _own_key(self) -> Signer:
        if self._key.exists():
            return signer(self._key)
        if self._heads.chains():
            raise UnusableKey(f"there is no key at {self._key}, and there are chains that it signed: bring it back")
        made = create(self._key)
        log.warning("a new key signs the audit trail: keep a copy", key=made.id, place=str(self._key))
        return made

    def _run(self) -> None:
        while not self._stopping.is_set() and not self._death:
            try:
                self._work()
            except (Overtaken, Broken, UnusableHead) as error:
                self._death = str(error)
                log.error("auditor ends", error=self._death)
                # Going on mends nothing here: the process ends, and says why.
                os.kill(os.getpid(), signal.SIGTERM)
            except Exception as error:  # noqa: BLE001 - the edge of this thread: whatever fails, events wait on their topics
                self._failed(error)

    def _watch(self) -> None:
        """End the process where a call of librdkafka's hangs: nothing else wakes its thread."""
        while self._calls.lasted_s() <= _HUNG_S:
            if self._over.wait(_LOOK_S):
                return
        log.error(
            "auditor ends", error=f"librdkafka has not come back for {_HUNG_S:.0f} s: start again, nothing is lost"
        )
        # An orderly end would wait for the call, and then close what hangs. The next start ends what was begun.
        os._exit(1)

    def _work(self) -> None:
        trail = self._trail = self._trail or self._opened()
        source = Source(self._source(), self._bootstrap, self._topics)
        try:
            trail.take_up(self._bootstrap, source)
            looked_at = self._read_at = time.monotonic()
            while not self._stopping.is_set():
                taken = list(source.take(_BATCH))
                try:
                    trail.append(taken, source)
                except Aborted as aborted:
                    self._failed(aborted)
                    source.again()
                    continue
                trail.note(trail.unnoted)
                self._fault = ""
                if 0 < len(taken) < _BATCH:
                    self._read_at = time.monotonic()
                if time.monotonic() - looked_at >= _LOOK_S:
                    # Nothing comes from a broker that is away either.
                    if source.committed().keys() != source.places:
                        return  # a topic has come: it is read too
                    looked_at = time.monotonic()
                    if len(taken) < _BATCH:
                        self._read_at = looked_at
        finally:
            self._calls.call(source.close)

    def _opened(self) -> Trail:
        transactions = Transactions(self._sink(), self._calls)
        transactions.open()
        parts = (self._heads, self._signer, self._verifier)
        return Trail(self._settings, self._sites, self._tell, self._history, *parts, transactions)

    def _failed(self, error: Exception) -> None:
        text = str(error.args[0].str()) if isinstance(error, KafkaException) else " ".join(str(error).split())
        self._fault = text or type(error).__name__
        log.warning("events not audited yet", error=self._fault)
        self._stopping.wait(_PAUSE_S)
