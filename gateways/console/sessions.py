"""Who is signed in: a random token in a cookie, everything else here, in memory. A restart signs everybody out."""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from time import monotonic
from typing import Final

from gateways.console.accounts import User

_PER_PERSON: Final = 20
"""Sessions of one person; the oldest ends for one more."""


@dataclass
class Session:
    """One browser of one person."""

    user: User
    local: bool
    """Whether the person has an account here, which may be changed or removed meanwhile."""
    began: float
    used: float


class Sessions:
    """Kept by the hash of their token: who reads this memory cannot use them. ``clock`` counts seconds."""

    def __init__(self, idle_s: float, longest_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._idle_s = idle_s
        self._longest_s = longest_s
        self._clock = clock
        self._lock = Lock()
        self._sessions: dict[str, Session] = {}

    def begin(self, user: User, *, local: bool) -> str:
        """Sign a person in; the token of the session, which is always a new one."""
        token = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._sessions = {key: one for key, one in self._sessions.items() if self._lives(one, now)}
            own = [key for key, one in self._sessions.items() if one.user.name == user.name]
            for key in own[: max(0, len(own) - _PER_PERSON + 1)]:
                del self._sessions[key]
            self._sessions[_hash(token)] = Session(user, local, now, now)
        return token

    def find(self, token: str, *, use: bool) -> Session | None:
        """The session of a token while it lasts; ``use`` keeps it from falling idle."""
        now = self._clock()
        with self._lock:
            session = self._sessions.get(_hash(token))
            if session is None or not self._lives(session, now):
                return None
            if use:
                session.used = now
            return session

    def end(self, token: str) -> None:
        """Sign out."""
        with self._lock:
            self._sessions.pop(_hash(token), None)

    def _lives(self, session: Session, now: float) -> bool:
        return now - session.used <= self._idle_s and now - session.began <= self._longest_s


class FormTokens:
    """What a form has to bring along: derived from the browser's cookie, so that no other site can make it up."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def of(self, cookie: str) -> str:
        """The token for forms of a browser with this cookie."""
        return hmac.new(self._secret, cookie.encode(), sha256).hexdigest()

    def fits(self, cookie: str, token: str) -> bool:
        """Whether a form came from a page of ours in this browser."""
        return hmac.compare_digest(self.of(cookie).encode(), token.encode())


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
