"""Our model, asked in a process of its own (:mod:`heads.ask`)."""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gateways.imaging.volume import Volume

ASK = Path(__file__).with_name("ask.py")


@dataclass(frozen=True)
class Read:
    """What came of a volume."""

    labels: NDArray[np.uint8]
    """[z, y, x]"""
    seconds: list[float]
    """Of each reading."""
    peak_mb: float
    """The most memory the process had held by then."""
    refusal: str
    """Why the volume was not read; empty where it was."""


class Model:
    """Some members of a version, loaded once; a context manager."""

    def __init__(
        self, python: Path, version: Path, *, members: int = 1, precision: str = "bf16", everywhere: bool = False
    ) -> None:
        where = "everywhere" if everywhere else "brain"
        self._command = [str(python), str(ASK), str(version), str(members), precision, where]

    def read(self, volume: Volume, times: int = 1) -> Read:
        """Read a volume. Raises RuntimeError where the process ended over it."""
        source, target = self._folder / "volume.npz", self._folder / "labels.npy"
        np.savez(source, voxels=volume.voxels, affine=volume.affine)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"volume": str(source), "labels": str(target), "times": times}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        return Read(np.load(target), answer["seconds"], answer["peak_mb"], answer["refusal"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the model's process ended with {self._process.wait()}: {' '.join(self._command)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        self._scratch = tempfile.TemporaryDirectory()
        self._folder = Path(self._scratch.name)
        # Not -I: the model's modules are found beside each other; nothing of ours is, since ASK imports none of it.
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._scratch.cleanup()
