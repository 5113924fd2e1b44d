"""The console as a whole: what it is made of, how it starts, watches itself and stops."""

import socket
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Final
from zoneinfo import ZoneInfo

import structlog
import uvicorn
from confluent_kafka import Producer

from gateways.console.access import Doorkeeper
from gateways.console.accounts import Accounts
from gateways.console.acts import Acts
from gateways.console.app import make_app
from gateways.console.backstage import Backstage, Condition
from gateways.console.feed import Feed
from gateways.console.live import Hub
from gateways.console.oidc import Oidc
from gateways.console.patient import Patients
from gateways.console.pictures import Pictures
from gateways.console.probes import Probes
from gateways.console.sessions import Sessions
from gateways.console.settings import ConsoleSettings, SiteConsole
from gateways.console.throttle import Throttle
from gateways.console.view import View
from gateways.letters.post import PostOffice
from gateways.objects import FileStore
from gateways.outbox.database import OutboxDatabase
from gateways.outbox.publisher import OutboxPublisher
from gateways.process import CannotStart, Taken, hold
from schemas.topics import ALARMS, AUDIT_ACTS, DEAD_LETTERS, DELIVERIES, DICOM_SERIES, RESULTS, STUDIES, alerts

log = structlog.get_logger()
_FLUSH_S: Final = 3.0
_TICK_S: Final = 10.0
_SOON_S: Final = 3.0


