"""Where a PACS reports what it has committed to, on associations that it opens (PS3.4, J.3.3)."""

import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from gateways.dicom.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from gateways.pacs.commitment import INVALID_ARGUMENT_VALUE, handed_over, report
from gateways.pacs.data_set import accept_any_value
from gateways.pacs.peer import Commitment
from gateways.tls import TlsSettings, server_context

log = structlog.get_logger()
_BACKLOG: Final = 128
_CALLED_AE_UNKNOWN: Final = (1, 1, 7)
"""Result, source and diagnostic (PS3.8, table 9-21)."""


class CommitmentListener:
    """Receives the reports of every PACS that was asked under one of our AE titles.

    ``on_commitment`` is called by threads of the listener, more than one at a time. The PACS hears success when it
    returns, and a processing failure, after which it tries again, when it raises: it has to record what it is given.
    """

    def __init__(
        self,
        host: str,
        port: int,
        ae_titles: Iterable[str],
        on_commitment: Callable[[Commitment], None],
        *,
        tls: TlsSettings | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self._address = (host, port)
        self._on_commitment = on_commitment
        self._tls = tls
        self._timeout_s = timeout_s
        # Spaces around an AE title mean nothing (PS3.5, 6.2).
        self._ae_titles = frozenset(title.strip() for title in ae_titles)
        self._ae = AE()
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._ae.maximum_associations = 50
        self._ae.acse_timeout = self._ae.dimse_timeout = self._ae.network_timeout = timeout_s
        self._ae.add_supported_context(Verification)
        # Here the PACS is the SCP although it opens the association, and may say so (role selection, PS3.7, D.3.3.4).
        self._ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        self._server: Any = None

    def start(self) -> None:
        """Listen. Raises ``OSError`` where the address is taken or not ours, and ``Unavailable`` for TLS files."""
        accept_any_value()
        _config.LOG_HANDLER_LEVEL = "none"  # messages hold identifiers
        self._server = self._ae.start_server(
            self._address,
            block=False,
            ssl_context=server_context(self._tls) if self._tls else None,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, self._connected),
                (evt.EVT_REQUESTED, self._requested),
                (evt.EVT_C_ECHO, lambda _: 0x0000),
                (evt.EVT_N_EVENT_REPORT, self._reported),
            ],
        )
        self._server.socket.listen(_BACKLOG)

    def stop(self) -> None:
        """Accept nobody any more, and end the associations that are open."""
        if self._server is not None:
            self._server.shutdown()
            self._ae.shutdown()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def _connected(self, event: Any) -> None:
        connection: socket.socket = event.assoc.dul.socket.socket
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self._timeout_s)

    def _requested(self, event: Any) -> None:
        # pynetdicom knows one AE title alone.
        if event.assoc.requestor.primitive.called_ae_title.strip() not in self._ae_titles:
            event.assoc.acse.send_reject(*_CALLED_AE_UNKNOWN)
            event.assoc.kill()

    def _reported(self, event: Any) -> tuple[int, None]:
        try:
            encoded = event.request.EventInformation
            reported = report(encoded.getvalue() if encoded else b"", str(event.context.transfer_syntax))
        except ValueError as error:
            log.warning(
                "a storage commitment report cannot be understood", peer=event.assoc.requestor.address, error=str(error)
            )
            return INVALID_ARGUMENT_VALUE, None
        return handed_over(self._on_commitment, reported), None
