"""The network of BLAST-CT v1: DeepMedic with three paths, as its published tensors and as an ONNX graph.

A patch of 1 mm voxels is read by three paths at once: one sees all of it in every fifth voxel, one its middle in every
third, one the innermost part as it is. Each has eight layers of 3x3x3; where a layer keeps the number of channels, its
input is added to its output. The coarse paths are repeated to full size, and three layers of 1x1x1 decide per voxel.
Every layer is batch normalisation, PReLU, convolution without bias.

Kamnitsas et al., Medical Image Analysis 36 (2017); Monteiro et al., Lancet Digital Health 2 (2020).
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from schemas.failures import Unreadable

MARGIN: Final = 40
"""Voxels around the answer that a patch needs on every side; the answer's sides are multiples of 15."""
_PATHS: Final = {5: "path(5, 5, 5)0.path", 3: "path(3, 3, 3)1.path", 1: "path(1, 1, 1)2.path"}
"""Distance between the voxels a path reads, and the prefix of its tensors; in the order of their channels."""
_CHANNELS: Final = (1, 30, 30, 40, 40, 40, 40, 50, 50)
_DECIDING: Final = (150, 250, 250, 5)
_STATISTICS: Final = ("weight", "bias", "running_mean", "running_var")
_EPSILON: Final = 1e-5
_OPSET: Final = 17
_IR_VERSION: Final = 8
_TO_THE_END: Final = np.iinfo(np.int64).max


def layout() -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Type and shape of every tensor of the network, by name."""
    tensors: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
    for name, before, after, width in _layers():
        shapes: dict[str, tuple[int, ...]] = {f"bn.{kind}": (before,) for kind in _STATISTICS}
        shapes |= {"conv.weight": (after, before, width, width, width), "prelu.weight": (1,)}
        tensors |= {f"{name}.{tensor}": (np.dtype("<f4"), shape) for tensor, shape in shapes.items()}
        tensors[f"{name}.bn.num_batches_tracked"] = (np.dtype("<i8"), ())
    return tensors


def check(state: Mapping[str, NDArray[Any]]) -> None:
    """Raise :class:`schemas.failures.Unreadable` unless the tensors are exactly those of this network."""
    expected = layout()
    if odd := sorted(expected.keys() ^ state.keys()):
        where = "is missing" if odd[0] in expected else "does not belong to it"
        raise Unreadable(f"no weights of this network: {odd[0]!a:.80} {where}")
    for name, (dtype, shape) in expected.items():
        if (state[name].dtype, state[name].shape) != (dtype, shape):
            raise Unreadable(f"no weights of this network: {name} is {state[name].dtype} {state[name].shape}")
        if name.endswith("running_var") and state[name].min() < 0:
            raise Unreadable(f"no weights of this network: {name} holds a variance below zero")


def onnx_bytes(state: Mapping[str, NDArray[Any]]) -> bytes:
    """The whole network as ONNX, with the tensors as they are; the same tensors give the same bytes everywhere.

    Input ``x`` float32 [n, 1, d + 80, h + 80, w + 80] (z, y, x; -15..100 HU as -1..1), output ``probabilities`` float32
    [n, 5, d, h, w]; d, h and w are multiples of 15. Raises :class:`schemas.failures.Unreadable` for other tensors.
    """
    check(state)
    graph = _Graph()
    parts = []
    for stride, prefix in _PATHS.items():
        margin = MARGIN - 8 * stride
        end = -margin if margin else _TO_THE_END
        value = graph.slice("x", f"{prefix}.sampled", margin + stride // 2, end, stride)
        for number, (before, after) in enumerate(pairwise(_CHANNELS), 1):
            value = graph.layer(value, f"{prefix}.{number}", width=3, residual=before == after)
        parts.append(graph.repeat(value, f"{prefix}.repeated", stride))
    value = graph.add("Concat", parts, "fully_connected.input", axis=1)
    for number, (before, after) in enumerate(pairwise(_DECIDING)):
        value = graph.layer(value, f"fully_connected.{number}", width=1, residual=before == after)
    graph.add("Softmax", [value], "probabilities", axis=1)

    tensors = [numpy_helper.from_array(state[name], name) for name in layout() if "num_batches" not in name]
    sides = [f"{side} + {2 * MARGIN}" for side in "dhw"]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, *sides])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", _DECIDING[-1], *"dhw"])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "deepmedic", [x], [answer], tensors + graph.constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="sinsok",
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _layers() -> list[tuple[str, int, int, int]]:
    """Name, channels before and after, and width of the kernel, of each layer."""
    deep = [
        (f"{prefix}.{number}", before, after, 3)
        for prefix in _PATHS.values()
        for number, (before, after) in enumerate(pairwise(_CHANNELS), 1)
    ]
    return deep + [(f"fully_connected.{number}", *both, 1) for number, both in enumerate(pairwise(_DECIDING))]


class _Graph:
    """Nodes in the order in which they compute; each gives one value, named like the node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def slice(self, value: str, name: str, start: int, end: int, step: int) -> str:
        """The same range of each of the three axes of space."""
        bounds = {"starts": [start] * 3, "ends": [end] * 3, "axes": [2, 3, 4], "steps": [step] * 3}
        inputs = [self.constant(f"{name}.{kind}", np.array(of, "<i8")) for kind, of in bounds.items()]
        return self.add("Slice", [value, *inputs], name)

    def repeat(self, value: str, name: str, times: int) -> str:
        """Each voxel ``times`` times along each axis of space."""
        if times == 1:
            return value
        scales = self.constant(f"{name}.scales", np.array([1, 1, times, times, times], "<f4"))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.add("Resize", [value, "", scales], name, **how)

    def layer(self, value: str, name: str, *, width: int, residual: bool) -> str:
        """Normalisation, PReLU, convolution; with ``residual`` plus what came in."""
        statistics = [f"{name}.bn.{kind}" for kind in _STATISTICS]
        normal = self.add("BatchNormalization", [value, *statistics], f"{name}.bn", epsilon=_EPSILON)
        active = self.add("PRelu", [normal, f"{name}.prelu.weight"], f"{name}.prelu")
        folded = self.add("Conv", [active, f"{name}.conv.weight"], f"{name}.conv", kernel_shape=[width] * 3)
        if not residual:
            return folded
        kept = self.slice(value, f"{name}.kept", 1, -1, 1) if width > 1 else value
        return self.add("Add", [folded, kept], f"{name}.sum")
