"""The model repository on disk: what each folder says of itself, and the digest of what computes in it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateways.objects import write_whole
from schemas.failures import Unreadable

if TYPE_CHECKING:
    from tritonclient.grpc import model_config_pb2

CONFIGURATIONS: Final = ("config.pbtxt", "configs/cpu.pbtxt")
"""For NVIDIA's image and for the local stack; both state the same digest."""


def models(repository: Path) -> list[Path]:
    """Folders of the models in a repository."""
    return sorted(path.parent for path in repository.glob("*/config.pbtxt"))


def versions(model: Path) -> list[str]:
    """Versions of a model, oldest first."""
    return sorted((path.name for path in model.iterdir() if path.is_dir() and path.name.isdecimal()), key=int)


def configuration(path: Path) -> model_config_pb2.ModelConfig:
    """A ``config.pbtxt``. Raises :class:`schemas.failures.Unreadable` where it is none."""
    # Here and not above: whoever only asks which models there are should not wait for gRPC.
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise Unreadable(f"{path} is no model configuration: {str(error).splitlines()[0]}") from None


def parameter(config: model_config_pb2.ModelConfig, name: str) -> str:
    """One of a configuration's ``parameters``, empty where it states none."""
    return config.parameters[name].string_value if name in config.parameters else ""


def stated_digest(config: model_config_pb2.ModelConfig, version: str) -> str:
    """What a configuration says that a version's digest is (``sinsok_digest_1``), empty where it says nothing."""
    return parameter(config, f"sinsok_digest_{version}")


def installed_files(model: Path) -> list[str]:
    """Files of a version's folder that are installed and not part of the model's source (``sinsok_installed_files``).

    Raises :class:`schemas.failures.Unreadable` where the configuration cannot be read or names a file outside.
    """
    names = parameter(configuration(model / CONFIGURATIONS[0]), "sinsok_installed_files").split()
    for name in names:
        if Path(name).name != name or name.startswith("."):
            raise Unreadable(
                f"{model / CONFIGURATIONS[0]}: sinsok_installed_files: {name} is no file of the version's folder"
            )
    return names


def missing_files(model: Path, version: str) -> list[str]:
    """Files that have to be installed before this version can run. Raises as :func:`installed_files` does."""
    return [name for name in installed_files(model) if not (model / version / name).is_file()]


def digest_of(model: Path, version: str) -> str:
    """sha256 over what computes: ``labels.txt`` and all files of the version, each with its name and size.

    Every built-in model computes the same when Triton loads it, and refuses to load where the two differ.
    """
    files = [*model.glob("labels.txt"), *(path for path in (model / version).rglob("*") if path.is_file())]
    names = {path.relative_to(model).as_posix(): path for path in files if "__pycache__" not in path.parts}
    total = hashlib.sha256()
    for name in sorted(names):
        content = names[name].read_bytes()
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"sha256:{total.hexdigest()}"


def set_parameter(model: Path, name: str, value: str) -> None:
    """Write one of ``parameters`` into all configurations of a model and leave the rest as it is written.

    Raises :class:`schemas.failures.Unreadable` where one does not have it, and ``OSError`` where the disk refuses.
    """
    for path in (model / configured for configured in CONFIGURATIONS):
        if path.exists():
            stated = rf'("{name}"[^}}]*?string_value:\s*")[^"]*'
            text, count = re.subn(stated, rf"\g<1>{value}", path.read_text())
            if not count:
                raise Unreadable(f"{path}: parameter {name} is missing: add it with any value")
            write_whole(path, text.encode())


def stamp(model: Path, version: str) -> str:
    """Write the digest of a version into the model's configurations and return it.

    Raises :class:`schemas.failures.Unreadable` where one has no ``sinsok_digest_VERSION`` to write it into.
    """
    digest = digest_of(model, version)
    set_parameter(model, f"sinsok_digest_{version}", digest)
    return digest
