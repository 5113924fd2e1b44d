"""OpenSMTPD on a free port, with STARTTLS and a password before it: what it takes on lies in a folder.

It wants to be started by root and keeps its queue under /var/spool. In a mount namespace of its own neither the
machine's mail server nor another test sees it. Debian 12's OpenSMTPD (6.8) cannot complete a TLS handshake where
OpenSSL is 3: it keeps private keys in a process of its own, in a way that OpenSSL 3 no longer asks. So TLS ends here.
"""

import base64
import os
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Self, cast

from tests.integration.certificates import Authority
from tests.stack import free_port, wait_until

ADDRESS, USER, PASSWORD = "night@hospital.test", "sinsok", "let me in"
_ISOLATED = "mount -t tmpfs none /var/spool && mount -t tmpfs none /run && exec smtpd -d -f"


class MailServer:
    """``port`` offers STARTTLS, ``plain_port`` does not, and ``login_port`` insists on it and on the password."""

    def __init__(self, authority: Authority) -> None:
        self.ca = authority.certificate
        self.plain_port = free_port()
        # Not in a test's own folder, which only its owner may enter: mail is written by another user.
        self._folder = Path(tempfile.mkdtemp(prefix="sinsok-mail-"))
        self._folder.chmod(0o755)
        self._box = self._folder / "box"
        self._box.mkdir()
        shutil.chown(self._box, "nobody")
        self._configuration = self._folder / "smtpd.conf"
        self._configuration.write_text(
            f'table boxes {{ "{ADDRESS}" = "nobody" }}\n'
            f"listen on 127.0.0.1 port {self.plain_port} hostname mail.test\n"
            f'action box maildir "{self._box}" virtual <boxes>\n'
            'match from any for domain "hospital.test" action box\n'
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made = authority.signs("mail.test")
        context.load_cert_chain(made.certificate, made.key)
        self._fronts = [_Front(context, self.plain_port, login=login) for login in (False, True)]
        self.port, self.login_port = (front.server_address[1] for front in self._fronts)

    def start(self) -> Self:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", f"{_ISOLATED} {self._configuration}"],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._greets, seconds=20)
        for front in self._fronts:
            threading.Thread(target=front.serve_forever, daemon=True).start()
        return self

    def _greets(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.plain_port), 1) as connection:
                assert connection.recv(3) == b"220"
        except OSError as error:
            raise AssertionError(f"{error}: {(self._folder / 'log').read_text()[-2000:]}") from None

    def stop(self) -> None:
        for front in self._fronts:
            front.shutdown()
            front.server_close()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def mails(self) -> list[EmailMessage]:
        """What lies in the box."""
        files = sorted((self._box / "new").glob("*"))
        return [cast(EmailMessage, message_from_bytes(file.read_bytes(), policy=default)) for file in files]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)


class _Front(socketserver.ThreadingTCPServer):
    """Ends TLS and asks for the password; then the client speaks with OpenSMTPD."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, context: ssl.SSLContext, behind: int, *, login: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.context, self.behind, self.login = context, behind, login

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust the certificate hangs up."""


class _Session(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        front, plain = cast(_Front, self.server), cast(socket.socket, self.request)
        plain.sendall(b"220 mail.test ESMTP\r\n")
        while line := _line(plain):
            match line.strip().upper().partition(b" ")[0]:
                case b"EHLO":
                    plain.sendall(b"250-mail.test\r\n250 STARTTLS\r\n")
                case b"STARTTLS":
                    plain.sendall(b"220 2.0.0 Go ahead\r\n")
                    with front.context.wrap_socket(plain, server_side=True) as client:
                        return self._secured(client, front.behind, asks=front.login)
                case _:
                    plain.sendall(b"530 5.7.0 Must issue a STARTTLS command first\r\n")
        return None

    def _secured(self, client: socket.socket, behind: int, *, asks: bool) -> None:
        while line := _line(client):
            verb, _, rest = line.strip().partition(b" ")
            match verb.upper():
                case b"EHLO":
                    client.sendall(b"250-mail.test\r\n250 " + (b"AUTH PLAIN" if asks else b"8BITMIME") + b"\r\n")
                case b"AUTH":
                    given = base64.b64decode(rest.removeprefix(b"PLAIN "))
                    asks = given != f"\0{USER}\0{PASSWORD}".encode()
                    client.sendall(b"535 5.7.8 Authentication failed\r\n" if asks else b"235 2.7.0 Come in\r\n")
                case _ if asks:
                    client.sendall(b"530 5.7.0 Authentication required\r\n")
                case _:
                    return self._pass_on(client, line, behind)
        return None

    def _pass_on(self, client: socket.socket, line: bytes, behind: int) -> None:
        with socket.create_connection(("127.0.0.1", behind)) as server:
            _line(server)
            server.sendall(b"EHLO front\r\n")
            while _line(server)[3:4] == b"-":
                pass
            server.sendall(line)
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def _line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (byte := connection.recv(1)):
        line += byte
    return line


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of them has hung up
