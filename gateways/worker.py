"""The thread of a gateway that does what is due, is woken when something may be, and goes on whatever fails."""

import traceback
from abc import ABC, abstractmethod
from threading import Event, Thread
from typing import Any, Final

_FAULT_PAUSE_S: Final = 5.0


class Worker(ABC):
    """See the module. ``name`` is the thread's; faults go to ``log``, a logger of structlog."""

    def __init__(self, name: str, log: Any) -> None:
        self.log = log
        self._wake = Event()
        self._stop = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def turn(self) -> None:
        """Do what is due; where there is nothing, wait on ``_wake`` until something may be."""

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    def stop(self) -> None:
        """Finish what is in hand, and end."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    @property
    def stopping(self) -> bool:
        """Whether to leave the rest for the next start."""
        return self._stop.is_set()

    @property
    def alive(self) -> bool:
        """Whether there is work going on, or waited for."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self.stopping:
            self._wake.clear()
            try:
                self.turn()
            except Exception as error:  # noqa: BLE001 - the edge of this thread: it must go on with what is behind
                self.log.error("courier failed, it goes on", **fault(error))
                self._stop.wait(_FAULT_PAUSE_S)


def fault(error: Exception) -> dict[str, object]:
    """What may be logged of an exception that nobody foresaw: its text, and a traceback's, may quote a name."""
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return {"error": type(error).__name__, "at": places[-5:]}
