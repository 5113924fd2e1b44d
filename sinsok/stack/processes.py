"""Our own processes as parts: ``sinsok run ROLE``, each with its health port."""

import sys
from pathlib import Path
from typing import Final

from sinsok.stack import probe
from sinsok.stack.part import Listener, Part

HOPS: Final = ("assemble", "infer", "confirm", "alert", "escalate")
"""The hops that run as stream processes, in the order of the flow; a test holds it against the pipeline."""

PROCESSES: Final[dict[str, tuple[str, ...]]] = {
    "dicom-gateway": ("dicom-gateway",),
    "streams-assemble": ("streams", "--hop", "assemble"),
    "streams-infer": ("streams", "--hop", "infer"),
    "streams-confirm": ("streams", "--hop", "confirm"),
    "streams-alert": ("streams", "--hop", "alert"),
    "pacs-writer": ("pacs-writer",),
    "streams-escalate": ("streams", "--hop", "escalate"),
    "notifier": ("notifier",),
    "console": ("console",),
    "watcher": ("watcher",),
    "tracer": ("tracer",),
    "archiver": ("archiver",),
    "auditor": ("auditor",),
}
"""Name of the part and its arguments to ``sinsok run``, in the order of their health ports: new ones come last."""


def process(name: str, host: str, first_port: int, *, endpoint: str = "", listeners: tuple[Listener, ...] = ()) -> Part:
    """One of :data:`PROCESSES`. It reads the same configuration as whoever starts it."""
    port = first_port + list(PROCESSES).index(name)
    health = f"{host}:{port}"
    return Part(
        name=name,
        command=(str(Path(sys.executable).parent / "sinsok"), "run", *PROCESSES[name]),
        endpoint=endpoint or f"http://{health}/metrics",
        listeners=(*listeners, Listener(host, port, "health.first_port")),
        ready=lambda: _answers(health, "/readyz"),
        alive=lambda: _answers(health, "/healthz"),
        after=("kafka",),
        # A job that is running may finish: inference takes seconds.
        grace_s=95.0,
    )


def _answers(address: str, path: str) -> None:
    probe.get(address, path)
