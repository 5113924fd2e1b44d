"""Group commit: what several associations have pending becomes durable with one sync of each folder and one commit."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

from gateways.dicom.journal import Journal
from gateways.objects import sync_folder

T = TypeVar("T")
_GROUP: Final = 256


@dataclass(frozen=True)
class _Pending:
    folder: Path
    write: Callable[[], Any]
    done: "Future[Any]" = field(default_factory=Future)


class Committer:
    """The one thread that makes received objects durable."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._queue: SimpleQueue[_Pending | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Begin to commit."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what is pending and end."""
        self._queue.put(None)
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether anything can be stored."""
        return self._thread.is_alive()

    def commit(self, folder: Path, write: Callable[[], T]) -> T:
        """Make the names in ``folder`` durable, then what ``write`` puts into the journal; wait, and say what it said.

        Raises what the disk, the journal or ``write`` raised; then nothing of it is in the journal. ``write`` is called
        again where the group it was committed with failed.
        """
        pending = _Pending(folder, write)
        self._queue.put(pending)
        result: T = pending.done.result()
        return result

    def _run(self) -> None:
        while (pending := self._queue.get()) is not None:
            group = [pending]
            try:
                while len(group) < _GROUP:
                    following = self._queue.get_nowait()
                    if following is None:
                        self._queue.put(None)
                        break
                    group.append(following)
            except Empty:
                pass
            self._commit(group)

    def _commit(self, group: list[_Pending]) -> None:
        try:
            for folder in {pending.folder for pending in group}:
                sync_folder(folder)
            with self._journal.transaction():
                results = [pending.write() for pending in group]
        except Exception as error:  # noqa: BLE001 - the edge of this thread: who waits gets the error
            if len(group) == 1:
                group[0].done.set_exception(error)
                return
            for pending in group:  # the fault of one is not that of the others
                self._commit([pending])
        else:
            for pending, result in zip(group, results, strict=True):
                pending.done.set_result(result)
