"""An association from the requestor's side (PS3.8, section 7, and annex E for messages in P-DATA), for one thread.

pynetdicom encodes and decodes its negotiation. Messages are written and read here, by whoever calls: pynetdicom's own
association parses a data set and encodes it anew, hands every PDU from thread to thread and looks for what has arrived
once in a millisecond, and its requests can lose their response to its own reading thread.
"""

import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pynetdicom.presentation import PresentationContext

from gateways.dicom.command import Command
from gateways.dicom.connection import (
    Address,
    AssociationAborted,
    AssociationFailed,
    AssociationRejected,
    PeerSilent,
    PeerUnreachable,
    connect,
)
from gateways.dicom.negotiation import Negotiated, association_request, negotiated, rejection

__all__ = [
    "UNRECOGNIZED_OPERATION",
    "Address",
    "Association",
    "AssociationAborted",
    "AssociationFailed",
    "AssociationRejected",
    "Message",
    "PeerSilent",
    "PeerUnreachable",
    "associate",
]

_HEADER: Final = 6
"""PDU type, a reserved byte, and the length of what follows (PS3.8, 9.3.1)."""
_ITEM: Final = 6
"""Length, presentation context and message control header of a presentation data value (PS3.8, 9.3.5.1)."""
_P_DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 0x04, 0x05, 0x06, 0x07
_ACCEPT, _REJECT = 0x02, 0x03
_LARGEST_PDU: Final = 4 * 1024 * 1024
"""Larger than anything that a peer may send: what we announce, or a negotiation."""
_LONGEST_FRAGMENT: Final = 1024 * 1024
"""Where the peer sets no limit."""
_BUFFERS: Final = 512
"""In one call to the kernel, which takes 1024 (IOV_MAX)."""
_COMMAND, _LAST = 0x01, 0x02
UNRECOGNIZED_OPERATION: Final = 0x0211
"""PS3.7, C.5.24."""


@dataclass(frozen=True)
class Message:
    """A DIMSE message that has arrived."""

    context_id: int
    command: Command
    data_set: bytes


