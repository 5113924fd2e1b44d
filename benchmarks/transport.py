"""What a volume costs on its way to Triton and back: over gRPC, and through shared memory on the same machine.

One model that answers at once and looks at nothing, a volume of 512x512x200 (100 MiB) with labels of 50 MiB, both ways
in turn in one run. Seconds are those of ``TritonServer.infer``, the copy into the region included.

    python benchmarks/transport.py [--runs 10]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, Literal

import numpy as np

CHECKOUT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

from gateways.imaging.volume import SliceName, Volume  # noqa: E402
from gateways.inference.contract import identity  # noqa: E402
from gateways.inference.server import TritonServer  # noqa: E402
from gateways.inference.settings import TritonSettings  # noqa: E402
from tests.stack import Triton  # noqa: E402

SHAPE: Final = (200, 512, 512)
WAYS: Final[tuple[Literal["never", "auto"], ...]] = ("never", "auto")
NAMES: Final = {"never": "gRPC", "auto": "shared memory"}
CODE: Final = """
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        self._labels = np.zeros({shape}, np.uint8)

    def execute(self, requests):
        answer = [pb.Tensor("LABELS", self._labels), pb.Tensor("SCORES", np.zeros(1, np.float32))]
        return [pb.InferenceResponse(answer) for _ in requests]
"""


def repository(folder: Path) -> Path:
    """A repository of one model, which does nothing."""
    (folder / "nothing" / "1").mkdir(parents=True)
    config = (CHECKOUT / "tests" / "models" / "bright" / "config.pbtxt").read_text()
    (folder / "nothing" / "config.pbtxt").write_text(config.replace('"bright"', '"nothing"', 1))
    (folder / "nothing" / "labels.txt").write_text("nothing\n")
    (folder / "nothing" / "1" / "model.py").write_text(CODE.format(shape=SHAPE))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    runs: int = parser.parse_args().runs
    voxels = np.random.default_rng(0).integers(-1024, 2000, SHAPE, np.int16)
    volume = Volume(voxels, np.eye(4), (1.0, 0.5, 0.5), tuple(SliceName(f"2.25.{z}", None) for z in range(SHAPE[0])))
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        with Triton(home / "triton", repository(home / "models")) as triton:
            servers = {way: TritonServer(TritonSettings(grpc_url=triton.grpc, shared_memory=way)) for way in WAYS}
            model = identity(servers["never"].configuration("nothing", "1"), "1")
            for run in range(runs + 1):
                for way, server in servers.items():
                    began = time.perf_counter()
                    server.infer(model, volume)
                    if run > 0:  # the first one grows Triton's own memory
                        seconds[way].append(time.perf_counter() - began)
    over_grpc = statistics.median(seconds["never"])
    print(f"{'way':>14} {'p50 s':>7} {'least s':>8} {'most s':>7} {'of gRPC':>8}")
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        print(f"{NAMES[name]:>14} {middle:>7.3f} {min(taken):>8.3f} {max(taken):>7.3f} {middle / over_grpc:>8.2f}")


if __name__ == "__main__":
    main()
