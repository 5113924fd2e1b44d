"""Logs of libraries, at a bearable rate: while the broker is away they repeat some forty error lines a second."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

NOISY: Final = ("faust", "mode", "aiokafka")


class LogLimit(logging.Handler):
    """Passes a message on to the root logger once in a while, and says how often it was repeated meanwhile.

    Messages are the same when they come from the same line of code. Below ``level`` nothing is passed.
    """

    def __init__(
        self, *, every_s: float = 30.0, level: int = logging.WARNING, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(level)
        self._every_s = every_s
        self._clock = clock
        self._passed: dict[tuple[str, int], float] = {}
        self._held: dict[tuple[str, int], int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, or count it."""
        origin, now = (record.pathname, record.lineno), self._clock()
        if now - self._passed.get(origin, -self._every_s) < self._every_s:
            self._held[origin] = self._held.get(origin, 0) + 1
            return
        self._passed[origin] = now
        if held := self._held.pop(origin, 0):
            record.msg, record.args = f"{record.getMessage()} (and {held} times more)", ()
        logging.getLogger().handle(record)

    @classmethod
    def install(cls, names: Iterable[str] = NOISY) -> None:
        """Put one limit before everything that these libraries log: Faust and its own, where nothing else is said."""
        limit = cls()
        for name in names:
            logger = logging.getLogger(name)
            logger.handlers = [limit]
            logger.propagate = False
            logger.setLevel(limit.level)
