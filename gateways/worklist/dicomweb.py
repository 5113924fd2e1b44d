"""DICOMweb requests about workitems: one connection a request, one answer within a bounded time (PS3.18, chapter 8)."""

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from gateways.tls import client_context
from gateways.worklist.settings import UpsSettings
from schemas.failures import Refused, Unavailable

_JSON = "application/dicom+json"
_LONGEST = 1 << 20
_TRY_AGAIN = {408, 425, 429}


class DicomWeb:
    """The worklist service at a URL."""

    def __init__(self, settings: UpsSettings) -> None:
        url = urlsplit(settings.url)
        assert url.hostname is not None
        self._host, self._port, self._root = url.hostname, url.port, url.path.rstrip("/")
        self._connect_timeout_s, self._timeout_s = settings.connect_timeout_s, settings.timeout_s
        self._token = settings.token
        self._secured = url.scheme == "https"
        self._tls = settings.tls

    def ask(self, method: str, path: str, body: object = None, *, expected: set[int]) -> tuple[int, Any]:
        """The status, one of ``expected``, and the JSON that came with it, if any.

        Raises :class:`schemas.failures.Unavailable` where the server is away, overloaded, or answers in no known way,
        and :class:`schemas.failures.Refused` for a status that says no. What the server wrote is not repeated.
        """
        try:
            status, content = self._request(method, path, body)
        except TimeoutError as error:
            raise Unavailable(f"the worklist did not answer within {self._timeout_s:g} s") from error
        except OSError as error:
            raise Unavailable(f"the worklist cannot be reached: {error.strerror or type(error).__name__}") from error
        except http.client.HTTPException as error:
            raise Unavailable(f"the worklist did not answer in HTTP: {type(error).__name__}") from error
        if status in expected:
            return status, _parsed(content)
        if status >= 500 or status in _TRY_AGAIN:
            raise Unavailable(f"the worklist says try again: HTTP {status}")
        raise Refused(f"the worklist refused {method}: HTTP {status}")

    def _context(self) -> ssl.SSLContext:
        return client_context(self._tls) if self._tls else ssl.create_default_context()

    def _request(self, method: str, path: str, body: object) -> tuple[int, bytes]:
        headers = {"Accept": _JSON}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        content = None
        if body is not None:
            headers["Content-Type"] = _JSON
            content = json.dumps(body, ensure_ascii=False).encode()
        connection = (
            http.client.HTTPSConnection(
                self._host, self._port, timeout=self._connect_timeout_s, context=self._context()
            )
            if self._secured
            else http.client.HTTPConnection(self._host, self._port, timeout=self._connect_timeout_s)
        )
        try:
            connection.connect()
            connection.sock.settimeout(self._timeout_s)
            connection.request(method, f"{self._root}{path}", content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_LONGEST)
        finally:
            connection.close()


def _parsed(content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except ValueError:
        return None
