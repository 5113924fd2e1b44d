"""The sending client: Storage SCU (DICOM PS3.4, annex B) for files as they are.

::

    SendFailed                what was answered before it was reported to ``on_result``
    ├── PeerUnreachable       nothing answers at the address
    ├── AssociationRejected   the peer refused to talk, with its reason
    └── AssociationAborted    the peer broke off, or did not answer in time
"""

import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, Final

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

from gateways.dicom.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_Answers = SimpleQueue[C_STORE | None]
"""Responses as they arrive; None when the association has ended."""

_MOST_CONTEXTS: Final = 128
"""Presentation contexts an association can propose (PS3.8, 7.1.1.13: odd identifiers from 1 to 255)."""
_MOST_UID_CHARACTERS: Final = 64
_PREAMBLE: Final = 132
_FIRST_GROUPS: Final = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""How a file without preamble begins: file meta information, or group 0008 in either byte order."""
_ENCODINGS: Final = {
    (True, True): str(ImplicitVRLittleEndian),
    (False, True): str(ExplicitVRLittleEndian),
    (False, False): str(ExplicitVRBigEndian),
}
_PARSE_FAULTS: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,
    EOFError,
    OverflowError,
    struct.error,
)
"""What pydicom raises over bytes that are no data set."""


class SendFailed(Exception):
    """The association ended before everything was answered."""


class PeerUnreachable(SendFailed):
    """Nothing answers at the address."""


class AssociationRejected(SendFailed):
    """The peer refused the association (PS3.8, 9.3.4); the message is its reason in words."""


class AssociationAborted(SendFailed):
    """The peer broke the association off, or did not answer in time."""


class NotDicom(ValueError):
    """A file that cannot be sent as a DICOM instance, and why."""


@dataclass(frozen=True)
class InstanceFile:
    """An instance as it lies in a file: what identifies it, and where its data set begins."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    offset: int

    def data_set(self) -> bytes:
        """The encoded data set, as it is in the file."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read()


@dataclass(frozen=True)
class Result:
    """What became of an instance. ``status`` is the peer's (PS3.4, B.2.3), None where it could not be asked."""

    instance: InstanceFile
    status: int | None
    words: str

    @property
    def accepted(self) -> bool:
        """Whether the peer took responsibility: success, or success with a warning."""
        return self.status is not None and code_to_category(self.status) in ("Success", "Warning")

    @property
    def warned(self) -> bool:
        """Whether it was accepted with a warning, for example that elements were coerced."""
        return self.accepted and self.status != 0


@dataclass(frozen=True)
class Summary:
    """How many instances were accepted, how many of them with a warning, and how many were refused."""

    accepted: int
    warned: int
    refused: int


def send(
    instances: Sequence[InstanceFile],
    *,
    host: str,
    port: int,
    called: str,
    calling: str,
    on_result: Callable[[Result], None],
    timeout_s: float = 30.0,
) -> Summary:
    """C-STORE every instance in its own transfer syntax, byte for byte, and report each answer as it comes.

    One association, or more where the instances need more than 128 presentation contexts. Identifiers that are no
    valid UIDs are sent as they stand; pydicom is told, for the whole process, not to warn of such values.

    Raises :class:`PeerUnreachable`, :class:`AssociationRejected` or :class:`AssociationAborted`, and ``OSError`` where
    a file cannot be read.
    """
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    results: list[Result] = []

    def report(result: Result) -> None:
        results.append(result)
        on_result(result)

    for contexts, members in _batches(instances):
        assoc, answers = _associate(contexts, host, port, called, calling, timeout_s)
        try:
            for number, instance in enumerate(members):
                report(_store(assoc, answers, instance, number % 0xFFFF + 1, timeout_s))
        finally:
            if assoc.is_established:
                assoc.release()
    accepted = sum(result.accepted for result in results)
    return Summary(accepted, sum(result.warned for result in results), len(results) - accepted)


