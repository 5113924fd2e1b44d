"""One C-STORE: from the bytes of a data set to its place, its line in the journal and its status (PS3.4, B.2.3).

The order is what keeps the promise of 0x0000: the bytes are written and synced under a name nobody reads, renamed into
place, the folder is synced, the journal commits, and only then is the sender answered.

An object with the SOP Instance UID of another and other bytes is stored beside it, answered 0x0000 and flagged: it
would be wrong to lose either, and the sender can do nothing about it. Content that is refused (0xA900, 0xC000) is kept
in ``quarantine`` with the reason beside it, for a person to look at.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from pathlib import Path
from time import perf_counter, time
from typing import Final, TypeVar
from uuid import uuid4

import structlog
from pynetdicom import AllStoragePresentationContexts

from gateways import metrics
from gateways.dicom.batches import study_folder
from gateways.dicom.committer import Committer
from gateways.dicom.facts import Facts, NotUnderstood, read_facts
from gateways.dicom.file_meta import FileMeta, file_head
from gateways.dicom.journal import Journal, StoredInstance
from gateways.dicom.settings import DicomGatewaySettings
from gateways.objects import FileStore, make_folder, write_whole
from schemas.base import utc
from schemas.envelope import encode
from schemas.events import InstanceQuarantined
from schemas.identity import study_key, trace_id
from schemas.topics import DICOM_SERIES

log = structlog.get_logger()
T = TypeVar("T")
_MB: Final = 1024 * 1024
_STORAGE: Final = frozenset(str(context.abstract_syntax) for context in AllStoragePresentationContexts)


class Status(IntEnum):
    """Status of a C-STORE response (PS3.4, table B.2-1; PS3.7, C.5.6)."""

    SUCCESS = 0x0000
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000


@dataclass(frozen=True)
class Sender:
    """Where a data set comes from: an association, whose peer is known to a site."""

    association: str
    site: str
    calling_ae: str
    called_ae: str


@dataclass(frozen=True)
class StoreRequest:
    """A C-STORE-RQ: what the command says, and the data set's bytes as they came. ``too_large``: they were let go."""

    sender: Sender
    abstract_syntax: str
    meta: FileMeta
    data_set: bytes
    too_large: bool = False


