"""Objects are made in processes of their own: that is most of a result's work, and Python does one thing at a time.

What they make lies on disk, synced, when they answer; only names come back.
"""

import multiprocessing
import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from threading import Lock, Thread

from gateways.objects import FileStore
from gateways.pacs.objects import Revision, composed, left_standing
from gateways.pacs.outgoing import Outgoing
from gateways.pacs.right_patient import Identity, identity_of
from gateways.pacs.settings import ObjectSettings
from gateways.pacs.source import study_head
from schemas.deliveries import WrittenObject
from schemas.events import StudyTriaged
from schemas.failures import Unavailable


@dataclass(frozen=True)
class Job:
    """Who the images of a result are of, and, unless ``choice`` is None, its objects."""

    result: StudyTriaged
    store: Path
    outgoing: Path
    choice: ObjectSettings | None = None
    earlier: tuple[WrittenObject, ...] = ()


@dataclass(frozen=True)
class Made:
    """What came of a job."""

    patient: Identity = field(repr=False)
    objects: tuple[WrittenObject, ...] = ()
    """On disk now."""
    standing: tuple[WrittenObject, ...] = ()
    """Earlier objects that stay in use beside them."""


def make(job: Job) -> Made:
    """Do a job, here and now.

    Raises :class:`schemas.failures.Unreadable` for a result that cannot be written, and
    :class:`schemas.failures.Unavailable` where the store is away or the disk refuses.
    """
    store = FileStore(job.store)
    if job.choice is None:
        return Made(identity_of(study_head(store, job.result)))
    revision = Revision(job.result, job.earlier, job.choice, store)
    objects = composed(revision)
    try:
        Outgoing(job.outgoing).put(objects)
    except OSError as error:
        raise Unavailable(f"objects cannot be kept on disk: {error.strerror or error}") from None
    return Made(
        identity_of(revision.head), tuple(one.written for one in objects), left_standing(job.result, job.earlier)
    )


class Makers:
    """The processes, shared by all destinations; started when they are first needed."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._lock = Lock()
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, job: Job) -> Future[Made]:
        """Do a job; its future raises as :func:`make` does, and ``BrokenProcessPool`` where a process has died."""
        with self._lock:
            if self._pool is None:
                self._pool = self._started()
            try:
                return self._pool.submit(make, job)
            except BrokenProcessPool:
                self._pool.shutdown(wait=False)
                self._pool = self._started()
                return self._pool.submit(make, job)

    def restart(self) -> None:
        """End the processes, whatever they are at; the next job starts others."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            # Another destination's jobs end with BrokenProcessPool, and are done again.
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(wait=False)

    def _started(self) -> ProcessPoolExecutor:
        # Not forked: this process has threads, and Kafka's and SQLite's are not to be copied.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._processes, mp_context=context, initializer=_begin)


def _begin() -> None:
    """A worker ends with the writer, also where that is killed, and leaves signals from a terminal to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    writer = multiprocessing.parent_process()
    assert writer is not None, "this is a worker"

    def end_with_it() -> None:
        wait([writer.sentinel])
        os._exit(1)

    Thread(target=end_with_it, daemon=True).start()
