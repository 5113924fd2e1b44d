"""Shared memory between this process and a Triton on the same machine: a volume is written where Triton reads it.

A region is a file of ours in the kernel's ``/dev/shm`` that Triton maps too. Nobody else can read it, and its lock says
that its process lives. Where Triton cannot map it (another machine, another container) volumes go over gRPC.
"""

import fcntl
import ipaddress
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import numpy as np
import structlog
import tritonclient.grpc as triton
from numpy.typing import DTypeLike, NDArray
from tritonclient.utils import InferenceServerException

from gateways.inference.settings import TritonSettings

FOLDER: Final = Path("/dev/shm")  # noqa: S108 - the kernel's place for shared memory
PREFIX: Final = "sinsok-volume-"
"""Of the name of every region, as a file and in Triton."""
_REFUSED_FOR_S: Final = 60.0
_MOST_KEPT: Final = 4
"""So many regions may Triton still hold on to before volumes go over gRPC."""
_ALIGNED: Final = 64

log = structlog.get_logger()


class SharedRegion:
    """Memory that Triton has mapped under the region's name. Arrays are handed out one behind the other."""

    def __init__(self, name: str, memory: mmap.mmap) -> None:
        self.name = name
        self._memory = memory
        self._free = 0

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> tuple[NDArray[Any], int]:
        """The next array and its offset. It keeps the memory, also after the region is given back."""
        offset = self._free
        array: NDArray[Any] = np.ndarray(shape, dtype, self._memory, offset)
        self._free = offset + array.nbytes + -array.nbytes % _ALIGNED
        return array, offset


def room(*sizes: int) -> int:
    """Bytes of a region that holds arrays of these sizes."""
    return sum(size + -size % _ALIGNED for size in sizes)


class SharedMemory:
    """The regions of this process that one Triton knows. Threads may share it."""

    def __init__(self, client: triton.InferenceServerClient, settings: TritonSettings) -> None:
        self._client = client
        self._timeout_s = settings.probe_timeout_s
        self._wanted = settings.shared_memory == "auto" and _is_loopback(settings.grpc_url.rpartition(":")[0])
        self._refused_until = 0.0
        self._looked = False
        self._kept: set[str] = set()
        """Names that Triton did not give up yet, since a request may still use them."""

    @contextmanager
    def region(self, size: int) -> Iterator[SharedRegion | None]:
        """A region of so many bytes; None where the volume has to go over gRPC."""
        made = self._make(size) if self._wanted and monotonic() >= self._refused_until else None
        if made is None:
            yield None
            return
        region, lock = made
        try:
            yield region
        finally:
            self._give_up({region.name})
            (FOLDER / region.name).unlink(missing_ok=True)
            os.close(lock)

    def _make(self, size: int) -> tuple[SharedRegion, int] | None:
        """A new region that Triton has mapped, and the descriptor that holds its lock."""
        name = f"{PREFIX}{uuid4().hex}"
        lock = None
        try:
            self._clear()
            lock = os.open(FOLDER / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Taken now: memory that is short would end the process where it writes, not here.
            os.posix_fallocate(lock, 0, size)
            self._client.register_system_shared_memory(name, f"/{name}", size, client_timeout=self._timeout_s)
            return SharedRegion(name, mmap.mmap(lock, size)), lock
        except (OSError, InferenceServerException) as error:
            log.info("volumes go over gRPC", reason=_reason(error))
            self._refused_until = monotonic() + _REFUSED_FOR_S
            if lock is not None:
                self._give_up({name})
                (FOLDER / name).unlink(missing_ok=True)
                os.close(lock)
            return None

    def _clear(self) -> None:
        """Remove what killed processes left, once, and what Triton held on to when it was given up.

        Raises :class:`OSError` where Triton holds too much.
        """
        if not self._looked:
            for path in FOLDER.glob(f"{PREFIX}*"):
                _remove_if_dead(path)
            status = self._client.get_system_shared_memory_status(client_timeout=self._timeout_s)
            self._kept |= {n for n in status.regions if n.startswith(PREFIX) and not (FOLDER / n).exists()}
            self._looked = True
        self._give_up(set(self._kept))
        if len(self._kept) > _MOST_KEPT:
            raise OSError(f"Triton still holds {len(self._kept)} volumes of requests that were given up")

    def _give_up(self, names: set[str]) -> None:
        """Have Triton forget regions; it refuses while a request that was given up may still use one."""
        for name in names:
            try:
                self._client.unregister_system_shared_memory(name, client_timeout=self._timeout_s)
                self._kept.discard(name)
            except InferenceServerException:
                self._kept.add(name)


def _remove_if_dead(path: Path) -> None:
    """Remove a region's file unless its process lives, which then holds the lock."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except OSError:
        return
    finally:
        os.close(file)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: OSError | InferenceServerException) -> str:
    return str(error.message()) if isinstance(error, InferenceServerException) else error.strerror or str(error)
