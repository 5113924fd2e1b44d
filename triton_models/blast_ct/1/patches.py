"""One network over a whole head on a GPU: its ONNX graph on overlapping patches, through onnxruntime."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Place = tuple[slice, slice, slice]

_SIDE: Final = 60
"""Of the answer of one patch in voxels: a multiple of 15, so that coarse paths read the samples they always read."""
_MARGIN: Final = 40
"""Voxels around the answer that the network looks at."""
_CUDA: Final = "CUDAExecutionProvider"


class PatchNetwork:
    """A network on one GPU. Raises RuntimeError where onnxruntime has no GPU."""

    def __init__(self, graph: Path, device: int) -> None:
        if _CUDA not in onnxruntime.get_available_providers():
            raise RuntimeError("onnxruntime knows no GPU here; use the CPU configuration (--model-config-name=cpu)")
        options = {"device_id": device, "cudnn_conv_algo_search": "HEURISTIC"}
        self._session = onnxruntime.InferenceSession(str(graph), providers=[(_CUDA, options)])

    def blocks(self, image: Image, mask: Mask) -> Iterator[tuple[Place, Image]]:
        """Probabilities [class, z, y, x] of every patch that holds any of the mask, with its place in the image."""
        after = [_MARGIN + -side % _SIDE for side in image.shape]
        padded = np.pad(image, [(_MARGIN, end) for end in after], mode="edge")
        for start in np.ndindex(*(-(-side // _SIDE) for side in image.shape)):
            z, y, x = (at * _SIDE for at in start)
            place = (slice(z, z + _SIDE), slice(y, y + _SIDE), slice(x, x + _SIDE))
            covered = mask[place]
            if not covered.any():
                continue
            wide = tuple(slice(part.start, part.stop + 2 * _MARGIN) for part in place)
            (answer,) = self._session.run(None, {"x": np.ascontiguousarray(padded[wide])[None, None]})
            inside = tuple(slice(0, side) for side in covered.shape)
            yield place, answer[0][(slice(None), *inside)]
