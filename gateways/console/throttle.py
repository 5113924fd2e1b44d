"""Failed logins are counted: for an account from one address, for an address, and for an account from anywhere.

The limit for an account from anywhere is high: with a low one a stranger could lock out who is on call.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from time import monotonic
from typing import Final

WINDOW_S: Final = 900.0
BOTH, ADDRESS, ACCOUNT = 5, 30, 100
"""Failures within the window, after which no more logins are looked at."""
_REMEMBERED: Final = 20_000


class Throttle:
    """Counts in memory, the oldest forgotten first. ``clock`` counts seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._tries: OrderedDict[Hashable, list[float]] = OrderedDict()

    def allows(self, account: str, address: str) -> bool:
        """Whether a login may be tried now. It counts as failed until :meth:`succeeded` is said."""
        now = self._clock()
        with self._lock:
            recent = {key: self._recent(key, now) for key, _ in _keys(account, address)}
            if any(len(recent[key]) >= limit for key, limit in _keys(account, address)):
                return False
            for key, tries in recent.items():
                self._tries[key] = [*tries, now]
                self._tries.move_to_end(key)
            while len(self._tries) > _REMEMBERED:
                self._tries.popitem(last=False)
            return True

    def succeeded(self, account: str, address: str) -> None:
        """The try was none of a stranger: it does not count, nor what this person mistyped before."""
        with self._lock:
            self._tries.pop((account, address), None)
            for key in ((None, address), (account, None)):
                if tries := self._tries.get(key):
                    tries.pop()

    def _recent(self, key: Hashable, now: float) -> list[float]:
        return [at for at in self._tries.get(key, []) if now - at < WINDOW_S]


def _keys(account: str, address: str) -> tuple[tuple[Hashable, int], ...]:
    return ((account, address), BOTH), ((None, address), ADDRESS), ((account, None), ACCOUNT)
