"""The steps of a network as OpenVINO graphs. Tensors are [1, channel, z, y, x]."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op
from weights import STRIDES, Network, Step

Shape = tuple[int, int, int]


def path_graph(steps: Sequence[Step]) -> Any:
    """A path alone: [1, 1, z + 16, y + 16, x + 16] -> [1, channel, z, y, x], of any size."""
    x = value = op.parameter([1, 1, -1, -1, -1], np.float32)
    for step in steps:
        value = _step(value, step)
    return ov.Model([value], [x])


def decision_graph(network: Network, block: Shape) -> Any:
    """Features of the three paths over a block, in the order of ``STRIDES``, each on its own grid -> probabilities."""
    features = {
        stride: op.parameter(
            [1, network.joints[stride].kernel.shape[1], *(side // stride for side in block)], np.float32
        )
        for stride in STRIDES
    }
    joined = {stride: _step(features[stride], network.joints[stride]) for stride in STRIDES}
    coarse = op.add(_repeated(joined[5], 5), _repeated(joined[3], 3))
    hidden = _step(op.add(joined[1], coarse), network.hidden)
    return ov.Model([op.softmax(_step(hidden, network.decision), 1)], [features[stride] for stride in STRIDES])


def _step(value: Any, step: Step) -> Any:
    read = _first(value, step.kernel.shape[1])
    normal = op.add(op.multiply(read, _channels(step.scale)), _channels(step.shift))
    active = op.prelu(normal, _constant(np.array([step.slope])))
    folded = op.convolution(active, _constant(step.kernel), [1] * 3, [0] * 3, [0] * 3, [1] * 3)
    answer = op.add(folded, _channels(step.constant))
    if not step.residual:
        return answer
    return op.add(answer, value if step.kernel.shape[2] == 1 else _inner(value, len(step.kernel)))


def _constant(values: NDArray[np.float64]) -> Any:
    return op.constant(np.ascontiguousarray(values, np.float32))


def _channels(values: NDArray[np.float64]) -> Any:
    return _constant(values.reshape(1, -1, 1, 1, 1))


def _integers(*values: int) -> Any:
    return op.constant(np.array(values, np.int64))


def _first(value: Any, channels: int) -> Any:
    if channels == value.output(0).get_partial_shape()[1].get_length():
        return value
    return op.slice(value, _integers(0), _integers(channels), _integers(1), _integers(1))


def _inner(value: Any, channels: int) -> Any:
    """The first channels without the outermost voxel on every side."""
    begin, end, step = _integers(0, 0, 1, 1, 1), _integers(0, channels, -1, -1, -1), _integers(*(1,) * 5)
    return op.strided_slice(value, begin, end, step, begin_mask=[1, 0, 0, 0, 0], end_mask=[1, 0, 0, 0, 0])


def _repeated(value: Any, times: int) -> Any:
    """Every voxel ``times`` times along each axis of space."""
    return op.interpolate(
        value,
        op.constant(np.full(3, times, np.float32)),
        mode="nearest",
        shape_calculation_mode="scales",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
        axes=_integers(2, 3, 4),
    )
