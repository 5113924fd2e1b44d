"""The connection to an application entity, and how there may come to be none.

::

    AssociationFailed
    ├── PeerUnreachable       nothing answers at the address, or TLS cannot be agreed on
    ├── AssociationRejected   the peer refused to talk, with its reason
    └── AssociationAborted    the peer broke off
        └── PeerSilent        it did not answer in time
"""

import socket
import ssl
from dataclasses import dataclass


class AssociationFailed(Exception):
    """There is no association, or no longer; the text is one line."""


class PeerUnreachable(AssociationFailed):
    """Nothing answers at the address."""


class AssociationRejected(AssociationFailed):
    """The peer refused the association (PS3.8, 9.3.4); the message is its reason in words."""


class AssociationAborted(AssociationFailed):
    """The peer broke the association off."""


class PeerSilent(AssociationAborted):
    """The peer did not answer in time."""


@dataclass(frozen=True)
class Address:
    """Where an application entity is, and who calls it."""

    host: str
    port: int
    called_ae: str
    calling_ae: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port} (called {self.called_ae}, calling {self.calling_ae})"


def connect(address: Address, timeout_s: float, tls: ssl.SSLContext | None, server_name: str | None) -> socket.socket:
    """Open a connection, with TLS where a context is given. Raises :class:`PeerUnreachable`."""
    try:
        connection = socket.create_connection((address.host, address.port), timeout_s)
    except socket.gaierror as error:
        raise PeerUnreachable(f"{address.host} is no known host: {error.strerror}") from None
    except OSError as error:
        raise PeerUnreachable(f"nothing answers at {address}: {error.strerror or error}") from None
    try:
        # Nagle's algorithm holds back the end of each message until the peer acknowledges the part before it.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls.wrap_socket(connection, server_hostname=server_name or address.host) if tls else connection
    except OSError as error:
        connection.close()
        raise PeerUnreachable(f"no TLS with {address}: {_tls_words(error)}") from None


def _tls_words(error: OSError) -> str:
    """Why a handshake failed (RFC 8446, section 6), as an administrator would say it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it did not answer the handshake in time"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or "it closed the connection"
