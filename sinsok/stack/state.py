"""What the supervisor and other processes tell each other.

A lock says that the supervisor lives, a file how the parts are, and others which parts are to be left stopped.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

State = Literal["ready", "starting", "failed", "stopped"]


@dataclass(frozen=True)
class PartState:
    """A part as it stands."""

    name: str
    state: State
    pid: int | None = None
    endpoint: str = ""
    restarts: int = 0
    reason: str = ""
    """Why it is not ready; empty when it is."""


class AlreadySupervised(Exception):
    """Another supervisor holds the lock of this home."""


@contextlib.contextmanager
def supervising(home: Path) -> Iterator[None]:
    """Hold the lock of this home; the kernel gives it back whatever becomes of the process."""
    path = _lock(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        # Others hold it for an instant, to see whether it is free.
        for _ in range(20):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
        else:
            raise AlreadySupervised
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def supervisor_pid(home: Path) -> int | None:
    """The living supervisor of this home, None when there is none."""
    try:
        with _lock(home).open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
    except FileNotFoundError:
        pass
    return None


def write(home: Path, states: list[PartState]) -> None:
    """Replace the file at once: a reader sees the old states or the new ones."""
    path = _file(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(state) for state in states], indent=2), encoding="utf-8")
    partial.replace(path)


def read(home: Path) -> dict[str, PartState]:
    """States by name as last written; empty when nothing ever ran here."""
    try:
        return {entry["name"]: PartState(**entry) for entry in json.loads(_file(home).read_text(encoding="utf-8"))}
    except FileNotFoundError:
        return {}


def hold(home: Path, name: str) -> None:
    """Have a part stopped, and left so until it is let go."""
    path = _held(home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def let_go(home: Path, name: str) -> None:
    """Have a part started again."""
    _held(home, name).unlink(missing_ok=True)


def is_held(home: Path, name: str) -> bool:
    """Whether a part is to be left stopped."""
    return _held(home, name).exists()


def _lock(home: Path) -> Path:
    return home / "run" / "supervisor.lock"


def _file(home: Path) -> Path:
    return home / "run" / "stack.json"


def _held(home: Path, name: str) -> Path:
    return home / "run" / f"{name}.held"
