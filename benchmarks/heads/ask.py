"""Our model in a process of its own, for Triton's Python: volumes in, answers and times out.

    python ask.py VERSION_FOLDER MEMBERS PRECISION WHERE

MEMBERS is how many of the folder's networks answer, PRECISION bf16, f32, auto or graph (the ONNX graph as the GPU
configuration runs it, through onnxruntime on the CPU), WHERE brain or everywhere. Each line
of standard input is a task in JSON: ``volume`` (an .npz with ``voxels`` [z, y, x] and ``affine``), ``labels`` (the
.npy to write) and ``times`` (how often to read it). Each is answered by a line: ``seconds`` of every reading,
``peak_mb``, the most memory the process has held so far, and ``refusal``, why it was not read.
"""

import importlib
import json
import resource
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np


def main(folder: str, members: int, precision: str, where: str) -> None:
    sys.path.insert(0, folder)
    reading = importlib.import_module("reading")
    if precision == "graph":
        networks = [on_the_cpu(Path(folder) / f"member_{number + 1}.onnx") for number in range(members)]
    else:
        networks = reading.members_of(Path(folder), "cpu", 0, precision)[:members]
    if len(networks) < members:
        raise SystemExit(f"{folder} has {len(networks)} members, {members} were asked for")
    print(json.dumps({"members": len(networks)}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        with np.load(task["volume"]) as stored:
            voxels, affine = stored["voxels"], stored["affine"]
        seconds = []
        labels, refusal = np.zeros(voxels.shape, np.uint8), ""
        for _ in range(task["times"]):
            started = perf_counter()
            try:
                labels = reading.read_volume(networks, voxels, affine, everywhere=where == "everywhere").labels
            except ValueError as error:
                refusal = str(error)
            seconds.append(perf_counter() - started)
        np.save(task["labels"], labels)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, "refusal": refusal}), flush=True)


def on_the_cpu(graph: Path) -> Any:
    """The network of the GPU configuration, on a device that it does not choose itself."""
    patches = importlib.import_module("patches")
    network = object.__new__(patches.PatchNetwork)
    network._session = patches.onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return network


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
