"""Nothing leaves a process whose fence is closed. All attempts are made in one of their own: a fence stays."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sinsok.replay.fence import ACTING
from sinsok.stack.part import CHECKOUT

ATTEMPTS = {
    "a mail": "import smtplib",
    "a mail, loaded before": "SMTP('127.0.0.1', {port})",
    "a web hook": "httpx.get('http://127.0.0.1:{port}/')",
    "HL7 over MLLP": "socket.create_connection(('127.0.0.1', {port}))",
    "a connection of whatever kind": "socket.socket().connect_ex(('127.0.0.1', {port}))",
    "a Kafka producer": "kafka.producer('127.0.0.1:{port}')",
    "a consumer group": "kafka.consumer('127.0.0.1:{port}', 'sinsok-infer')",
    "the PACS writer": "import gateways.pacs.courier",
    "the notifier": "import gateways.alerts.notifier",
    "a ledger": "sqlite3.connect(HOME / 'ledger.sqlite')",
    "an object": "FileStore(HOME).put(b'x', 'label-maps', '.npz')",
    "another file": "(HOME / 'note').write_text('x')",
    "a file that goes": "(HOME / 'there').unlink()",
    "a program": "subprocess.run(['true'])",
}

ALLOWED = {
    "its own database": "sqlite3.connect(FOLDER / 'run.sqlite').execute('CREATE TABLE one (two)')",
    "its own file": "(FOLDER / 'sub').mkdir() or (FOLDER / 'sub' / 'note').write_text('x')",
    "reading": "(HOME / 'there').read_bytes()",
}

PROCESS = """
import json, socket, sqlite3, subprocess, sys
from pathlib import Path
from smtplib import SMTP
import httpx
from pynetdicom import AE as Entity
from gateways import kafka
from gateways.objects import FileStore
from sinsok.replay import fence
HOME, FOLDER, AE = Path(sys.argv[1]), Path(sys.argv[1]) / "run", Entity()
del sys.modules["smtplib"]
fence.close(FOLDER)
said = {}
for name, attempt in json.loads(sys.argv[2]).items():
    try:
        exec(attempt)
    except BaseException as error:
        said[name] = f"{type(error).__name__}: {error}"
    else:
        said[name] = "done"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Path]]:
    """What became of each attempt behind one fence, and the folder it was made in."""
    folder = tmp_path_factory.mktemp("fenced")
    (folder / "run").mkdir()
    (folder / "there").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        port = server.getsockname()[1]
        attempts = {name: attempt.format(port=port) for name, attempt in (ATTEMPTS | ALLOWED).items()}
        command = [sys.executable, "-c", PROCESS, str(folder), json.dumps(attempts)]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
        assert done.stdout, done.stderr
        yield json.loads(done.stdout.splitlines()[-1]), folder
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("name", ATTEMPTS)
def test_what_acts_is_refused(name: str, tried: tuple[dict[str, str], Path]) -> None:
    said, folder = tried
    assert said[name].startswith("Fenced: a replay "), said[name]
    assert {path.name for path in folder.iterdir()} == {"run", "there"}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_a_run_needs_is_not(name: str, tried: tuple[dict[str, str], Path]) -> None:
    assert tried[0][name] == "done"


def test_the_acting_gateways_are_named() -> None:
    """A gateway that is new has to be put on one side of the fence."""
    reading = {"archive", "audit", "imaging", "inference", "letters", "traces", "watch", "dicom"}
    folders = {path.name for path in (CHECKOUT / "gateways").iterdir() if (path / "__init__.py").exists()}
    acting = {name.split(".")[1] for name in ACTING if name.startswith("gateways.")}
    assert folders - acting == reading - acting
