"""DICOM's side of the gateway: associations, C-ECHO and C-STORE on pynetdicom.

What pynetdicom leaves to us: more than one called AE title on one port, a limit on a message while it arrives, Nagle's
algorithm (which would hold back every answer for 40 ms), and a peer that stops in the middle of a PDU.
"""

import socket
import time
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import structlog
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import Verification

from gateways import metrics
from gateways.dicom.admission import Admission, Rejection
from gateways.dicom.batches import Batches
from gateways.dicom.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, FileMeta
from gateways.dicom.leniency import accept_what_comes
from gateways.dicom.receiver import Receiver, Sender, StoreRequest
from gateways.dicom.settings import DicomGatewaySettings
from schemas.events import BatchEnd

log = structlog.get_logger()
_BACKLOG: Final = 128
_C_STORE_RQ: Final = 0x0001
_LONGEST_UID: Final = 64
_MB: Final = 1024 * 1024


@dataclass
class _Open:
    """An open association: who sends, and what it is doing."""

    sender: Sender
    log: Any
    busy: bool = False
    stored_at: float | None = None
    """When it last stored something; None where its batch is published."""
    let_go: bool = field(default=False)
    """The message that is arriving has outgrown the limit."""


class DicomServer:
    """Accepts associations and hands every data set to the receiver, every end of sending to the batches."""

    def __init__(
        self, settings: DicomGatewaySettings, admission: Admission, receiver: Receiver, batches: Batches
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._receiver = receiver
        self._batches = batches
        self._open: dict[Any, _Open] = {}
        self._ae = AE(ae_title="SINSOK")
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._ae.maximum_associations = settings.max_associations
        self._ae.maximum_pdu_size = settings.max_pdu_bytes
        self._ae.acse_timeout = settings.acse_timeout_s
        self._ae.dimse_timeout = settings.dimse_timeout_s
        self._ae.network_timeout = settings.network_timeout_s
        self._server: Any = None

    def start(self) -> None:
        """Listen. Raises ``OSError`` where the address is taken or not ours."""
        accept_what_comes()
        self._server = self._ae.start_server(
            (self._settings.host, self._settings.port),
            block=False,
            contexts=[build_context(Verification)],  # storage contexts are accepted as they are proposed
            evt_handlers=[
                (evt.EVT_CONN_OPEN, self._connected),
                (evt.EVT_REQUESTED, self._requested),
                (evt.EVT_ESTABLISHED, self._established),
                (evt.EVT_PDU_RECV, self._limit),
                (evt.EVT_DIMSE_RECV, self._complain),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_C_ECHO, lambda _: 0x0000),
                (evt.EVT_RELEASED, lambda event: self._end(event.assoc, BatchEnd.RELEASED)),
                (evt.EVT_ABORTED, lambda event: self._end(event.assoc, BatchEnd.ABORTED)),
            ],
        )
        self._server.socket.listen(_BACKLOG)

    def stop(self) -> None:
        """Accept nobody any more, wait for the associations to end, abort those that do not."""
        self._server.shutdown()
        until = time.monotonic() + self._settings.stop_grace_s
        while self._open and time.monotonic() < until:
            time.sleep(0.05)
            self.sweep()
        self._ae.shutdown()
        self.sweep()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def associations(self) -> set[str]:
        """The open associations, as the journal names them."""
        return {state.sender.association for state in list(self._open.values())}

    def sweep(self) -> None:
        """End the batch of every association that has gone quiet, and drop those that died without a word."""
        for assoc, state in list(self._open.items()):
            if not assoc.is_alive():
                self._end(assoc, BatchEnd.ABORTED)
            elif (
                state.stored_at is not None
                and not state.busy
                and time.monotonic() - state.stored_at > self._settings.idle_s
            ):
                state.stored_at = None
                self._batches.end(state.sender.association, BatchEnd.IDLE)
        metrics.OPEN_ASSOCIATIONS.set(len(self._open))

    def _connected(self, event: Any) -> None:
        connection: socket.socket = event.assoc.dul.socket.socket
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self._settings.dimse_timeout_s)

    def _requested(self, event: Any) -> None:
        request = event.assoc.requestor.primitive
        answer = self._admission.admit(request.called_ae_title, request.calling_ae_title)
        if isinstance(answer, Rejection):
            metrics.REJECTED_ASSOCIATIONS.labels(answer.name.lower()).inc()
            log.warning(
                "association rejected",
                reason=answer.name.lower().replace("_", " "),
                calling_ae=request.calling_ae_title,
                called_ae=request.called_ae_title,
                peer=event.assoc.requestor.address,
            )
            event.assoc.acse.send_reject(*answer.value)
            event.assoc.kill()

    def _established(self, event: Any) -> None:
        request = event.assoc.requestor.primitive
        calling, called = request.calling_ae_title.strip(), request.called_ae_title.strip()
        site = self._admission.admit(called, calling)
        assert isinstance(site, str)
        said = log.bind(site=site, calling_ae=calling, called_ae=called, peer=event.assoc.requestor.address)
        self._open[event.assoc] = _Open(Sender(uuid4().hex, site, calling, called), said)
        metrics.OPEN_ASSOCIATIONS.set(len(self._open))

    def _limit(self, event: Any) -> None:
        """Let the bytes of an arriving message go once it is too large: it will be refused, so why hold them."""
        message, state = event.assoc.dimse.message, self._open.get(event.assoc)
        if state and message and message.data_set and message.data_set.tell() > self._settings.max_object_mb * _MB:
            message.data_set.seek(0)
            message.data_set.truncate()
            state.let_go = True

    def _complain(self, event: Any) -> None:
        """Say what pynetdicom will not: it drops a C-STORE without an instance UID and aborts over one too long."""
        command, state = event.message.command_set, self._open.get(event.assoc)
        length = len(command.get("AffectedSOPInstanceUID") or "")
        if state and command.get("CommandField") == _C_STORE_RQ and not 0 < length <= _LONGEST_UID:
            metrics.UNANSWERED_INSTANCES.labels(state.sender.site).inc()
            state.log.warning("c-store not answered: its instance uid is empty or too long", length=length)

    def _store(self, event: Any) -> int:
        state = self._open[event.assoc]
        state.busy = True
        try:
            return self._receiver.store(
                StoreRequest(
                    sender=state.sender,
                    abstract_syntax=str(event.context.abstract_syntax),
                    meta=FileMeta(
                        str(event.request.AffectedSOPClassUID),
                        str(event.request.AffectedSOPInstanceUID),
                        str(event.context.transfer_syntax),
                    ),
                    data_set=event.request.DataSet.getvalue(),
                    too_large=state.let_go,
                )
            )
        finally:
            state.let_go = False
            state.stored_at = time.monotonic()
            state.busy = False

    def _end(self, assoc: Any, how: BatchEnd) -> None:
        # Forgotten only after its end is due: what an unknown association has touched is taken for aborted.
        if state := self._open.get(assoc):
            if how is BatchEnd.ABORTED:
                metrics.ABORTED_ASSOCIATIONS.labels(state.sender.site).inc()
                state.log.warning("association aborted")
            self._batches.end(state.sender.association, how)
            self._open.pop(assoc, None)
            metrics.OPEN_ASSOCIATIONS.set(len(self._open))
