"""Our model in a process of its own, for Triton's Python: volumes in, answers and times out.

    python ask.py VERSION_FOLDER MEMBERS PRECISION WHERE

MEMBERS is how many of the folder's networks answer, PRECISION bf16, f32 or auto, WHERE brain or everywhere. Each line
of standard input is a task in JSON: ``volume`` (an .npz with ``voxels`` [z, y, x] and ``affine``), ``labels`` (the
.npy to write) and ``times`` (how often to read it). Each is answered by a line: ``seconds`` of every reading and
``peak_mb``, the most memory the process has held so far.
"""

import importlib
import json
import resource
import sys
from pathlib import Path
from time import perf_counter

import numpy as np


def main(folder: str, members: int, precision: str, where: str) -> None:
    sys.path.insert(0, folder)
    reading = importlib.import_module("reading")
    networks = reading.members_of(Path(folder), "cpu", 0, precision)[:members]
    if len(networks) < members:
        raise SystemExit(f"{folder} has {len(networks)} members, {members} were asked for")
    print(json.dumps({"members": len(networks)}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        with np.load(task["volume"]) as stored:
            voxels, affine = stored["voxels"], stored["affine"]
        seconds = []
        for _ in range(task["times"]):
            started = perf_counter()
            answer = reading.read_volume(networks, voxels, affine, everywhere=where == "everywhere")
            seconds.append(perf_counter() - started)
        np.save(task["labels"], answer.labels)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
