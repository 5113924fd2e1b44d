"""What is negotiated when an association begins (PS3.8, 9.3.2 to 9.3.4; PS3.7, annex D)."""

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_requestor

from gateways.dicom.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

LONGEST_PDU: Final = 131_072
"""What a peer may send us."""
_LEAST_ACCEPTANCE, _LEAST_REJECTION = 68, 4
"""Bytes before the variable items."""
_DECODING_FAULTS: Final = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    struct.error,
)
"""What pynetdicom raises over bytes that are no such PDU."""
_APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"


class Negotiated(NamedTuple):
    """What the peer agreed to: the contexts it accepted, and the longest PDU it takes (0: no limit)."""

    contexts: tuple[PresentationContext, ...]
    longest_pdu: int


def association_request(called_ae: str, calling_ae: str, contexts: Sequence[PresentationContext]) -> bytes:
    """An A-ASSOCIATE-RQ PDU. The contexts get their identifiers."""
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    length, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = LONGEST_PDU
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    request = A_ASSOCIATE()
    request.application_context_name = _APPLICATION_CONTEXT
    request.called_ae_title = called_ae
    request.calling_ae_title = calling_ae
    request.presentation_context_definition_list = list(contexts)
    request.user_information = [length, implementation, version]
    return bytes(A_ASSOCIATE_RQ(request).encode())


def negotiated(body: bytes, contexts: Sequence[PresentationContext]) -> Negotiated:
    """What an A-ASSOCIATE-AC PDU says. Raises ``ValueError`` where it cannot be read."""
    try:
        answer = _primitive(A_ASSOCIATE_AC(), 0x02, body)
        results = negotiate_as_requestor(list(contexts), answer.presentation_context_definition_results_list)
        longest = int(answer.maximum_length_received or 0)
    except _DECODING_FAULTS:
        raise ValueError("the answer to the association request cannot be read") from None
    return Negotiated(tuple(context for context in results if context.result == 0), longest)


def rejection(body: bytes) -> str:
    """The reason of an A-ASSOCIATE-RJ PDU, in words."""
    try:
        answer = _primitive(A_ASSOCIATE_RJ(), 0x03, body)
        return f"{answer.result_str.lower()}: {answer.reason_str}"
    except _DECODING_FAULTS:
        return "rejected without a reason that DICOM knows"


def _primitive(pdu: Any, pdu_type: int, body: bytes) -> Any:
    if len(body) < (_LEAST_ACCEPTANCE if pdu_type == 0x02 else _LEAST_REJECTION):
        raise ValueError("too short")
    pdu.decode(struct.pack(">BBI", pdu_type, 0, len(body)) + body)
    return pdu.to_primitive()
