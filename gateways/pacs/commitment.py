"""Storage Commitment Push Model as its user (PS3.4, annex J): the request, and what a report says."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from gateways.dicom.association import Association
from gateways.dicom.command import Command, Field, Kind
from gateways.dicom.status import in_words, is_accepted, is_passing
from gateways.pacs.data_set import PARSE_FAULTS, decode, encode, text
from gateways.pacs.peer import Commitment, Instance
from schemas.failures import Refused, Unavailable

log = structlog.get_logger()
SUCCESS: Final = 0x0000
PROCESSING_FAILURE: Final = 0x0110
INVALID_ARGUMENT_VALUE: Final = 0x0115
_REQUEST_COMMITMENT: Final = 1
_REASONS: Final = {
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0119: "class/instance conflict",
    0x0122: "referenced SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}
"""Failure Reason (0008,1197), PS3.3, C.14.1.1."""


def commitment_contexts() -> list[PresentationContext]:
    """The presentation context of the service; we are its SCU, which is what is meant where no role is negotiated."""
    return [build_context(StorageCommitmentPushModel, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])]


def request(
    association: Association, transaction_uid: str, instances: Sequence[Instance], *, repeat_text: bool
) -> None:
    """Ask for it (N-ACTION, PS3.4, J.3.2). Raises :class:`schemas.failures.PortFailure` where it is not granted."""
    context = association.context(StorageCommitmentPushModel)
    if context is None:
        raise Refused("the PACS offers no storage commitment")
    action = Command.of(
        Kind.N_ACTION_RQ,
        {
            Field.MESSAGE_ID: association.next_message_id(),
            Field.REQUESTED_SOP_CLASS_UID: StorageCommitmentPushModel,
            Field.REQUESTED_SOP_INSTANCE_UID: StorageCommitmentPushModelInstance,
            Field.ACTION_TYPE_ID: _REQUEST_COMMITMENT,
        },
        data_set=True,
    )
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [_reference(instance) for instance in instances]
    association.send(context.context_id, action, encode(information, str(context.transfer_syntax[0])))
    response = association.response().command
    status = response.number(Field.STATUS)
    if status is None or not is_accepted(status):
        words = in_words(response, repeat_text=repeat_text)
        if status is not None and is_passing(status):
            raise Unavailable(f"the PACS cannot commit now: {words}")
        raise Refused(f"the PACS refused storage commitment: {words}")


def report(information: bytes, transfer_syntax: str) -> Commitment:
    """What an N-EVENT-REPORT says (PS3.4, J.3.3), whatever event type it names.

    Raises ``ValueError`` where it names no transaction.
    """
    ds = decode(information, transfer_syntax)
    transaction_uid = text(ds, "TransactionUID")
    if transaction_uid is None:
        raise ValueError("a report without a transaction UID")
    try:
        failed = {
            uid: _reason(item.get("FailureReason"))
            for item in ds.get("FailedSOPSequence") or ()
            if (uid := text(item, "ReferencedSOPInstanceUID"))
        }
        committed = _uids(ds.get("ReferencedSOPSequence") or ()) - failed.keys()
    except PARSE_FAULTS as error:
        raise ValueError(f"a report that cannot be read: {type(error).__name__}") from None
    return Commitment(transaction_uid, frozenset(committed), failed)


def handed_over(to: Callable[[Commitment], None] | None, reported: Commitment) -> int:
    """The status that a report is answered with: success once it is recorded, else the PACS is to try again."""
    if to is None:
        return PROCESSING_FAILURE
    try:
        to(reported)
    except Exception:  # the edge to the network: whatever it is, the PACS gets an answer
        log.exception("storage commitment not recorded", transaction_uid=reported.transaction_uid)
        return PROCESSING_FAILURE
    return SUCCESS


def _reference(instance: Instance) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = instance.sop_class_uid
    item.ReferencedSOPInstanceUID = instance.sop_instance_uid
    return item


def _uids(items: Iterable[Dataset]) -> set[str]:
    return {uid for item in items if (uid := text(item, "ReferencedSOPInstanceUID"))}


def _reason(code: object) -> str:
    if not isinstance(code, int):
        return "no reason given"
    return f"0x{code:04X} {_REASONS.get(code, 'unknown reason')}"
