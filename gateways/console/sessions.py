"""Who is signed in: a random token in a cookie, everything else here, in memory and in a file.

A console that crashes at night signs nobody out; one that starts with other rules of who may do what does.
"""

import hmac
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from threading import Lock
from time import time
from typing import Final

import structlog
from pydantic import TypeAdapter, ValidationError

from gateways.console.accounts import User

log = structlog.get_logger()
_PER_PERSON: Final = 20
"""Sessions of one person; the oldest ends for one more."""
_NOTED_EVERY_S: Final = 60.0
"""How often a use is written down: after a restart a session may fall idle so much earlier."""
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS sessions (hash TEXT PRIMARY KEY, rules TEXT NOT NULL, session TEXT NOT NULL)"
)


@dataclass
class Session:
    """One browser of one person."""

    user: User
    local: bool
    """Whether the person has an account here, which may be changed or removed meanwhile."""
    began: float
    used: float
    id_token: str = ""
    """What the identity provider said at the sign-on: it ends the session there. Not written down."""


_SESSION: Final = TypeAdapter(Session)


class Sessions:
    """Kept by the hash of their token: who reads this memory, or the file, cannot use them.

    ``clock`` counts seconds, and goes on over a restart.
    """

    def __init__(self, idle_s: float, longest_s: float, clock: Callable[[], float] = time) -> None:
        self._idle_s = idle_s
        self._longest_s = longest_s
        self._clock = clock
        self._lock = Lock()
        self._sessions: dict[str, Session] = {}
        self._noted: dict[str, float] = {}
        self._file: sqlite3.Connection | None = None
        self._place = Path()
        self._rules = ""

    def keep(self, place: Path, rules: str) -> None:
        """Take up what a file holds, and note there what comes. ``rules`` are what rights at sign-on come from.

        Raises ``OSError`` and ``sqlite3.Error``.
        """
        mask = os.umask(0o077)
        try:
            file = sqlite3.connect(place, check_same_thread=False, isolation_level=None)
            file.execute("PRAGMA journal_mode=WAL")
            # What the last moments before a power cut were is no matter, and no page waits for the disk.
            file.execute("PRAGMA synchronous=NORMAL")
            file.execute(_TABLE)
        finally:
            os.umask(mask)
        self._place, self._rules = place, sha256(rules.encode()).hexdigest()
        with self._lock:
            self._file = file
            file.execute("DELETE FROM sessions WHERE rules != ?", (self._rules,))
            for key, text in file.execute("SELECT hash, session FROM sessions").fetchall():
                try:
                    self._sessions[key] = _SESSION.validate_json(text)
                except ValidationError:
                    self._drop(key)
            self._sweep(self._clock())

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                for key in list(self._sessions):
                    self._note(key)
                self._file.close()
                self._file = None

    def begin(self, user: User, *, local: bool, id_token: str = "") -> str:
        """Sign a person in; the token of the session, which is always a new one."""
        token = token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._sweep(now)
            own = [key for key, one in self._sessions.items() if one.user.name == user.name]
            for key in own[: max(0, len(own) - _PER_PERSON + 1)]:
                self._drop(key)
            self._sessions[_hash(token)] = Session(user, local, now, now, id_token)
            self._note(_hash(token))
        return token

    def find(self, token: str, *, use: bool) -> Session | None:
        """The session of a token while it lasts; ``use`` keeps it from falling idle."""
        now, key = self._clock(), _hash(token)
        with self._lock:
            session = self._sessions.get(key)
            if session is None or self._left(session, now) < 0:
                return None
            if use:
                session.used = now
                if now - self._noted.get(key, 0.0) > _NOTED_EVERY_S:
                    self._note(key)
            return session

    def end(self, token: str) -> None:
        """Sign out."""
        with self._lock:
            self._drop(_hash(token))

    def left(self, session: Session) -> float:
        """In how many seconds it ends, if it is not used."""
        return self._left(session, self._clock())

    def at_last(self, session: Session) -> float:
        """In how many seconds it ends in any case."""
        return session.began + self._longest_s - self._clock()

    def _left(self, session: Session, now: float) -> float:
        return min(session.used + self._idle_s, session.began + self._longest_s) - now

    def _sweep(self, now: float) -> None:
        for key in [key for key, one in self._sessions.items() if self._left(one, now) < 0]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        self._sessions.pop(key, None)
        self._noted.pop(key, None)
        self._write("DELETE FROM sessions WHERE hash = ?", key)

    def _note(self, key: str) -> None:
        session = self._sessions[key]
        self._noted[key] = session.used
        text = _SESSION.dump_json(session, exclude={"id_token"}).decode()
        self._write("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)", key, self._rules, text)

    def _write(self, statement: str, *values: str) -> None:
        if self._file is not None:
            try:
                self._file.execute(statement, values)
            except sqlite3.Error as error:
                # People sign in also while the disk is full. What is not in the file as it ought to be is in none:
                # after a restart it would let in who had signed out.
                log.warning("sessions will not survive a restart", error=str(error))
                self._file.close()
                self._file = None
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{self._place}{suffix}").unlink(missing_ok=True)


def form_token(cookie: str) -> str:
    """What a form of a browser with this cookie has to bring along: no other site knows the cookie or makes it up."""
    return hmac.new(cookie.encode(), b"form", sha256).hexdigest()


def is_form_token(cookie: str, token: str) -> bool:
    """Whether a form came from a page of ours in this browser."""
    return hmac.compare_digest(form_token(cookie).encode(), token.encode())


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
