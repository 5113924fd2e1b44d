"""TLS to a hospital's systems (DICOM PS3.15, B.12: BCP 195): both sides prove who they are, at least TLS 1.2."""

import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.failures import Unavailable


class TlsSettings(BaseModel):
    """Files in PEM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: Path = Field(description="Who may have signed the far side's certificate")
    certificate: Path | None = Field(default=None, description="Ours, where the far side wants to know who calls")
    key: Path | None = None
    server_name: str | None = Field(default=None, description="The name in its certificate; the host where not said")


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """For connections that we open: the far side's certificate has to be signed by the CA and to bear its name.

    Files are read anew each time, so a renewed certificate needs no restart. Raises
    :class:`schemas.failures.Unavailable` where one of them cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, settings)
    return context


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """For connections that the far side opens: it has to show a certificate that the CA has signed.

    Raises :class:`schemas.failures.Unavailable` where a file cannot be used, or there is no certificate of ours.
    """
    if settings.certificate is None:
        raise Unavailable("TLS cannot be offered without a certificate of ours")
    context = _HandshakeLater(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    _load(context, settings)
    return context


class _Closing(ssl.SSLSocket):
    """pynetdicom closes a socket only where shutting it down succeeds, which it does not once the peer is gone."""

    def shutdown(self, how: int) -> None:
        with suppress(OSError):
            super().shutdown(how)


class _HandshakeLater(ssl.SSLContext):
    """The handshake is done by the thread of the association: a silent client must not hold up the others."""

    sslsocket_class = _Closing

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        options["do_handshake_on_connect"] = False
        return super().wrap_socket(*arguments, **options)


def _load(context: ssl.SSLContext, settings: TlsSettings) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(settings.ca)
    except OSError as error:
        raise _unusable(settings.ca, error) from None
    if settings.certificate is not None:
        key = settings.key or settings.certificate
        try:
            # A password is given so that OpenSSL does not ask for one on a terminal.
            context.load_cert_chain(settings.certificate, key, password="")
        except OSError as error:
            raise _unusable(settings.certificate, error) from None


def _unusable(file: Path, error: OSError) -> Unavailable:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    why = (reason or "it is not in PEM").replace("_", " ")
    return Unavailable(f"the TLS file {file} or its key cannot be used: {why}")
