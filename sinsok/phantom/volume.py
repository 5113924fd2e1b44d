"""A study in memory as the volume that a model is shown, decoded as in production."""

import io
from collections.abc import Iterable
from hashlib import sha256

from gateways.imaging.volume import Volume, load_volume
from schemas.base import ObjectRef
from schemas.manifest import Instance, Manifest
from sinsok.phantom.cases import PhantomStudy


def volume_of(study: PhantomStudy) -> Volume:
    """The volume of a phantom. Raises :class:`schemas.failures.Unreadable` for one that is no stack (a scout)."""
    files = []
    for ds in study.datasets:
        content = io.BytesIO()
        ds.save_as(content, enforce_file_format=True)
        files.append(content.getvalue())
    return stacked(files)


def stacked(files: Iterable[bytes]) -> Volume:
    """The volume of a series' Part 10 files. Raises :class:`schemas.failures.Unreadable` where they form no stack."""
    memory = _Memory()
    instances = tuple(
        Instance(sop_uid=f"2.25.{number}", sop_class="CT", transfer_syntax="as stored", stored=memory.put(content))
        for number, content in enumerate(files, start=1)
    )
    return load_volume(Manifest(site="memory", study_uid="1", series_uid="1", instances=instances), memory)


class _Memory:
    """Objects by their digest."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def put(self, content: bytes) -> ObjectRef:
        digest = f"sha256:{sha256(content).hexdigest()}"
        self._objects[digest] = content
        return ObjectRef(uri=f"memory:{digest}", digest=digest, size_bytes=len(content))

    def read(self, ref: ObjectRef) -> bytes:
        return self._objects[ref.digest]
