"""What all channels need to reach a far side: whose certificate is believed, and what its HTTP status means."""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx

from gateways.tls import TlsSettings, client_context
from schemas.failures import Refused, Unavailable

# It logs every address it asks: that of a chat service's webhook is a secret.
logging.getLogger("httpx").setLevel(logging.WARNING)

_PASSING: Final = frozenset({408, 425, 429})
"""Client errors that ask for patience and not for another request (RFC 9110, 8470, 6585)."""


def trusting(ca: Path | None) -> ssl.SSLContext:
    """For connections to who shows a certificate that the CA has signed; without one, any CA of the system.

    Raises :class:`schemas.failures.Unavailable` where the file cannot be used.
    """
    return client_context(TlsSettings(ca=ca)) if ca else ssl.create_default_context()


def request(
    method: str, url: str, headers: Mapping[str, str], body: bytes, *, ca: Path | None, timeout_s: float
) -> str:
    """Make a request; ``HTTP 200``, or what else of 2xx was answered within the time.

    Raises as :meth:`gateways.alerts.channel.Channel.send` does. What the far side wrote is neither read nor repeated.
    """
    try:
        status = asyncio.run(_status(method, url, headers, body, trusting(ca), timeout_s))
    except TimeoutError:
        raise Unavailable(f"no answer within {timeout_s:g} s") from None
    except httpx.InvalidURL:
        raise Refused("the address is no URL") from None
    except httpx.HTTPError as error:
        # Its text may hold the address, which may be a secret.
        raise Unavailable(f"no answer: {type(error).__name__}") from None
    if 200 <= status < 300:
        return f"HTTP {status}"
    if status >= 500 or status in _PASSING:
        raise Unavailable(f"HTTP {status}")
    raise Refused("HTTP 410: the address is gone" if status == 410 else f"HTTP {status}")


async def _status(
    method: str, url: str, headers: Mapping[str, str], body: bytes, trust: ssl.SSLContext, timeout_s: float
) -> int:
    # The time is for the answer as a whole: httpx's own limits begin anew with every byte.
    async with (
        asyncio.timeout(timeout_s),
        httpx.AsyncClient(verify=trust, timeout=timeout_s) as client,
        client.stream(method, url, headers=headers, content=body) as response,
    ):
        return response.status_code
