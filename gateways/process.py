"""What gateways that run as processes of their own have in common: how they start, and that a store has one."""

import fcntl
import os
from pathlib import Path
from typing import BinaryIO, Protocol

from gateways.objects import make_folder


class CannotStart(Exception):
    """The process does not start; the text is one line that says why and what to do."""


class Process(Protocol):
    """A gateway as a whole."""

    def start(self) -> None:
        """Recover what a crash left, then work. Raises :class:`CannotStart`."""

    def stop(self) -> None:
        """Finish what is in hand; the rest waits for the next start."""

    def deaths(self) -> list[str]:
        """What only a restart mends, one line each; empty while it can go on by itself."""

    def health(self) -> list[str]:
        """What is wrong, one line each; empty while all is well."""


class Taken(Exception):
    """Another process holds the lock; ``pid`` is what it wrote into it."""

    def __init__(self, pid: str) -> None:
        super().__init__(f"held by pid {pid}")
        self.pid = pid


def hold(place: Path) -> BinaryIO:
    """Hold a lock file until what is returned is closed or the process ends: the kernel frees it, however that ends.

    Raises :class:`Taken` and ``OSError``.
    """
    make_folder(place.parent)
    file = place.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read(32).decode(errors="replace").strip()
        file.close()
        raise Taken(owner) from None
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file
