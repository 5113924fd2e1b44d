"""What all channels need to reach a far side: whose certificate is believed, and what its HTTP status means."""

import asyncio
import logging
import re
import ssl
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from gateways.alerts.channel import Shut
from gateways.tls import TlsSettings, client_context
from schemas.failures import Refused, Unavailable

# It logs every address it asks: that of a chat service's webhook is a secret.
logging.getLogger("httpx").setLevel(logging.WARNING)

T = TypeVar("T")
_PASSING: Final = frozenset({408, 425, 429})
"""Client errors that ask for patience and not for another request (RFC 9110, 8470, 6585)."""
_SHUT: Final = {401: "", 403: "", 404: "", 407: "", 410: ": the address is gone"}
"""Client errors that any message would get."""
_LONGEST_ANSWER: Final = 65_536


def trusting(ca: Path | None) -> ssl.SSLContext:
    """For connections to who shows a certificate that the CA has signed; without one, any CA of the system.

    Raises :class:`schemas.failures.Unavailable` where the file cannot be used.
    """
    return client_context(TlsSettings(ca=ca)) if ca else ssl.create_default_context()


def distrust(error: BaseException | None) -> str:
    """Why a certificate is not believed, where that is behind an error; else empty."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message.partition(",")[0]  # behind the comma stands the host
        error = error.__cause__ or error.__context__
    return ""


def run(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives. Unlike ``asyncio.run`` this waits for no thread whose name server does not answer."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def reach(url: str, ca: Path | None, timeout_s: float) -> None:
    """Connect, with TLS where the address says so, and ask for nothing. Raises :class:`Unavailable`."""
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        raise Unavailable("the address is no URL") from None
    secure = address.scheme == "https"

    async def connect() -> None:
        trust, port = (trusting(ca), 443) if secure else (None, 80)
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(address.host, address.port or port, ssl=trust)
        writer.transport.abort()

    try:
        run(connect())
    except TimeoutError:
        raise Unavailable(f"no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise Unavailable(f"no answer: {distrust(error) or type(error).__name__}") from None


def request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    ca: Path | None,
    timeout_s: float,
    expect: re.Pattern[str] | None = None,
) -> str:
    """Make a request; ``HTTP 200``, or what else of 2xx was answered within the time.

    Raises as :meth:`gateways.alerts.channel.Channel.send` does. What the far side wrote is not repeated, and read only
    where something is expected of it.
    """
    reads = _LONGEST_ANSWER if expect else 0
    try:
        # The system's list of authorities takes longer to load than a page to send.
        trust = trusting(ca) if httpx.URL(url).scheme == "https" else None
        status, said = run(_answer(method, url, headers, body, trust, timeout_s, reads))
    except TimeoutError:
        raise Unavailable(f"no answer within {timeout_s:g} s") from None
    except httpx.InvalidURL:
        raise Refused("the address is no URL") from None
    except httpx.HTTPError as error:
        # Its text may hold the address, which may be a secret.
        raise Unavailable(f"no answer: {distrust(error) or type(error).__name__}") from None
    if 200 <= status < 300:
        if expect and not expect.search(said):
            raise Refused(f"HTTP {status}, and what it says is not what is expected")
        return f"HTTP {status}"
    if status in _SHUT:
        raise Shut(f"HTTP {status}{_SHUT[status]}")
    if status >= 500 or status in _PASSING:
        raise Unavailable(f"HTTP {status}")
    raise Refused(f"HTTP {status}")


async def _answer(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    trust: ssl.SSLContext | None,
    timeout_s: float,
    reads: int,
) -> tuple[int, str]:
    """Its status, and what it says, up to so many bytes."""
    # The time is for the answer as a whole: httpx's own limits begin anew with every byte.
    async with (
        asyncio.timeout(timeout_s),
        httpx.AsyncClient(verify=trust or False, timeout=timeout_s) as client,
        client.stream(method, url, headers=headers, content=body) as response,
    ):
        said = b""
        if reads:
            async for part in response.aiter_bytes():
                said += part
                if len(said) >= reads:
                    break
        return response.status_code, said[:reads].decode(response.charset_encoding or "utf-8", errors="replace")
