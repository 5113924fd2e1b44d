"""HAPI as the receiver of messages, ``tests/hapi``: an implementation of HL7 v2 that is not ours, validation on."""

import json
import queue
import subprocess
import threading
from typing import Any, Self

from sinsok.stack.part import CHECKOUT
from tests.stack import free_port

HAPI = CHECKOUT / "tests" / "hapi"
LIBRARIES = CHECKOUT / ".local" / "hapi-libs"


class Hapi:
    """The receiver, on a port that stays the same over restarts. `make setup` brings its libraries."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None
        self._printed: queue.Queue[str] = queue.Queue()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        java = ("java", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp", f"{LIBRARIES}/*", str(HAPI / "Receiver.java"))
        self._process = subprocess.Popen(
            (*java, str(self.port)),
            cwd=LIBRARIES,  # it leaves a file there
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        assert json.loads(self._printed.get(timeout=60)) == {"ready": True}

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def message(self) -> "Received":
        """The next message that arrived."""
        return Received(json.loads(self._printed.get(timeout=120)))

    @property
    def is_idle(self) -> bool:
        return self._printed.empty()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._printed.put(line)


class Received:
    """A message as HAPI parsed it."""

    def __init__(self, parsed: dict[str, Any]) -> None:
        self.structure: str = parsed["structure"]
        self.segments: list[dict[str, Any]] = parsed["segments"]

    @property
    def nonstandard(self) -> list[str]:
        return [segment["name"] for segment in self.segments if segment["nonstandard"]]

    def groups(self, name: str) -> set[str]:
        return {segment["group"] for segment in self.segments if segment["name"] == name}

    def all(self, name: str, field: int) -> list[list[Any]]:
        """The repetitions of a field, in every segment of a name."""
        return [s["fields"].get(str(field), []) for s in self.segments if s["name"] == name]

    def get(self, name: str, field: int, component: int = 1) -> Any:
        (repetitions,) = self.all(name, field)
        (repetition,) = repetitions
        return repetition[component - 1]
