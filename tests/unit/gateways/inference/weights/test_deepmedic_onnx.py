"""The graph is whole, holds the tensors as they are, and is the same bytes everywhere."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from gateways.inference.weights.deepmedic_onnx import MARGIN, check, layout, onnx_bytes
from schemas.failures import Unreadable
from tests.unit.gateways.inference.weights.published import tensors

DIGEST = "cbdd47e6cd58eea86e7e3062820d01da303103893379f0504445f53d912636c5"


def test_the_same_tensors_give_the_same_bytes_on_every_machine() -> None:
    assert hashlib.sha256(onnx_bytes(tensors())).hexdigest() == DIGEST
    assert hashlib.sha256(onnx_bytes(tensors(2))).hexdigest() != DIGEST


def test_a_patch_of_any_size_gives_five_probabilities_a_voxel() -> None:
    model = onnx.load_from_string(onnx_bytes(tensors()))
    onnx.checker.check_model(model, full_check=True)
    sides = (15, 30, 60)
    for axis, side in enumerate(sides):
        model.graph.input[0].type.tensor_type.shape.dim[2 + axis].dim_value = side + 2 * MARGIN
        model.graph.output[0].type.tensor_type.shape.dim[2 + axis].dim_value = side
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    shapes = {
        one.name: [dim.dim_value for dim in one.type.tensor_type.shape.dim][1:] for one in inferred.graph.value_info
    }
    # What each path reads, and that the three meet at the size of the answer.
    assert shapes["path(5, 5, 5)0.path.sampled"] == [1, *(side // 5 + 16 for side in sides)]
    assert shapes["path(3, 3, 3)1.path.sampled"] == [1, *(side // 3 + 16 for side in sides)]
    assert shapes["path(1, 1, 1)2.path.sampled"] == [1, *(side + 16 for side in sides)]
    assert shapes["fully_connected.input"] == [150, *sides]
    assert shapes["fully_connected.2.conv"] == [5, *sides]


def test_the_tensors_stand_in_it_as_they_are() -> None:
    made = tensors()
    model = onnx.load_from_string(onnx_bytes(made))
    held = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    computing = {name for name in layout() if not name.endswith("num_batches_tracked")}
    assert computing <= held.keys()
    for name in computing:
        assert held[name].tobytes() == made[name].tobytes()
        assert held[name].shape == made[name].shape


def test_servers_of_2024_can_read_it() -> None:
    model = onnx.load_from_string(onnx_bytes(tensors()))
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == {"Slice", "BatchNormalization", "PRelu", "Conv", "Add", "Resize", "Concat", "Softmax"}
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 27
    # Where a layer keeps its channels it adds its input: five of eight in each path, and the middle one that decides.
    assert sum(node.op_type == "Add" for node in model.graph.node) == 3 * 5 + 1


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("fully_connected.2.conv.weight", None, "fully_connected.2.conv.weight' is missing"),
        ("fully_connected.3.conv.weight", np.zeros(1, "<f4"), "does not belong to it"),
        ("fully_connected.2.prelu.weight", np.zeros(2, "<f4"), r"is float32 \(2,\)"),
        ("fully_connected.2.prelu.weight", np.zeros(1, "<f8"), "is float64"),
        ("path(5, 5, 5)0.path.1.bn.running_var", np.full(1, -1, "<f4"), "variance below zero"),
    ],
)
def test_tensors_of_another_network(name: str, array: np.ndarray | None, said: str) -> None:
    made = tensors()
    check(made)
    if array is None:
        del made[name]
    else:
        made[name] = array
    with pytest.raises(Unreadable, match=said):
        onnx_bytes(made)
