"""rsyslog on a free port, over TLS, as an audit record repository: what it took lies in a file, one message a line.

`make setup` unpacks Debian's packages under ``.local/rsyslog`` without installing them, since a machine has one syslog
daemon.
"""

import os
import socket
import subprocess
from pathlib import Path
from string import Template
from typing import Final, NamedTuple, Self

from sinsok.stack.part import CHECKOUT
from tests.integration.certificates import Authority
from tests.stack import free_port, wait_until

_USR: Final = CHECKOUT / ".local" / "rsyslog" / "usr"
_CONFIGURATION: Final = Template("""
global(
    workDirectory="$folder" maxMessageSize="64k" defaultNetstreamDriver="ossl"
    defaultNetstreamDriverCAFile="$ca" defaultNetstreamDriverCertFile="$certificate"
    defaultNetstreamDriverKeyFile="$key"
)
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="$port")
template(name="line" type="list") {
    property(name="pri") constant(value=" ") property(name="protocol-version") constant(value=" ")
    property(name="timereported" dateFormat="rfc3339") constant(value=" ") property(name="app-name")
    constant(value=" ") property(name="msgid") constant(value=" ") property(name="msg") constant(value="\\n")
}
action(type="omfile" file="$folder/taken" template="line")
""")


class Taken(NamedTuple):
    """A message as rsyslog understood it."""

    priority: str
    version: str
    time: str
    application: str
    message_id: str
    text: str


class SyslogDaemon:
    """``port`` takes syslog over TLS; ``ca`` has signed its certificate."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        folder.mkdir()
        self.ca, self.port = authority.certificate, free_port()
        self._folder = folder
        made = authority.signs("repository")
        filled = {"folder": folder, "ca": self.ca, "certificate": made.certificate, "key": made.key, "port": self.port}
        (folder / "rsyslog.conf").write_text(_CONFIGURATION.substitute(filled))

    def __enter__(self) -> Self:
        (modules,) = (_USR / "lib").glob("*/rsyslog")
        options = ("-n", "-f", self._folder / "rsyslog.conf", "-i", self._folder / "pid", "-M", modules)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(_USR / "sbin" / "rsyslogd"), *map(str, options)],
                env={**os.environ, "LD_LIBRARY_PATH": str(modules.parent)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._listens)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _listens(self) -> None:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError as error:
            raise AssertionError(f"{error}: {(self._folder / 'log').read_text()[-2000:]}") from None

    def taken(self) -> list[Taken]:
        """What it took, in order."""
        place = self._folder / "taken"
        lines = place.read_text(encoding="utf-8-sig").splitlines() if place.exists() else []
        return [Taken(*line.split(" ", 5)) for line in lines]
