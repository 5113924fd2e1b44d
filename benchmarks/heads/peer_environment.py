"""The peer's own Python environment: blast-ct and torch, without the gigabytes of libraries that only a GPU needs.

torch's package for Linux is linked to CUDA and does not load without it, though nothing of it is called on a CPU. So
a small library takes the place of all of CUDA's: it defines what torch's libraries want of them, and every function
of it answers 100, which is CUDA's "no device". What torch computes on the CPU is what it always computes.
"""

import hashlib
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("peer-requirements.txt")
_CUDA_FILE = re.compile(r"lib(cu|nv|nccl)")
_CUDA_NAME = re.compile(r"cu|nv|nccl")
_CUDA_VERSION = re.compile(r"lib(cu|nv)|NVSHMEM")
_STAND_IN = "libnocuda.so"


class NotMade(Exception):
    """The environment cannot be made here; the message says why."""


def peer_python(folder: Path) -> Path:
    """The interpreter of the environment, made where it is missing: half a gigabyte to fetch, two on the disk.

    Raises :class:`NotMade` without a network, a C compiler or binutils.
    """
    python, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + Path(__file__).read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making the peer's environment in {folder} (0.6 GB to fetch)", flush=True)
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps")
    _run(str(python), *install, "-r", str(REQUIREMENTS))
    _stand_in_for_cuda(next(folder.glob("lib/python3*/site-packages/torch/lib")))
    _run(str(python), "-c", "import torch, blast_ct.read_config")
    stamp.write_text(wanted)
    return python


def _stand_in_for_cuda(libraries: Path) -> None:
    present = sorted(libraries.glob("lib*.so*"))
    wanted, defined = set(), set()
    for line in _run("nm", "-D", *map(str, present)).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "U":
            wanted.add(words[1])
        elif len(words) == 3:
            defined.add(words[2].split("@")[0])
    versions: dict[str, list[str]] = defaultdict(list)
    for symbol in sorted(wanted):
        name, _, version = symbol.replace("@@", "@").partition("@")
        if name not in defined and (_CUDA_VERSION if version else _CUDA_NAME).match(version or name):
            versions[version].append(name)
    source, script, target = (libraries / name for name in ("nocuda.c", "nocuda.map", _STAND_IN))
    functions = [f"long {name}(void) {{ return 100; }}\n" for names in versions.values() for name in names]
    source.write_text("".join(functions))
    # Symbols keep the versions under which torch asks for them, or the loader refuses them.
    named = [f"{version} {{ {'; '.join(names)}; }};\n" for version, names in versions.items() if version]
    script.write_text("".join(named))
    options = ("-shared", "-fPIC", "-fno-builtin", "-w", f"-Wl,--version-script={script}")
    _run("cc", *options, "-o", str(target), str(source))
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", _run("readelf", "-d", *map(str, present)))
    for name in {name for name in needed if _CUDA_FILE.match(name) and not (libraries / name).exists()}:
        (libraries / name).symlink_to(_STAND_IN)


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise NotMade(f"{command[0]} is missing; on Debian: apt-get install gcc binutils") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise NotMade(f"`{' '.join(command[:4])} ...` ended with {error.returncode}: {last}") from None