class Console:
    """Serves the pages, and sends what people do to Kafka.

    ``folder`` holds the accounts and the outbox, and belongs to one console at a time. ``parts`` are the health
    addresses of the other processes. ``sink`` makes a Kafka producer; the broker need not be there.
    """

    def __init__(
        self,
        settings: ConsoleSettings,
        sites: Mapping[str, SiteConsole],
        folder: Path,
        store: FileStore,
        bootstrap: str,
        parts: Mapping[str, str],
        sink: Callable[[], Producer],
        zone: ZoneInfo,
    ) -> None:
        self._settings = settings
        self._sites = sites
        self._folder = folder
        self._sink = sink
        self._zone = zone
        self._stopping = Event()
        self._hub = Hub()
        self._view = View(settings, sites, _now)
        self._pictures = Pictures(store)
        self._patients = Patients(store)
        self._probes = Probes(parts, _now)
        self._accounts = Accounts(folder / "accounts.json", sites)
        self._sessions = Sessions(60 * settings.idle_minutes, 3600 * settings.session_hours)
        self._letters = PostOffice(bootstrap)
        common = (DICOM_SERIES, STUDIES, RESULTS, DELIVERIES, DEAD_LETTERS, AUDIT_ACTS, ALARMS)
        topics = (*common, *(alerts(site) for site in sites))
        self._feed = Feed(bootstrap, [topic.name for topic in topics], self._since, self._view, self._caught_up)
        self._watch = Thread(target=self._run_watch, name="watch", daemon=True)

    def start(self) -> None:
        """Open the outbox, read what stands on the topics, and serve. Raises :class:`CannotStart`."""
        with ExitStack() as undo:
            try:
                self._lock = undo.enter_context(hold(self._folder / "console.lock"))
                self._outbox = OutboxDatabase(self._folder / "outbox.sqlite")
                undo.callback(self._outbox.close)
                self._sessions.keep(self._folder / "sessions.sqlite", self._rules())
                undo.callback(self._sessions.close)
            except Taken as error:
                raise CannotStart(f"another console (pid {error.pid}) works on {self._folder}") from None
            except (OSError, sqlite3.Error) as error:
                raise CannotStart(f"the outbox in {self._folder} cannot be used: {error}") from error
            try:
                self._socket = _listen(self._settings.host, self._settings.port)
            except OSError as error:
                where = f"{self._settings.host}:{self._settings.port}"
                why = error.strerror or error
                raise CannotStart(f"the console cannot listen on {where}: {why}; set console.port") from error
            undo.pop_all()
        acts = Acts(self._outbox, self._view, _now)
        acts.recall()
        self._server = uvicorn.Server(self._serving(acts))
        self._serve = Thread(target=self._server.run, args=([self._socket],), name="serve", daemon=True)
        self._publisher = OutboxPublisher(self._outbox, self._sink)
        self._publisher.start()
        self._feed.start()
        self._probes.start()
        self._watch.start()
        self._serve.start()
        log.info("console runs", url=self._settings.url)

    def stop(self) -> None:
        """End the open pages' streams, answer what was asked, send what was done; the rest waits for the next start."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._hub.close()
        # Before the server: what it reads is told to the server's loop.
        self._feed.stop()
        self._server.should_exit = True
        self._serve.join()
        self._socket.close()
        self._probes.stop()
        self._watch.join()
        self._publisher.stop(_FLUSH_S)
        self._outbox.close()
        self._sessions.close()
        self._lock.close()
        log.info("console stopped")

    def deaths(self) -> list[str]:
        """What only a restart mends, one line each; empty while it can go on by itself."""
        threads = {
            "feed": self._feed.alive,
            "outbox": self._publisher.alive,
            "probes": self._probes.alive,
            "serve": self._serve.is_alive(),
            "watch": self._watch.is_alive(),
        }
        return [f"the {name} thread has died: restart the console" for name, alive in threads.items() if not alive]

    def health(self) -> list[str]:
        """What is wrong beside :meth:`deaths`, one line each; empty while all is well."""
        complaints = self._accounts.complaints() if self._settings.takes_passwords else []
        if self._feed.away_since is not None:
            complaints.append(f"Kafka has not answered since {self._feed.away_since:%H:%M:%S} UTC")
        elif not self._feed.caught_up:
            complaints.append("the console is still reading what stands on the topics")
        complaints += [f"Kafka has no topic {one}: create it with `sinsok topics --apply`" for one in self._feed.absent]
        return complaints + self._publisher.complaints("outbox")

    def _serving(self, acts: Acts) -> uvicorn.Config:
        settings = self._settings
        behind = Backstage(
            settings=settings,
            clocks=self._view.clocks,
            sites=self._sites,
            zone=self._zone,
            now=_now,
            accounts=self._accounts,
            throttle=Throttle(),
            acts=acts,
            hub=self._hub,
            probes=self._probes,
            pictures=self._pictures,
            patients=self._patients,
            letters=self._letters,
            oidc=Oidc(settings.oidc, settings.url, self._sites) if settings.oidc else None,
            condition=self._condition,
        )
        keeper = Doorkeeper(self._accounts, self._sessions, secure=settings.secure, url=settings.url)
        return uvicorn.Config(
            make_app(behind, self._view, keeper),
            log_config=None,
            access_log=False,  # addresses of patients' studies are nobody's business; who saw what is on audit.acts
            server_header=False,
            forwarded_allow_ips=",".join(settings.proxies),
            timeout_graceful_shutdown=5,
        )

    def _condition(self) -> Condition:
        try:
            depth, oldest = self._outbox.outbox_state()
        except sqlite3.Error:
            depth, oldest = 0, None  # /readyz says so, and so does whoever wants to write into it
        waiting = depth if oldest is not None and time.time() - oldest > _SOON_S else 0
        return Condition(self._feed.caught_up and not self._feed.absent, self._feed.away_since, waiting)

    def _rules(self) -> str:
        """What the rights of a session come from, where it does not look them up each time."""
        said = self._settings.model_dump_json(include={"oidc", "local_accounts"})
        return f"{said} {' '.join(self._sites)}"

    def _since(self) -> datetime:
        return _now() - timedelta(days=self._settings.keep_days)

    def _caught_up(self) -> None:
        """From now on, changes are news; what was read before were not."""
        self._view.tick()
        self._view.on_change = self._hub.tell
        log.info("console has read the topics")

    def _run_watch(self) -> None:
        while not self._stopping.wait(_TICK_S):
            self._view.tick()


def _now() -> datetime:
    return datetime.now(UTC)


def _listen(host: str, port: int) -> socket.socket:
    """Bound here, so that an address that is taken is said in words."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
