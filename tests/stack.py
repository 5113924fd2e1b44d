"""Real parts of the stack for tests: the production definitions, on free ports, to be started and hurt at will."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Self, TypeVar

from sinsok.settings import Settings, load
from sinsok.stack.kafka import kafka
from sinsok.stack.orthanc import orthanc
from sinsok.stack.part import CHECKOUT, NotReady, Part
from sinsok.stack.parts import parts
from sinsok.stack.processes import PROCESSES
from sinsok.stack.triton import triton

T = TypeVar("T")
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on and that this run has not handed out before.

    Below the kernel's ephemeral range, so that no outgoing connection takes it between a kill and the restart. Runs at
    the same time have ranges of their own: TEST_PORTS is where one begins.
    """
    start = int(os.environ.get("TEST_PORTS", 20_000 + os.getpid() % 10_000))
    for port in range(start, 32_000):
        if port in _given:
            continue
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port")


def wait_until(check: Callable[[], T], *, seconds: float = 180, every_s: float = 0.1) -> T:
    """Repeat a check until it no longer raises NotReady or AssertionError; raise its last complaint at the end.

    A check that takes long is repeated the less often, for what it waits for needs the processor too, unless a moment
    is waited for: then ``every_s`` is short.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        try:
            return check()
        except (NotReady, AssertionError):
            if time.monotonic() > deadline:
                raise
        gentle_s = min(2.0, 3 * (time.monotonic() - began)) if every_s >= 0.1 else 0.0
        time.sleep(max(every_s, gentle_s))


class RunningPart:
    """A process of a part. Ports and data stay the same over restarts."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def start(self, *, wait: bool = True) -> Self:
        assert self._process is None, f"{self.part.name} is running"
        self.part.prepare()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            (*self.part.command, *self.part.arguments()),
            env=dict(self.part.environment),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        try:
            # More than what is promised: the machine is busy with other tests, and how fast is not asked here.
            wait_until(self._ready, seconds=2 * self.part.ready_within_s)
        except NotReady as reason:
            tail = self.log.read_text(errors="replace")[-2000:]
            self.kill()
            raise AssertionError(f"{self.part.name}: {reason}\n{tail}") from None
        self.part.once_ready()

    def _ready(self) -> None:
        if (code := self.process.poll()) is not None:
            raise AssertionError(f"{self.part.name} ended with {code}\n{self.log.read_text(errors='replace')[-2000:]}")
        self.part.ready()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.part.name} is not running"
        return self._process

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, as a crash of the machine would; what the process had started goes with it."""
        if self._process is None:
            return
        self._process.kill()
        self._reap()

    def stop(self) -> int | None:
        """SIGTERM, the grace period, SIGKILL; the exit status, None when nothing ran."""
        if self._process is None:
            return None
        self.signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(self.part.grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._reap()

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def _reap(self) -> int:
        code = self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self._output is not None:
            self._output.close()
        self._process = self._output = None
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class Kafka(RunningPart):
    """A broker of its own. ``bootstrap`` is its address."""

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        port = port or free_port()
        super().__init__(kafka(home, "127.0.0.1", port, free_port()), home / "logs" / "kafka.log")
        self.bootstrap = f"127.0.0.1:{port}"


class Triton(RunningPart):
    """A Triton with the models of a repository in their CPU configuration. ``grpc`` and ``http`` are ``host:port``."""

    def __init__(self, home: Path, repository: Path = CHECKOUT / "triton_models") -> None:
        http, grpc, metrics = free_port(), free_port(), free_port()
        part = triton(home, repository, "127.0.0.1", http, grpc, metrics)
        super().__init__(part, home / "logs" / "triton.log")
        self.http, self.grpc, self.metrics = (f"127.0.0.1:{port}" for port in (http, grpc, metrics))


class Orthanc(RunningPart):
    """A PACS. ``modalities`` are the (AE title, host, port) it may send to; it is asked over ``http``."""

    def __init__(self, home: Path, modalities: Iterable[tuple[str, str, int]] = ()) -> None:
        self.aet, self.dicom_port, http = "PACS", free_port(), free_port()
        part = orthanc(home, "127.0.0.1", http, self.dicom_port, aet=self.aet, modalities=modalities)
        super().__init__(part, home / "logs" / "orthanc.log")
        self.http = f"127.0.0.1:{http}"


@dataclass(frozen=True)
class Installation:
    """A configuration of its own with free ports and a home in a test's folder."""

    path: Path
    settings: Settings

    @property
    def environment(self) -> dict[str, str]:
        """What the command line and our processes need to use this installation and no other."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("SINSOK_", "KAFKA_"))}
        outside.pop("TRITON_URL", None)
        return {**outside, "SINSOK_CONFIG": str(self.path)}

    def sinsok(self, *arguments: str, timeout_s: float = 500.0) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return subprocess.run(
            [str(SINSOK), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def part(self, name: str) -> RunningPart:
        """One part of this installation, not started yet: kafka, triton, orthanc, dicom-gateway, streams-..."""
        part = next(part for part in parts(self.settings) if part.name == name)
        if name in PROCESSES:
            part = replace(part, environment=self.environment)
        return RunningPart(part, self.settings.home / "logs" / f"{name}.log")


SINSOK = Path(sys.executable).parent / "sinsok"


def install(folder: Path, *, changes: str = "", model_repository: Path = CHECKOUT / "triton_models") -> Installation:
    """Write the project's sinsok.toml into ``folder`` with ports that are free, followed by ``changes`` (TOML)."""
    health = first_of_free_ports(len(PROCESSES))
    ports = {
        "kafka": {"bootstrap_servers": f'"127.0.0.1:{free_port()}"', "controller_port": str(free_port())},
        "triton": {url: f'"127.0.0.1:{free_port()}"' for url in ("grpc_url", "http_url", "metrics_url")},
        "dicom": {"port": str(free_port())},
        "orthanc": {"dicom_port": str(free_port()), "http_port": str(free_port())},
        "console": {"port": str(free_port())},
        "writer": {"port": str(free_port())},
        "health": {"first_port": str(health)},
    }
    sections = [
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) for name, keys in ports.items()
    ]
    top = f'home = "home"\nmodel_repository = "{model_repository}"\n'
    common = (CHECKOUT / "sinsok.toml").read_text(encoding="utf-8")
    path = folder / "sinsok.toml"
    path.write_text("\n".join([top, _with(common, changes), *sections]), encoding="utf-8")
    return Installation(path, load({"SINSOK_CONFIG": str(path)}))


def _with(configuration: str, changes: str) -> str:
    """The configuration with further TOML: a section it has already gets the keys, any other follows."""
    further = []
    for section in re.split(r"^(?=\[)", changes, flags=re.MULTILINE):
        header, _, keys = section.partition("\n")
        if f"\n{header}\n" in configuration and not header.startswith("[["):
            configuration = configuration.replace(f"\n{header}\n", f"\n{header}\n{keys}", 1)
        else:
            further.append(section)
    return "\n".join([configuration, *further])


def first_of_free_ports(count: int) -> int:
    """The first of ``count`` free ports in a row."""
    row = [free_port()]
    while len(row) < count:
        port = free_port()
        row = [*row, port] if port == row[-1] + 1 else [port]
    return row[0]