def associate(
    address: Address,
    contexts: Sequence[PresentationContext],
    timeout_s: float,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> "Association":
    """Open an association. Raises :class:`AssociationFailed`."""
    connection = connect(address, timeout_s, tls, server_name)
    association = Association(connection, address, timeout_s)
    try:
        association.negotiate(contexts)
    except BaseException:
        association.abort()
        raise
    return association


class Association:
    """An open association. Every failure ends it; ``alive`` says whether it can still be used."""

    def __init__(self, connection: socket.socket, address: Address, timeout_s: float) -> None:
        self._connection = connection
        self._address = address
        self._timeout_s = timeout_s
        self._message_id = 0
        self._negotiated = Negotiated((), 0)
        self._values: deque[tuple[int, int, bytes]] = deque()
        """Presentation data values that have arrived: context, message control header, fragment."""
        self.alive = True
        self.on_request: Callable[[Message], int] = lambda _: UNRECOGNIZED_OPERATION
        """Answers what the peer asks on this association with a status."""

    def negotiate(self, contexts: Sequence[PresentationContext]) -> None:
        """Request it of the peer (PS3.8, 7.1). Raises :class:`AssociationFailed`."""
        self._write([association_request(self._address.called_ae, self._address.calling_ae, contexts)])
        pdu_type, body = self._read_pdu(self._deadline())
        if pdu_type == _REJECT:
            raise AssociationRejected(f"{rejection(body)} by {self._address}")
        if pdu_type != _ACCEPT:
            raise AssociationAborted(f"the association request was answered with an abort by {self._address}")
        try:
            self._negotiated = negotiated(body, contexts)
        except ValueError as error:
            raise AssociationAborted(f"{error}: {self._address}") from None

    @property
    def contexts(self) -> tuple[PresentationContext, ...]:
        """The presentation contexts that the peer has accepted."""
        return self._negotiated.contexts

    def context(self, abstract_syntax: str, transfer_syntax: str | None = None) -> PresentationContext | None:
        """The accepted context in which we may ask for a service; None where the peer does not offer it."""
        for context in self._negotiated.contexts:
            fits = transfer_syntax in (None, str(context.transfer_syntax[0]))
            if context.abstract_syntax == abstract_syntax and fits and context.as_scu:
                return context
        return None

    def next_message_id(self) -> int:
        """A number that no outstanding request of this association has."""
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def send(self, context_id: int, command: Command, data_set: bytes | memoryview = b"") -> None:
        """Write a message. Raises :class:`AssociationAborted`."""
        buffers: list[bytes | memoryview] = []
        fragment = min((self._negotiated.longest_pdu or _LONGEST_FRAGMENT) - _ITEM, _LONGEST_FRAGMENT)
        for flag, content in ((_COMMAND, memoryview(command.encode())), (0, memoryview(data_set))):
            for start in range(0, len(content), fragment):
                part = content[start : start + fragment]
                control = flag | (_LAST if start + fragment >= len(content) else 0)
                size = len(part)
                buffers.append(struct.pack(">BBIIBB", _P_DATA, 0, size + _ITEM, size + 2, context_id, control))
                buffers.append(part)
        self._write(buffers)

    def receive(self, within_s: float | None = None) -> Message | None:
        """The next message. None where ``within_s`` is said and none has begun to arrive by then.

        Raises :class:`AssociationAborted` where the association has ended or the peer is silent.
        """
        begun = b""
        if within_s is not None and not self._values and not (begun := self._begun(within_s)):
            return None
        command, data_set = bytearray(), bytearray()
        header: Command | None = None
        deadline = self._deadline()
        try:
            while True:
                if not self._values:
                    self._values.extend(self._data_values(*self._read_pdu(deadline, begun)))
                    begun = b""
                    continue
                context_id, control, part = self._values.popleft()
                (command if control & _COMMAND else data_set).extend(part)
                if control & _COMMAND and control & _LAST:
                    header = Command.decode(bytes(command))
                if header is not None and control & _LAST and (not control & _COMMAND or not header.has_data_set):
                    return Message(context_id, header, bytes(data_set))
        except (ValueError, struct.error):
            self.abort()
            raise AssociationAborted(f"what {self._address} sends is no DIMSE message") from None

    def response(self) -> Message:
        """The answer to what was sent; what the peer asks meanwhile is answered. Raises :class:`AssociationAborted`."""
        while True:
            message = self.receive()
            if message is not None and message.command.is_response:
                return message
            if message is not None:
                self._answer(message)

    def serve(self, within_s: float) -> bool:
        """Answer one request of the peer. False where none came in time. Raises :class:`AssociationAborted`."""
        message = self.receive(within_s)
        if message is not None and not message.command.is_response:
            self._answer(message)
        return message is not None

    def release(self) -> None:
        """End it in an orderly way (PS3.8, 7.2)."""
        if not self.alive:
            return
        with suppress(AssociationFailed):
            self._write([struct.pack(">BBII", _RELEASE_RQ, 0, 4, 0)])
            deadline = self._deadline()
            while self._read_pdu(deadline)[0] != _RELEASE_RP:
                pass
        self._end()

    def abort(self) -> None:
        """End it at once (PS3.8, 7.3)."""
        if self.alive:
            with suppress(OSError):
                self._connection.sendall(struct.pack(">BBIBBBB", _ABORT, 0, 4, 0, 0, 0, 0))
            self._end()

    def _answer(self, request: Message) -> None:
        status = self.on_request(request)
        self.send(request.context_id, request.command.response(status))

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout_s

    def _data_values(self, pdu_type: int, body: bytes) -> list[tuple[int, int, bytes]]:
        """The presentation data values of a PDU; the end of the association where it says so."""
        if pdu_type == _RELEASE_RQ:
            with suppress(AssociationFailed):
                self._write([struct.pack(">BBII", _RELEASE_RP, 0, 4, 0)])
        if pdu_type != _P_DATA:
            self._end()
            how = "released" if pdu_type == _RELEASE_RQ else "aborted"
            raise AssociationAborted(f"the association was {how} by {self._address}")
        values, at = [], 0
        while at < len(body):
            length, context_id, control = struct.unpack_from(">IBB", body, at)
            if length < 2 or at + 4 + length > len(body):
                raise ValueError("a presentation data value ends beyond its PDU")
            values.append((context_id, control, body[at + _ITEM : at + 4 + length]))
            at += 4 + length
        return values

    def _begun(self, within_s: float) -> bytes:
        """The first byte of what arrives; empty where nothing does."""
        self._check()
        try:
            self._connection.settimeout(max(within_s, 0.001))
            if first := self._connection.recv(1):
                return first
        except TimeoutError:
            return b""
        except OSError:
            pass
        self._end()
        raise AssociationAborted(f"the association was broken off by {self._address}")

    def _read_pdu(self, deadline: float, begun: bytes = b"") -> tuple[int, bytes]:
        header = begun + self._read(_HEADER - len(begun), deadline)
        pdu_type, _, length = struct.unpack(">BBI", header)
        if not 0x01 <= pdu_type <= 0x07 or length > _LARGEST_PDU:
            self.abort()
            raise AssociationAborted(f"what {self._address} sends is not DICOM")
        return pdu_type, self._read(length, deadline)

    def _read(self, count: int, deadline: float) -> bytes:
        self._check()
        content = bytearray()
        try:
            while len(content) < count:
                self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
                part = self._connection.recv(count - len(content))
                if not part:
                    raise ConnectionResetError
                content += part
        except TimeoutError:
            self.abort()
            raise PeerSilent(f"no answer within {self._timeout_s:g} s from {self._address}") from None
        except OSError:
            self._end()
            raise AssociationAborted(f"the association was broken off by {self._address}") from None
        return bytes(content)

    def _write(self, buffers: list[bytes | memoryview]) -> None:
        self._check()
        try:
            self._connection.settimeout(self._timeout_s)
            for start in range(0, len(buffers), _BUFFERS):
                self._write_all(buffers[start : start + _BUFFERS])
        except TimeoutError:
            self._end()
            raise PeerSilent(f"nothing was taken within {self._timeout_s:g} s by {self._address}") from None
        except OSError:
            self._end()
            raise AssociationAborted(f"the association was broken off by {self._address}") from None

    def _write_all(self, buffers: list[bytes | memoryview]) -> None:
        if isinstance(self._connection, ssl.SSLSocket):  # it writes one buffer at a time
            self._connection.sendall(b"".join(buffers))
            return
        while buffers:
            sent = self._connection.sendmsg(buffers)
            written = 0
            while written < len(buffers) and sent >= len(buffers[written]):
                sent -= len(buffers[written])
                written += 1
            buffers = buffers[written:]
            if sent:
                buffers[0] = buffers[0][sent:]

    def _check(self) -> None:
        if not self.alive:
            raise AssociationAborted(f"the association has ended with {self._address}")

    def _end(self) -> None:
        self.alive = False
        self._connection.close()
