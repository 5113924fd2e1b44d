"""Files as BLAST-CT's, of the network's own layout but with made-up values."""

import zlib
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateways.inference.weights import blast_ct
from gateways.inference.weights.deepmedic_onnx import layout
from tests.unit.gateways.inference.weights.legacy_file import state_dict

CONFIGURATION = """name: "{name}"
parameters {{ key: "sinsok_installed_files" value {{ string_value: "{files}" }} }}
parameters {{ key: "sinsok_source" value {{ string_value: "as published" }} }}
parameters {{ key: "sinsok_digest_1" value {{ string_value: "{digest}" }} }}
"""


def tensors(member: int = 1) -> dict[str, NDArray[Any]]:
    """Different for each member and exactly the same on every machine."""
    made = {}
    for name, (dtype, shape) in layout().items():
        values = np.arange(int(np.prod(shape))) * 7919 + zlib.crc32(f"{member}{name}".encode()) % 997
        made[name] = (values % 97 / 128).astype(dtype).reshape(shape)
    return made


@cache
def file_of(member: int) -> bytes:
    return state_dict(tensors(member))


def publish(folder: Path, *members: int) -> dict[int, str]:
    """Write the files of these members and return their digests, as ``blast_ct.DIGESTS`` has them."""
    folder.mkdir(exist_ok=True)
    for member in members:
        (folder / f"model_{member}.pt").write_bytes(file_of(member))
    return {**blast_ct.DIGESTS, **{member: sha256(file_of(member)).hexdigest() for member in members}}


def repository(folder: Path, **files: str) -> Path:
    """A model repository whose models want these files installed."""
    for name, wanted in files.items():
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "model.py").write_text("# computes\n")
        configuration = CONFIGURATION.format(name=name, files=wanted, digest=f"sha256:{'0' * 64}")
        (folder / name / "config.pbtxt").write_text(configuration)
    return folder
