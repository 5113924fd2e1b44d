"""Questions to a process from outside: does it listen, what does it answer."""

import http.client
import socket

from sinsok.stack.part import Listener, NotReady


def connect(host: str, port: int, *, timeout_s: float = 2.0) -> None:
    """Open and close a TCP connection. Raises :class:`NotReady` when nobody accepts it."""
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except OSError as error:
        raise NotReady(f"{host}:{port} does not accept connections ({error.strerror or error})") from None


def get(address: str, path: str, *, timeout_s: float = 3.0) -> str:
    """The body of ``http://address/path``. Raises :class:`NotReady` unless it is answered with status 200."""
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise NotReady(f"http://{address}{path} does not answer ({error or type(error).__name__})") from None
    finally:
        connection.close()
    if response.status != http.client.OK:
        said = " ".join(body.split())[:200]
        raise NotReady(f"http://{address}{path} answers {response.status}" + (f": {said}" if said else ""))
    return body


def is_free(listener: Listener) -> bool:
    """Whether a part could bind this address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((listener.host, listener.port))
        except OSError:
            return False
    return True
