"""One network over a whole head on the CPU.

Patches of the published form overlap and compute most things many times. When patches lie at multiples of 15 voxels,
all of them read the same samples in every fifth and third voxel; so the coarse paths run once over the head. The fine
path runs on rectangles of slabs of the mask, and the deciding layers on small blocks that hold any of it. The answer is
that of the patches (up to rounding).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import openvino as ov
from network import decision_graph, path_graph
from numpy.typing import NDArray
from weights import STRIDES, Network

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Place = tuple[slice, slice, slice]

REACH: Final = 8
"""Samples that a path's eight layers of 3x3x3 need on every side."""
BLOCK: Final = (15, 30, 30)
"""Sides of what is decided at once [z, y, x]: multiples of both coarse strides, small enough for the CPU's caches."""
_SLAB: Final = 30
_ALIGNED: Final = 30
_HIGHEST: Final = 40
"""Longest side of a rectangle along y, so that memory stays small."""
_STEP: Final = 10
"""Sides of rectangles along y and x are multiples of it: at each new shape OpenVINO prepares itself for 0.1 s."""


class _Rectangle(NamedTuple):
    """A part of one slab; begins and sides in voxels."""

    y: int
    x: int
    height: int
    width: int


def has_bf16() -> bool:
    """Whether this CPU computes with bfloat16 itself, by OpenVINO's word."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class DenseNetwork:
    """A network compiled for this CPU; ``precision`` is ``bf16`` or ``f32``. Not to be shared between threads."""

    def __init__(self, network: Network, precision: str) -> None:
        core = ov.Core()
        settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        graphs = {stride: path_graph(network.paths[stride]) for stride in STRIDES}
        self._paths = {
            stride: core.compile_model(graph, "CPU", settings).create_infer_request()
            for stride, graph in graphs.items()
        }
        self._decision = core.compile_model(decision_graph(network, BLOCK), "CPU", settings).create_infer_request()

    def blocks(self, image: Image, mask: Mask) -> Iterator[tuple[Place, Image]]:
        """Probabilities [class, z, y, x] of every block that holds any of the mask, with its place in the image.

        ``image`` [z, y, x] is in 1 mm voxels, -15..100 HU as -1..1; beyond its edges it is taken to go on as it ends.
        """
        if not mask.any():
            return
        low, high = _bounds(mask)
        coarse = {stride: self._coarse(image, stride, low, high) for stride in (5, 3)}
        after = [max(REACH, end + REACH - side) for end, side in zip(high, image.shape, strict=True)]
        padded = np.pad(image, [(REACH, end) for end in after], mode="edge")
        for z in range(low[0], high[0], _SLAB):
            slab = mask[z : z + _SLAB]
            if not slab.any():
                continue
            fine = self._fine(padded, slab.any(0), z, low, high)
            for start in _block_starts(mask, z, low, high):
                zero_of = {5: low, 3: low, 1: [z, *low[1:]]}
                parts = []
                for stride, features in zip(STRIDES, (coarse[5], coarse[3], fine), strict=True):
                    begin = [(at - zero) // stride for at, zero in zip(start, zero_of[stride], strict=True)]
                    where = tuple(slice(at, at + side // stride) for at, side in zip(begin, BLOCK, strict=True))
                    parts.append(np.ascontiguousarray(features[(slice(None), *where)])[None])
                self._decision.infer(parts, share_inputs=True)
                inside = tuple(
                    slice(at, min(at + side, end)) for at, side, end in zip(start, BLOCK, image.shape, strict=True)
                )
                assert len(inside) == 3
                sides = tuple(slice(0, part.stop - part.start) for part in inside)
                yield inside, self._decision.get_output_tensor().data[0][(slice(None), *sides)]

    def _coarse(self, image: Image, stride: int, low: list[int], high: list[int]) -> Image:
        """Features [channel, z, y, x] of a coarse path, from ``low`` to ``high`` in steps of its stride."""
        for axis, (begin, end) in enumerate(zip(low, high, strict=True)):
            samples = np.arange(begin // stride - REACH, end // stride + REACH) * stride + stride // 2
            image = image.take(samples.clip(0, image.shape[axis] - 1), axis)
        return self._path(stride, image).copy()

    def _fine(self, padded: Image, shadow: Mask, z: int, low: list[int], high: list[int]) -> Image:
        """Features [channel, z, y, x] of the fine path over a slab from ``low`` to ``high``; 0 outside the mask."""
        fine: Image | None = None
        for part in _rectangles(shadow):
            top, left = min(part.y, high[1] - part.height), min(part.x, high[2] - part.width)
            ends = (z + _SLAB, top + part.height, left + part.width)
            where = tuple(slice(at, end + 2 * REACH) for at, end in zip((z, top, left), ends, strict=True))
            features = self._path(1, padded[where])
            if fine is None:
                fine = np.zeros((features.shape[0], _SLAB, high[1] - low[1], high[2] - low[2]), np.float32)
            y, x = top - low[1], left - low[2]
            fine[:, :, y : y + part.height, x : x + part.width] = features
        assert fine is not None, "a slab without mask is left out"
        return fine

    def _path(self, stride: int, image: Image) -> Image:
        request = self._paths[stride]
        request.infer([np.ascontiguousarray(image)[None, None]], share_inputs=True)
        features: Image = request.get_output_tensor().data[0]
        return features


def _bounds(mask: Mask) -> tuple[list[int], list[int]]:
    """The mask's box, widened to multiples of what every stride, slab and block divides."""
    low, high = [], []
    for axis in range(3):
        places = np.nonzero(mask.any(tuple(other for other in range(3) if other != axis)))[0]
        low.append(int(places[0]) // _ALIGNED * _ALIGNED)
        high.append(-(-(int(places[-1]) + 1) // _ALIGNED) * _ALIGNED)
    return low, high


def _block_starts(mask: Mask, z: int, low: list[int], high: list[int]) -> Iterator[tuple[int, int, int]]:
    """Where the blocks of a slab begin that hold any of the mask."""
    for at_z in range(z, z + _SLAB, BLOCK[0]):
        for at_y in range(low[1], high[1], BLOCK[1]):
            for at_x in range(low[2], high[2], BLOCK[2]):
                here = mask[at_z : at_z + BLOCK[0], at_y : at_y + BLOCK[1], at_x : at_x + BLOCK[2]]
                if here.any():
                    yield at_z, at_y, at_x


def _rectangles(shadow: Mask) -> Iterator[_Rectangle]:
    """Rectangles that cover a slab's shadow [y, x], in strips of equal height at most ``_HIGHEST``.

    Their sides are multiples of ``_STEP``; they may reach beyond the shadow's array.
    """
    rows = np.nonzero(shadow.any(1))[0]
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    strips = -(-(bottom - top) // _HIGHEST)
    height = _stepped(-(-(bottom - top) // strips))
    for y in range(top, bottom, height):
        columns = np.nonzero(shadow[y : y + height].any(0))[0]
        if len(columns):
            left, right = int(columns[0]), int(columns[-1]) + 1
            yield _Rectangle(y, left, height, _stepped(right - left))


def _stepped(side: int) -> int:
    return -(-side // _STEP) * _STEP
