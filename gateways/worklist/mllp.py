"""MLLP: HL7 messages on a TCP connection (HL7 Transport Specification: MLLP, release 1).

python-hl7's own client waits for ever and takes half an answer for a whole one.
"""

import select
import socket
import ssl
import time
from typing import Final

from gateways.tls import TlsSettings, client_context
from schemas.failures import Unavailable

_START: Final = b"\x0b"
_END: Final = b"\x1c"
_RETURN: Final = b"\r"
_BETWEEN: Final = b"\r\n"
_LONGEST: Final = 1 << 20


class Mllp:
    """A connection to a receiver, opened when it is needed and kept between messages. One caller at a time."""

    def __init__(
        self, host: str, port: int, *, connect_timeout_s: float, timeout_s: float, tls: TlsSettings | None = None
    ) -> None:
        self._address = (host, port)
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._server_name = (tls and tls.server_name) or host
        self._tls = tls
        self._socket: socket.socket | None = None
        self._received = b""

    def open(self) -> None:
        """Connect where there is no connection yet. Raises :class:`schemas.failures.Unavailable`."""
        self._open()

    def exchange(self, message: bytes) -> bytes:
        """Send a message and wait for what comes back.

        A connection that the far side closed since the last message is opened anew, once: the message is the same,
        and its control id lets the receiver drop it. Raises :class:`schemas.failures.Unavailable`.
        """
        kept = self._socket is not None and not self._is_stale()
        if not kept:
            self.close()
        try:
            return self._exchange(message)
        except _ClosedBetween:
            if not kept:
                raise Unavailable("the worklist closed the connection without an answer") from None
        try:
            return self._exchange(message)
        except _ClosedBetween:
            raise Unavailable("the worklist closed the connection without an answer, twice") from None

    def send(self, message: bytes) -> None:
        """Send a message that is not answered: the accept acknowledgment of an application acknowledgment."""
        try:
            self._open().sendall(_START + message + _END + _RETURN)
        except OSError as error:
            self.close()
            raise Unavailable(f"the worklist's connection broke: {_name(error)}") from error

    def receive(self) -> bytes:
        """The next message that the far side sends of its own accord. Raises as :meth:`exchange` does."""
        try:
            return self._receive()
        except _ClosedBetween:
            raise Unavailable("the worklist closed the connection before its second answer") from None

    def close(self) -> None:
        """Close the connection; the next message opens another."""
        self._received = b""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, message: bytes) -> bytes:
        connection = self._open()
        try:
            connection.settimeout(self._timeout_s)
            connection.sendall(_START + message + _END + _RETURN)
        except TimeoutError as error:
            self.close()
            raise Unavailable(f"the worklist took no message for {self._timeout_s:g} s") from error
        except OSError as error:
            self.close()
            raise _ClosedBetween from error
        return self._receive()

    def _receive(self) -> bytes:
        # After any failure the connection is closed: a late answer must not meet the next message.
        deadline = time.monotonic() + self._timeout_s
        try:
            return self._block(deadline)
        except BaseException:
            self.close()
            raise

    def _open(self) -> socket.socket:
        if self._socket is None:
            try:
                connection = socket.create_connection(self._address, self._connect_timeout_s)
            except OSError as error:
                raise Unavailable(f"the worklist cannot be reached: {_name(error)}") from error
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls:
                    context = client_context(self._tls)
                    connection = context.wrap_socket(connection, server_hostname=self._server_name)
            except OSError as error:
                connection.close()
                raise Unavailable(f"no TLS with the worklist: {_name(error)}") from error
            self._socket = connection
        return self._socket

    def _is_stale(self) -> bool:
        """Whether the far side has closed, or said something that nobody asked for."""
        assert self._socket is not None
        pending = self._received
        while self._readable():
            try:
                self._socket.settimeout(0)
                more = self._socket.recv(4096)
            except ssl.SSLWantReadError:  # what came is TLS's own, such as a session ticket
                break
            except OSError:
                return True
            if not more:
                return True
            pending += more
        self._received = b""
        return bool(pending.strip(_BETWEEN))

    def _readable(self) -> bool:
        assert self._socket is not None
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(select.select([self._socket], [], [], 0)[0])

    def _block(self, deadline: float) -> bytes:
        received = self._received.lstrip(_BETWEEN)
        while _END not in received:
            if received and not received.startswith(_START):
                raise Unavailable("the worklist answered with something that is not MLLP")
            if len(received) > _LONGEST:
                raise Unavailable(f"the worklist's answer does not end within {_LONGEST} bytes")
            more = self._more(deadline, begun=bool(received))
            if not more:
                raise Unavailable("the worklist closed the connection in the middle of its answer")
            received = (received + more).lstrip(_BETWEEN)
        block, _, self._received = received.partition(_END)
        if not block.startswith(_START):
            raise Unavailable("the worklist answered with something that is not MLLP")
        return block[1:]

    def _more(self, deadline: float, *, begun: bool) -> bytes:
        assert self._socket is not None
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            more = self._socket.recv(65_536)
        except TimeoutError:
            raise Unavailable(f"the worklist did not answer within {self._timeout_s:g} s") from None
        except OSError as error:
            if begun:
                raise Unavailable(f"the worklist's connection broke: {_name(error)}") from error
            raise _ClosedBetween from error
        if not more and not begun:
            raise _ClosedBetween
        return more


class _ClosedBetween(Exception):
    """The far side had closed before a byte of an answer came."""


def _name(error: OSError) -> str:
    return error.strerror or type(error).__name__
