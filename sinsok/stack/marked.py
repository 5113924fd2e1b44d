"""Finds the processes of a stack by a mark in their environment, also when nobody supervises them any more.

The mark is inherited, so that it names a part's own children too; unlike a process id on file it cannot be stale.
"""

from pathlib import Path

import psutil

_MARK = "SINSOK_STACK_PART"


def mark(home: Path, name: str) -> dict[str, str]:
    """The variable that a part is started with."""
    return {_MARK: f"{home}:{name}"}


def processes(home: Path) -> dict[str, list[psutil.Process]]:
    """The living processes of this home's parts, by the part's name, parents before their children."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            value = process.environ().get(_MARK, "")
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
        except (psutil.Error, OSError):
            continue  # another user's, or gone in the meantime
        owner, _, name = value.rpartition(":")
        if owner == str(home):
            found.setdefault(name, []).append(process)
    return found


def stop(processes: list[psutil.Process], grace_s: float) -> None:
    """SIGTERM to all, SIGKILL to who is left after the grace period."""
    for signal in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            try:
                signal(process)
            except psutil.NoSuchProcess:
                continue
        _, processes = psutil.wait_procs(processes, timeout=grace_s)
