"""The object store on a file system: content-addressed objects behind ``file://`` claim checks.

An object's name is the sha256 of its bytes, so writing the same bytes again changes nothing, and an object that is
visible is whole: it is written beside its place, synced, and renamed into it.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from schemas.base import ObjectRef
from schemas.failures import Unavailable, Unreadable
from schemas.identity import digest

_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""So says a file system that has no hard links."""


class FileStore:
    """Objects under one folder of this machine (or of a network file system that all hosts mount at one path)."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def put(self, data: bytes, folder: str, suffix: str) -> ObjectRef:
        """Keep bytes under ``folder/<sha256><suffix>`` and name them; durable when this returns, idempotent.

        Raises ``OSError`` where the disk refuses and ``ValueError`` where the folder lies outside the store.
        """
        digest = sha256(data).hexdigest()
        ref = self.ref(folder, digest, suffix, len(data))
        place = self.path(ref)
        if place.exists():
            return ref
        write_whole(place, data)
        return ref

    def read(self, ref: ObjectRef) -> bytes:
        """The bytes a claim check stands for.

        Raises :class:`Unavailable` where the store cannot be read now, and :class:`Unreadable` where the object is gone
        or not what was put there, or the claim check points outside the store.
        """
        path = self.path(ref)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            # Gone from a store that is there: waiting for it would hold up every study behind it. An empty folder is a
            # store that is not mounted.
            there = path.parent.is_dir() or (self.root / "journal").is_dir()
            failure = Unreadable if there else Unavailable
            raise failure(f"object {ref.uri}: not there") from None
        except OSError as error:
            raise Unavailable(f"object {ref.uri}: {error.strerror}") from error
        if digest(data) != ref.digest:
            raise Unreadable(f"object {ref.uri}: the stored bytes are not those of {ref.digest}")
        return data

    def path(self, ref: ObjectRef) -> Path:
        """Where the bytes are, for a reader on this machine that maps or seeks them.

        Raises :class:`Unreadable` for a claim check of another kind of store or outside this one.
        """
        uri = urlsplit(ref.uri)
        path = Path(os.path.normpath(unquote(uri.path)))
        if uri.scheme != "file" or uri.netloc or not path.is_relative_to(self.root):
            raise Unreadable(f"object {ref.uri}: not in the object store at {self.root}")
        return path

    def ref(self, folder: str, digest: str, suffix: str, size_bytes: int) -> ObjectRef:
        """The claim check of an object with this sha256 (hex) in this folder, whether it is there or not.

        Raises ``ValueError`` where the folder lies outside the store.
        """
        place = Path(os.path.normpath(self.root / folder / f"{digest}{suffix}"))
        if not place.is_relative_to(self.root) or "/" in suffix:
            raise ValueError(f"{folder!r} with suffix {suffix!r} is not in the object store")
        return ObjectRef(uri=place.as_uri(), digest=f"sha256:{digest}", size_bytes=size_bytes)


def write_whole(place: Path, data: bytes) -> None:
    """Write a file so that it is durable when this returns and never visible in part. Raises ``OSError``."""
    with _written(place, data) as part:
        part.rename(place)


def write_first(place: Path, data: bytes) -> bool:
    """As :func:`write_whole`, unless something is there: that stays, and this is False. Raises ``OSError``."""
    with _written(place, data) as part:
        try:
            os.link(part, place)  # unlike a rename this fails where something is there
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if place.exists():
                return False
            part.rename(place)
    return True


@contextmanager
def _written(place: Path, data: bytes) -> Iterator[Path]:
    """A durable file beside its place, which is gone afterwards unless it was moved there."""
    make_folder(place.parent)
    part = place.with_name(f".{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    sync_folder(place.parent)


def make_folder(folder: Path) -> None:
    """Create a folder and what leads to it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a renamed file survives a power cut only after this."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
