"""What Maven builds or brings for a test, kept in ``.local`` until its inputs change."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from sinsok.stack.part import INSTALLED

_KEPT = INSTALLED / "maven"


def package(project: Path) -> Path:
    """The ``target`` of a project after ``mvn package``. Nothing is written into the project."""
    sources = [project / "pom.xml", *sorted(path for path in (project / "src").rglob("*") if path.is_file())]

    def build(folder: Path) -> None:
        shutil.copy(project / "pom.xml", folder)
        shutil.copytree(project / "src", folder / "src")
        _mvn(folder, "package")

    return _once(project.name, (path.read_bytes() for path in sources), build) / "target"


def jar(artifact: str) -> Path:
    """The folder with the jar of ``group:name:version``, without what it depends on."""

    def fetch(folder: Path) -> None:
        _mvn(folder, "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")

    return _once(artifact.split(":")[1], [artifact.encode()], fetch)


def _once(name: str, inputs: Iterable[bytes], make: Callable[[Path], None]) -> Path:
    digest = hashlib.sha256(b"".join(inputs)).hexdigest()[:16]
    done = _KEPT / f"{name}-{digest}"
    if not done.exists():
        for old in _KEPT.glob(f"{name}-*"):
            shutil.rmtree(old)
        making = done.with_suffix(".making")
        making.mkdir(parents=True)
        make(making)
        making.rename(done)
    return done


def _mvn(folder: Path, *goals: str) -> None:
    command = ("mvn", "--quiet", "--batch-mode", "-Dstyle.color=never", *goals)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
