"""Why nothing leaves a replay: the interpreter itself refuses.

Python tells its audit hooks of every connection, every file that is opened and every module that is loaded (PEP 578),
and a hook cannot be removed. Behind :func:`close` this process

- connects to nobody: not to a mail server, a PACS, a worklist or a web hook;
- makes no Kafka producer, and joins no consumer group (gateways/kafka.py says so before it makes one);
- loads no gateway that acts on the world;
- writes no file outside the run's folder;
- starts no program.

What reads Kafka and asks a model is written in C and does not pass here; both only read.
"""

import os
import sys
from pathlib import Path
from typing import Any, Final

ACTING: Final = (
    "gateways.alerts",
    "gateways.archive.archiver",
    "gateways.archive.retention",
    "gateways.audit.auditor",
    "gateways.audit.transaction",
    "gateways.console",
    "gateways.delivery",
    "gateways.dicom.scu",
    "gateways.letters",
    "gateways.outbox",
    "gateways.pacs",
    "gateways.traces",
    "gateways.watch",
    "gateways.worklist",
    "faust",
    "smtplib",
    "aiosmtplib",
)
"""Modules with an effect on the outside world."""
_PROGRAMS: Final = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn"})
_CLIENTS: Final = frozenset({"sinsok.producer", "sinsok.consumer", "sinsok.admin"})
_CHANGES: Final = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"})


class Fenced(BaseException):
    """Something in a replay was about to act on the outside world. Nothing that handles failures may hold it back."""


def close(folder: Path) -> None:
    """Close the fence for the rest of this process's life, around a run's folder."""
    inside = str(folder.resolve())

    def watch(event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = given
            if isinstance(path, str | bytes | os.PathLike) and _writes(flags) and not _is_inside(path, inside):
                raise Fenced(f"a replay writes no file outside its folder: {os.fsdecode(path)}")
        elif event == "sqlite3.connect":
            if not _is_inside(given[0], inside):
                raise Fenced(f"a replay opens no database outside its folder: {given[0]}")
        elif event == "import":
            if str(given[0]).startswith(ACTING):
                raise Fenced(f"a replay does not load {given[0]}")
        elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            raise Fenced(f"a replay connects to nobody: {given[-1]}")
        elif event in _CHANGES:
            if not all(_is_inside(one, inside) for one in given if isinstance(one, str | bytes)):
                raise Fenced(f"a replay changes no file outside its folder: {event}")
        elif event in _PROGRAMS or event in _CLIENTS:
            raise Fenced(f"a replay has no effect: {event}")

    sys.addaudithook(watch)


def _writes(flags: Any) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))


def _is_inside(path: Any, folder: str) -> bool:
    text = os.fsdecode(path)
    if text in (":memory:", "", "/dev/null", "/dev/tty"):
        return True
    whole = os.path.realpath(text.removeprefix("file:").partition("?")[0])
    return whole == folder or whole.startswith(folder + os.sep)
