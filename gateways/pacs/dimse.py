"""A PACS over DIMSE: storage, query and storage commitment on one association, opened when needed and kept."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import RLock
from typing import Final, TypeVar

from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    Verification,
)

from gateways.dicom.association import (
    UNRECOGNIZED_OPERATION,
    Address,
    Association,
    AssociationAborted,
    AssociationFailed,
    Message,
    PeerSilent,
    associate,
)
from gateways.dicom.command import Command, Field, Kind
from gateways.dicom.status import in_words
from gateways.pacs import commitment, querying, storing
from gateways.pacs.data_set import accept_any_value
from gateways.pacs.peer import Answer, Commitment, Instance, StudyPatient
from gateways.tls import TlsSettings, client_context
from schemas.failures import PortFailure, Refused, Unavailable

_T = TypeVar("_T")
_RESULT_CLASSES: Final = frozenset(
    (
        str(Comprehensive3DSRStorage),
        str(ComprehensiveSRStorage),
        str(EnhancedSRStorage),
        str(KeyObjectSelectionDocumentStorage),
        str(SecondaryCaptureImageStorage),
        str(SegmentationStorage),
    )
)
"""Proposed on every association, so that one serves every kind of result."""
_AT_ONCE_S: Final = 0.02
"""How long a report is waited for at a PACS that has not yet reported on the association that asked."""


class Dimse:
    """Implements :class:`gateways.pacs.peer.Pacs`. May be called by several threads, one at a time.

    A PACS may report a commitment on the association it was asked on, or on one that it opens
    (:class:`gateways.pacs.listener.CommitmentListener`). Of the first kind, a report on what was just asked is
    returned; any other, come late or twice, goes to ``on_commitment``, and is answered with a failure where that
    raises.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float = 30.0,
        tls: TlsSettings | None = None,
        on_commitment: Callable[[Commitment], None] | None = None,
        report_within_s: float = 1.0,
        repeat_error_text: bool = False,
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._tls = tls
        self._on_commitment = on_commitment
        self._report_within_s = self._wait_s = report_within_s
        self._repeat_text = repeat_error_text
        self._lock = RLock()
        self._association: Association | None = None
        self._proposed: frozenset[str] = _RESULT_CLASSES
        self._asked: str | None = None
        self._reported: Commitment | None = None
        accept_any_value()

    def store(self, study_uid: str, instances: Sequence[Instance]) -> list[Answer]:
        """C-STORE each, in its encoding where the PACS takes that (PS3.4, B.2)."""
        classes = {instance.sop_class_uid for instance in instances}
        with self._lock:
            if not classes <= self._proposed:
                self.close()
                self._proposed |= classes
            answers: dict[str, Answer] = {}
            self._on_association(
                "storage",
                lambda association: storing.store(association, instances, answers, repeat_text=self._repeat_text),
            )
        return [answers[instance.sop_instance_uid] for instance in instances]

    def patient_of(self, study_uid: str) -> StudyPatient | None:
        """C-FIND at the study level (PS3.4, C.6.2.1, C.6.1.1 where the PACS has only the patient root)."""
        return self._on_association(
            "a query",
            lambda association: querying.patient_of(association, study_uid, repeat_text=self._repeat_text),
        )

    def holds(self, study_uid: str, instances: Sequence[Instance]) -> set[str]:
        """C-FIND at the image level (PS3.4, C.6.2.1.4)."""
        return self._on_association(
            "a query",
            lambda association: querying.held(association, study_uid, instances, repeat_text=self._repeat_text),
        )

    def request_commitment(self, transaction_uid: str, instances: Sequence[Instance]) -> Commitment | None:
        """N-ACTION (PS3.4, J.3.2), and the report where it comes on this association within moments."""
        with self._lock:
            self._asked, self._reported = transaction_uid, None
            try:
                self._on_association(
                    "storage commitment",
                    lambda association: commitment.request(
                        association, transaction_uid, instances, repeat_text=self._repeat_text
                    ),
                )
                return self._report()
            except Unavailable:
                if self._reported is None:
                    raise
                return self._reported
            finally:
                self._asked = None

    def reach(self) -> None:
        """C-ECHO (PS3.7, 9.1.5) on an association of its own, under the AE titles and with the TLS of all others.

        Raises :class:`schemas.failures.Unavailable` and :class:`schemas.failures.Refused`.
        """
        try:
            association = self._associate([build_context(Verification)])
            try:
                self._echo(association)
            finally:
                association.release()
        except AssociationFailed as error:
            raise Unavailable(f"the PACS is away: {error}") from None

    def close(self) -> None:
        """Release the association, once what has arrived on it is answered."""
        with self._lock:
            association, self._association = self._association, None
            if association is not None:
                with suppress(AssociationAborted):
                    while association.serve(0.0):
                        pass
                association.release()

    def _on_association(self, service: str, work: Callable[[Association], _T]) -> _T:
        with self._lock:
            try:
                if self._association is not None and self._association.alive:
                    # It may have ended at the other side long ago, which shows only when it is used.
                    with suppress(AssociationAborted):
                        return self._answered(work, self._association)
                self._association = self._opened()
                return self._answered(work, self._association)
            except PeerSilent as error:
                raise Unavailable(f"the PACS is silent: {error}") from None
            except AssociationAborted as error:
                # Some end it like this where the AE title that calls is not allowed the service.
                raise Unavailable(f"the PACS broke off over {service}: {error}") from None
            except AssociationFailed as error:
                raise Unavailable(f"the PACS is away: {error}") from None

    def _answered(self, work: Callable[[Association], _T], association: Association) -> _T:
        try:
            return work(association)
        except PeerSilent as error:
            raise Unavailable(f"the PACS is silent: {error}") from None
        except PortFailure as error:
            raise type(error)(f"{error}: {self._address}") from None

    def _opened(self) -> Association:
        contexts = [
            *commitment.commitment_contexts(),
            *querying.query_contexts(),
            *storing.storage_contexts(sorted(self._proposed)),
        ]
        association = self._associate(contexts)
        association.on_request = lambda message: self._asked_by_peer(association, message)
        return association

    def _associate(self, contexts: Sequence[PresentationContext]) -> Association:
        tls = client_context(self._tls) if self._tls else None
        server_name = self._tls.server_name if self._tls else None
        return associate(self._address, contexts, self._timeout_s, tls, server_name)

    def _echo(self, association: Association) -> None:
        context = association.context(Verification)
        if context is None:
            raise Refused(f"the PACS answers no C-ECHO: {self._address}")
        fields = {Field.MESSAGE_ID: association.next_message_id(), Field.AFFECTED_SOP_CLASS_UID: Verification}
        association.send(context.context_id, Command.of(Kind.C_ECHO_RQ, fields, data_set=False))
        response = association.response().command
        if response.number(Field.STATUS) != 0:
            words = in_words(response, repeat_text=self._repeat_text)
            raise Refused(f"the PACS refused C-ECHO: {words}: {self._address}")

    def _report(self) -> Commitment | None:
        association = self._association
        if self._reported is None and association is not None:
            with suppress(AssociationAborted):
                while self._reported is None and association.serve(self._wait_s):
                    pass
        # Most PACS report on an association of their own, always: those are not waited for every time.
        self._wait_s = _AT_ONCE_S if self._reported is None else self._report_within_s
        return self._reported

    def _asked_by_peer(self, association: Association, message: Message) -> int:
        if message.command.number(Field.COMMAND_FIELD) != Kind.N_EVENT_REPORT_RQ:
            return UNRECOGNIZED_OPERATION
        syntax = next(
            (cx.transfer_syntax[0] for cx in association.contexts if cx.context_id == message.context_id), None
        )
        try:
            reported = commitment.report(message.data_set, str(syntax))
        except ValueError:
            return commitment.INVALID_ARGUMENT_VALUE
        if reported.transaction_uid == self._asked:
            self._reported = reported
            return commitment.SUCCESS
        return commitment.handed_over(self._on_commitment, reported)