class Receiver:
    """Stores data sets, for many associations at once."""

    def __init__(
        self, settings: DicomGatewaySettings, store: FileStore, journal: Journal, committer: Committer
    ) -> None:
        self._settings = settings
        self._store = store
        self._journal = journal
        self._committer = committer
        self._incoming = store.root / "incoming"

    def prepare(self) -> None:
        """Make the folder for files in the making, and remove what a crash left in it: none was ever acknowledged."""
        make_folder(self._incoming)
        leftovers = list(self._incoming.glob("*.part"))
        for part in leftovers:
            part.unlink()
        if leftovers:
            log.warning("unfinished files removed", files=len(leftovers))

    def store(self, request: StoreRequest) -> Status:
        """Store a data set and say how that went. Nothing but ``SUCCESS`` means that it is kept for good."""
        began = perf_counter()
        status = self._store_or_refuse(request)
        metrics.RECEIVED_INSTANCES.labels(request.sender.site, f"0x{status:04X}").inc()
        if status is Status.SUCCESS:
            metrics.RECEIVED_BYTES.labels(request.sender.site).inc(len(request.data_set))
            metrics.STORE_SECONDS.observe(perf_counter() - began)
        return status

    def complaint(self) -> str | None:
        """Why nothing can be stored now."""
        free = shutil.disk_usage(self._store.root).free // _MB
        if free < self._settings.min_free_mb:
            return f"{free} MB free at {self._store.root}, {self._settings.min_free_mb} MB must stay free"
        return None

    def _store_or_refuse(self, request: StoreRequest) -> Status:
        if not is_storage(request.meta.sop_class) or request.meta.sop_class != request.abstract_syntax:
            return self._refused(request, Status.SOP_CLASS_NOT_SUPPORTED, "no storage SOP class of this context")
        if request.too_large or len(request.data_set) > self._settings.max_object_mb * _MB:
            limit = f"data set larger than {self._settings.max_object_mb} MB"
            return self._refused(request, Status.OUT_OF_RESOURCES, limit)
        try:
            if complaint := self.complaint():
                return self._refused(request, Status.OUT_OF_RESOURCES, complaint)
            return self._write(request)
        except (OSError, sqlite3.Error) as error:
            return self._refused(request, Status.OUT_OF_RESOURCES, str(error))
        except Exception as error:  # the edge of one object: its sender is told to try again, and we are told why
            log.exception("c-store failed", site=request.sender.site, sending_ae=request.sender.calling_ae)
            return self._refused(request, Status.OUT_OF_RESOURCES, f"unexpected {type(error).__name__}")

    def _refused(self, request: StoreRequest, status: Status, reason: str) -> Status:
        log.warning(
            "c-store refused",
            site=request.sender.site,
            sending_ae=request.sender.calling_ae,
            status=f"0x{status:04X}",
            reason=reason,
        )
        return status

    def _write(self, request: StoreRequest) -> Status:
        head = file_head(request.meta)
        digest = sha256(head)
        digest.update(request.data_set)
        part = self._incoming / f"{uuid4().hex}.part"
        try:
            with part.open("xb") as file:
                file.write(head)
                file.write(request.data_set)
                file.flush()
                os.fdatasync(file.fileno())
            try:
                facts = read_facts(part, request.meta)
            except NotUnderstood as error:
                return self._quarantine(request, part, digest.hexdigest(), Status.CANNOT_UNDERSTAND, str(error))
            if (facts.sop_class, facts.sop_uid) != (request.meta.sop_class, request.meta.sop_uid):
                reason = "SOP class or instance UID of the command is not that of the data set"
                status = Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
                return self._quarantine(request, part, digest.hexdigest(), status, reason)
            return self._keep(request, part, digest.hexdigest(), facts)
        finally:
            part.unlink(missing_ok=True)

    def _keep(self, request: StoreRequest, part: Path, digest: str, facts: Facts) -> Status:
        sender = request.sender
        key = study_key(sender.site, facts.study_uid)
        instance = StoredInstance(
            site=sender.site,
            study_key=key,
            digest=digest,
            size_bytes=len(file_head(request.meta)) + len(request.data_set),
            transfer_syntax=request.meta.transfer_syntax,
            sending_ae=sender.calling_ae,
            called_ae=sender.called_ae,
            received_at=time(),
            facts=facts,
        )
        place = self._store.root / study_folder(sender.site, key) / f"{digest}.dcm"
        conflict = self._place(part, place, lambda: self._journal.add(instance, sender.association))
        if conflict:
            metrics.CONFLICTS.labels(sender.site).inc()
            log.warning(
                "another object with this sop instance uid is stored",
                study_key=key,
                trace_id=trace_id(key),
                digest=digest,
            )
        return Status.SUCCESS

    def _quarantine(self, request: StoreRequest, part: Path, digest: str, status: Status, reason: str) -> Status:
        sender, now = request.sender, utc(time())
        folder = f"quarantine/{sender.site}"
        event = InstanceQuarantined(
            time=now,
            site=sender.site,
            reason=reason,
            sending_ae=sender.calling_ae,
            called_ae=sender.called_ae,
            stored=self._store.ref(folder, digest, ".bin", part.stat().st_size),
        )
        note = {
            "reason": reason,
            "status": f"0x{status:04X}",
            "received_at": now.isoformat(),
            "sending_ae": sender.calling_ae,
            "called_ae": sender.called_ae,
            "transfer_syntax": request.meta.transfer_syntax,
        }
        place = self._store.root / folder / f"{digest}.bin"
        write_whole(place.with_suffix(".json"), json.dumps(note, indent=2).encode())
        self._place(part, place, lambda: self._journal.post(DICOM_SERIES.name, encode(event), now.timestamp()))
        metrics.QUARANTINED.labels(sender.site).inc()
        return self._refused(request, status, f"{reason}; kept in quarantine as {digest}")

    def _place(self, part: Path, place: Path, write: Callable[[], T]) -> T:
        make_folder(place.parent)
        part.rename(place)
        return self._committer.commit(place.parent, write)


def is_storage(sop_class: str) -> bool:
    """Whether objects of this SOP class are stored: all storage classes of the standard, and all private ones.

    The prefix is where the standard puts storage classes, so that one newer than this code is stored as well.
    """
    if not sop_class.startswith("1.2.840.10008."):
        return bool(sop_class)
    return sop_class.startswith("1.2.840.10008.5.1.4.1.1.") or sop_class in _STORAGE
