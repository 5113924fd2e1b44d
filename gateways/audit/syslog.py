"""Audit messages to a repository: RFC 5424 over TLS (RFC 5425), as PS3.15, A.6 asks for."""

import os
import socket
import ssl
from datetime import UTC, datetime
from typing import Final, Self

from gateways.tls import TlsSettings, client_context
from schemas.failures import Unavailable

_PRIORITY: Final = 85
"""Facility 10, security and authorization messages; severity 5, normal but significant (PS3.15, A.6)."""
_MESSAGE_ID: Final = "DICOM+RFC3881"
_TIMEOUT_S: Final = 10.0


class SyslogServer:
    """A connection to a syslog server, opened and closed by ``with``.

    Its certificate has to be signed by one of ``tls.ca`` and to bear its name.
    """

    def __init__(self, host: str, port: int, tls: TlsSettings) -> None:
        self._host = host
        self._port = port
        self._tls = tls

    def __enter__(self) -> Self:
        """Raises :class:`Unavailable` where it does not answer, or is not who it should be."""
        context = client_context(self._tls)
        try:
            plain = socket.create_connection((self._host, self._port), _TIMEOUT_S)
            try:
                self._socket = context.wrap_socket(plain, server_hostname=self._tls.server_name or self._host)
            except BaseException:
                plain.close()
                raise
        except ssl.SSLCertVerificationError as error:
            raise self._away(f"its certificate is not accepted: {error.verify_message}") from None
        except (OSError, ssl.SSLError) as error:
            raise self._away(error.strerror or str(error)) from None
        return self

    def __exit__(self, *_: object) -> None:
        """Tell the server that nothing more comes, so that what was sent is not cut off."""
        try:
            self._socket.unwrap()
        except OSError:
            pass  # it hung up first: what it had taken it has
        finally:
            self._socket.close()

    def send(self, xml: bytes, time: datetime) -> None:
        """Send a message. Syslog answers nothing: that it was taken by the other end's TCP is all one knows.

        Raises :class:`Unavailable`.
        """
        framed = frame(xml, time, socket.gethostname(), os.getpid())
        try:
            self._socket.sendall(framed)
        except (OSError, ssl.SSLError) as error:
            raise self._away(error.strerror or str(error)) from None

    def _away(self, why: str) -> Unavailable:
        return Unavailable(f"syslog server {self._host}:{self._port}: {why}")


def frame(xml: bytes, time: datetime, host: str, process: int) -> bytes:
    """A syslog message behind its length in bytes (RFC 5425, 4.3)."""
    at = time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    header = f"<{_PRIORITY}>1 {at} {host or '-'} sinsok {process} {_MESSAGE_ID} - "
    message = header.encode("ascii", "replace") + b"\xef\xbb\xbf" + xml
    return f"{len(message)} ".encode() + message
