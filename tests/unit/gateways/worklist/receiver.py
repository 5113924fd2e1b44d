"""A receiver of MLLP that answers by script: each connection has its steps, one for every message."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Self

START, END, RETURN = b"\x0b", b"\x1c", b"\r"
Step = Callable[[bytes], bytes | None]
"""From a message to the bytes sent back; None closes the connection without a word."""


def acknowledge(message: bytes, code: str = "AA", *more: str, answers: str | None = None) -> str:
    identifier = message.split(b"|")[9].decode()
    msa = f"MSA|{code}|{identifier if answers is None else answers}"
    return "\r".join([r"MSH|^~\&|RIS|H|SINSOK||20300101||ACK^R01^ACK|RIS1|P|2.5.1", msa, *more, ""])


def framed(text: str) -> bytes:
    return START + text.encode() + END + RETURN


def answer(code: str = "AA", *more: str, answers: str | None = None) -> Step:
    return lambda message: framed(acknowledge(message, code, *more, answers=answers))


def says(content: bytes) -> Step:
    return lambda _: content


def closes(_: bytes) -> None:
    return None


class ScriptedReceiver:
    """Plays its scripts, one a connection, and closes each connection at the end of its script."""

    def __init__(self, *connections: Iterable[Step], tls: ssl.SSLContext | None = None) -> None:
        self._scripts = connections
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.received: list[bytes] = []
        self._silence = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def stays_silent(self, _: bytes) -> None:
        self._silence.wait(30)

    def end_silence(self) -> None:
        self._silence.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end_silence()
        # A connection of our own wakes a listener that still waits for one.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            pass
        self._listener.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        for script in self._scripts:
            with contextlib.suppress(OSError):
                connection, _ = self._listener.accept()
                if self._tls:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                with connection:
                    self._play(connection, script)

    def _play(self, connection: socket.socket, script: Iterable[Step]) -> None:
        for step in script:
            message = b""
            while not message.endswith(END + RETURN):
                more = connection.recv(65_536)
                if not more:
                    return
                message += more
            assert message.startswith(START)
            self.received.append(message[1:-2])
            reply = step(message[1:-2])
            if reply is None:
                return
            connection.sendall(reply)