def read_instance(path: Path) -> InstanceFile:
    """Look at a file with or without a preamble and file meta information (PS3.10, 7.1).

    Identifiers of the data set go before those of the file meta information, which may be those of another object.
    Raises :class:`NotDicom`, and ``OSError`` where the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_PREAMBLE)
        if start[128:] != b"DICM" and start[:2] not in _FIRST_GROUPS:
            raise NotDicom("is not DICOM")
        try:
            return _instance(path, file, _PREAMBLE if start[128:] == b"DICM" else 0)
        except NotDicom:
            raise
        except _PARSE_FAULTS:
            raise NotDicom("looks like DICOM and cannot be parsed") from None


def _instance(path: Path, file: BinaryIO, start: int) -> InstanceFile:
    file.seek(start)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    offset = file.tell()
    file.seek(0)
    ds = dcmread(file, force=True, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
    sop_class = _uid(ds, "SOPClassUID") or _uid(meta, "MediaStorageSOPClassUID")
    sop_instance = _uid(ds, "SOPInstanceUID") or _uid(meta, "MediaStorageSOPInstanceUID")
    if sop_class == MediaStorageDirectoryStorage:
        raise NotDicom("is a DICOMDIR, which lists instances and is none")
    if not sop_class or not sop_instance:
        raise NotDicom("has no SOP Class UID or no SOP Instance UID")
    syntax = _uid(meta, "TransferSyntaxUID") or _ENCODINGS[ds.original_encoding]
    return InstanceFile(path, sop_class, sop_instance, syntax, offset)


def _uid(ds: Dataset, keyword: str) -> str:
    """A UID as it stands in the file, valid or not."""
    element = ds.get_item(keyword)
    value = element.value if element is not None else b""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip("\0 ")


def _batches(
    instances: Iterable[InstanceFile],
) -> list[tuple[list[PresentationContext], list[InstanceFile]]]:
    """Instances by association, in their order, each with the presentation contexts it needs."""
    members: dict[tuple[str, str], list[tuple[int, InstanceFile]]] = {}
    for order, instance in enumerate(instances):
        members.setdefault((instance.sop_class_uid, instance.transfer_syntax_uid), []).append((order, instance))
    pairs = list(members)
    batches = []
    for start in range(0, len(pairs), _MOST_CONTEXTS):
        chosen = pairs[start : start + _MOST_CONTEXTS]
        ordered = sorted((item for pair in chosen for item in members[pair]), key=lambda item: item[0])
        batches.append(([build_context(*pair) for pair in chosen], [instance for _, instance in ordered]))
    return batches


def _associate(
    contexts: list[PresentationContext], host: str, port: int, called: str, calling: str, timeout_s: float
) -> tuple[Association, _Answers]:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise PeerUnreachable(f"{host} is no known host: {error.strerror}") from None
    address = min(addresses)[4][0]
    connected = []
    answers: _Answers = SimpleQueue()

    def opened(event: Any) -> None:
        connected.append(event.address)
        # Nagle's algorithm holds back the end of each message until the peer acknowledges the part before it.
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def answered(event: Any) -> None:
        message = event.message.message_to_primitive()
        if isinstance(message, C_STORE) and message.Status is not None:
            answers.put(message)

    def ended(_: Any) -> None:
        answers.put(None)

    ae = AE(ae_title=calling)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    handlers = [
        (evt.EVT_CONN_OPEN, opened),
        (evt.EVT_DIMSE_RECV, answered),
        (evt.EVT_ABORTED, ended),
        (evt.EVT_CONN_CLOSE, ended),
    ]
    assoc = ae.associate(address, port, contexts, ae_title=called, evt_handlers=handlers)
    if assoc.is_established or assoc.rejected_contexts:
        return assoc, answers
    if assoc.is_rejected:
        answer = assoc.acceptor.primitive
        raise AssociationRejected(
            f"{answer.result_str.lower()}: {answer.reason_str} (called {called}, calling {calling})"
        )
    if connected:
        raise AssociationAborted(f"{host}:{port} did not answer the association request")
    raise PeerUnreachable(f"nothing answers at {host}:{port}")


def _store(assoc: Association, answers: _Answers, instance: InstanceFile, message_id: int, timeout_s: float) -> Result:
    context = next((cx for cx in assoc.accepted_contexts if _fits(cx, instance)), None)
    if context is None:
        sop_class, syntax = UID(instance.sop_class_uid).name, UID(instance.transfer_syntax_uid).name
        return Result(instance, None, f"not sent: the peer does not accept {sop_class} in {syntax}")
    if len(instance.sop_instance_uid) > _MOST_UID_CHARACTERS:
        return Result(
            instance, None, f"not sent: its SOP Instance UID is longer than {_MOST_UID_CHARACTERS} characters"
        )
    request = C_STORE()
    request.MessageID = message_id
    request.Priority = 2
    request.AffectedSOPClassUID = instance.sop_class_uid
    request.AffectedSOPInstanceUID = instance.sop_instance_uid
    request.DataSet = BytesIO(instance.data_set())
    response = _exchange(assoc, answers, request, context.context_id, timeout_s)
    return Result(instance, response.Status, _words(response))


def _exchange(assoc: Association, answers: _Answers, request: C_STORE, context_id: int, timeout_s: float) -> C_STORE:
    """Send a request and wait for its response.

    :meth:`Association.send_c_store` would parse the data set and encode it anew. It also reads the response off a queue
    that the association's own thread empties too, and under load can lose it; here the response is seen on arrival.
    """
    if assoc.is_established:
        assoc.dimse.send_msg(request, context_id)
        with suppress(Empty):
            response = answers.get(timeout=timeout_s)
            if response is not None:
                return response
    if assoc.is_established:
        assoc.abort()
    raise AssociationAborted("the peer ended the association or did not answer in time")


def _fits(context: PresentationContext, instance: InstanceFile) -> bool:
    return bool(
        context.abstract_syntax == instance.sop_class_uid
        and context.transfer_syntax[0] == instance.transfer_syntax_uid
        and context.as_scu
    )


def _words(response: C_STORE) -> str:
    _, meaning = STORAGE_SERVICE_CLASS_STATUS.get(response.Status, ("", "unknown status"))
    comment = f": {response.ErrorComment}" if response.ErrorComment else ""
    return f"0x{response.Status:04X} {meaning or 'Success'}{comment}"
