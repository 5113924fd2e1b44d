"""Storage SCU for the objects that results are written as (PS3.4, annex B)."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from struct import unpack_from
from typing import Final, NamedTuple

from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context

from gateways.dicom.association import Association
from gateways.dicom.command import Command, Field, Kind
from gateways.dicom.status import in_words, is_accepted, is_passing
from gateways.pacs.data_set import PARSE_FAULTS, encode
from gateways.pacs.peer import Answer, Instance, content_of
from schemas.failures import Unreadable

_MOST_UID_CHARACTERS: Final = 64
_DUPLICATE_SOP_INSTANCE: Final = 0x0111
_MEDIUM_PRIORITY: Final = 0
_PREAMBLE: Final = 132
_GROUP_LENGTH: Final = b"\x02\x00\x00\x00UL\x04\x00"
_EXPLICIT: Final = b"\x02\x00\x10\x00UI\x14\x00" + ExplicitVRLittleEndian.encode() + b"\0"


class _Ready(NamedTuple):
    """An object as it will be sent."""

    context_id: int
    data_set: bytes | memoryview


def storage_contexts(sop_classes: Iterable[str]) -> list[PresentationContext]:
    """Two contexts for each SOP class, so that the peer's answer says which of the two encodings it takes."""
    return [
        build_context(sop_class, syntax)
        for sop_class in sop_classes
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    ]


def store(
    association: Association, instances: Sequence[Instance], answers: dict[str, Answer], *, repeat_text: bool
) -> None:
    """Send those that ``answers`` has no answer to, and put it there as it comes.

    Raises :class:`gateways.dicom.association.AssociationAborted`, and :class:`schemas.failures.Unreadable` for an
    object that cannot be read.
    """
    missing = [instance for instance in instances if instance.sop_instance_uid not in answers]
    following = _ready(association, missing[0]) if missing else None
    for position, instance in enumerate(missing):
        ready = following
        if isinstance(ready, _Ready):
            association.send(ready.context_id, _request(association, instance), ready.data_set)
        try:
            # The next object is read while the peer is busy with this one.
            following = _ready(association, missing[position + 1]) if position + 1 < len(missing) else None
        finally:
            if isinstance(ready, _Ready):
                answers[instance.sop_instance_uid] = _answer(
                    instance, association.response().command, repeat_text=repeat_text
                )
            elif ready is not None:
                answers[instance.sop_instance_uid] = ready


def _request(association: Association, instance: Instance) -> Command:
    return Command.of(
        Kind.C_STORE_RQ,
        {
            Field.MESSAGE_ID: association.next_message_id(),
            Field.PRIORITY: _MEDIUM_PRIORITY,
            Field.AFFECTED_SOP_CLASS_UID: instance.sop_class_uid,
            Field.AFFECTED_SOP_INSTANCE_UID: instance.sop_instance_uid,
        },
        data_set=True,
    )


def _answer(instance: Instance, response: Command, *, repeat_text: bool) -> Answer:
    status = response.number(Field.STATUS)
    if status is None:
        return Answer(instance.sop_instance_uid, None, False, False, "answered without a status")
    code, _, words = in_words(response, repeat_text=repeat_text).partition(" ")
    # Under our UID there are only our bytes: a PACS that has it already was sent it before a crash.
    accepted = is_accepted(status) or status == _DUPLICATE_SOP_INSTANCE
    return Answer(instance.sop_instance_uid, code, accepted, is_passing(status), words)


def _ready(association: Association, instance: Instance) -> _Ready | Answer:
    """The object in an encoding that the peer takes, or why there is none."""
    if len(instance.sop_instance_uid) > _MOST_UID_CHARACTERS:
        return _not_sent(instance, f"its SOP Instance UID is longer than {_MOST_UID_CHARACTERS} characters")
    if context := association.context(instance.sop_class_uid, ExplicitVRLittleEndian):
        return _Ready(context.context_id, _data_set(instance))
    if context := association.context(instance.sop_class_uid, ImplicitVRLittleEndian):
        return _Ready(context.context_id, _implicit(instance))
    name = UID(instance.sop_class_uid).name
    return _not_sent(instance, f"the PACS takes {name} neither in Explicit nor in Implicit VR Little Endian")


def _not_sent(instance: Instance, why: str) -> Answer:
    return Answer(instance.sop_instance_uid, None, False, False, f"not sent: {why}")


def _data_set(instance: Instance) -> memoryview:
    """The data set of a file, as it lies there."""
    content = content_of(instance)
    if content[128:_PREAMBLE] == b"DICM" and content.startswith(_GROUP_LENGTH, _PREAMBLE):
        (length,) = unpack_from("<I", content, _PREAMBLE + 8)
        start = _PREAMBLE + 12 + length
        if _EXPLICIT in content[_PREAMBLE:start]:
            return memoryview(content)[start:]
    raise Unreadable("an object to be sent is no DICOM file in Explicit VR Little Endian")


def _implicit(instance: Instance) -> bytes:
    """The data set of a file, encoded anew for a peer that takes nothing else."""
    content = content_of(instance)
    try:
        return encode(dcmread(BytesIO(content)), ImplicitVRLittleEndian)
    except PARSE_FAULTS as error:
        raise Unreadable(f"an object to be sent cannot be encoded: {type(error).__name__}") from None
