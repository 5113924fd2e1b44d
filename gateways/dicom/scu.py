"""The sending client: Storage SCU (DICOM PS3.4, annex B) for files as they are.

What it raises is drawn in :mod:`gateways.dicom.association`; what was answered before was reported to ``on_result``.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

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
from pynetdicom.presentation import PresentationContext, build_context

from gateways.dicom.association import (
    Address,
    Association,
    AssociationAborted,
    AssociationFailed,
    AssociationRejected,
    PeerUnreachable,
    associate,
)
from gateways.dicom.command import Command, Field, Kind
from gateways.dicom.status import in_words, is_accepted

__all__ = [
    "AssociationAborted",
    "AssociationRejected",
    "InstanceFile",
    "NotDicom",
    "PeerUnreachable",
    "Result",
    "SendFailed",
    "Summary",
    "read_instance",
    "send",
]

SendFailed = AssociationFailed
"""The association ended before everything was answered."""

_MOST_CONTEXTS: Final = 128
"""Presentation contexts an association can propose (PS3.8, 7.1.1.13: odd identifiers from 1 to 255)."""
_MOST_UID_CHARACTERS: Final = 64
_LOW_PRIORITY: Final = 2
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
        return self.status is not None and is_accepted(self.status)

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
        association = associate(Address(host, port, called, calling), contexts, timeout_s)
        try:
            for instance in members:
                report(_store(association, instance))
        finally:
            association.release()
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


def _store(association: Association, instance: InstanceFile) -> Result:
    context = association.context(instance.sop_class_uid, instance.transfer_syntax_uid)
    if context is None:
        sop_class, syntax = UID(instance.sop_class_uid).name, UID(instance.transfer_syntax_uid).name
        return Result(instance, None, f"not sent: the peer does not accept {sop_class} in {syntax}")
    if len(instance.sop_instance_uid) > _MOST_UID_CHARACTERS:
        return Result(
            instance, None, f"not sent: its SOP Instance UID is longer than {_MOST_UID_CHARACTERS} characters"
        )
    request = Command.of(
        Kind.C_STORE_RQ,
        {
            Field.MESSAGE_ID: association.next_message_id(),
            Field.PRIORITY: _LOW_PRIORITY,
            Field.AFFECTED_SOP_CLASS_UID: instance.sop_class_uid,
            Field.AFFECTED_SOP_INSTANCE_UID: instance.sop_instance_uid,
        },
        data_set=True,
    )
    association.send(context.context_id, request, instance.data_set())
    response = association.response().command
    # Said on the terminal of who chose the files, and kept nowhere.
    return Result(instance, response.number(Field.STATUS), in_words(response, repeat_text=True))
