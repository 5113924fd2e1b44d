"""Folding and leaving out dead channels change nothing; the graphs compute the steps; members are averaged."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

FOLDER = Path(__file__).parents[3] / "triton_models" / "blast_ct" / "1"
PATHS = {5: "path(5, 5, 5)0.path", 3: "path(3, 3, 3)1.path", 1: "path(1, 1, 1)2.path"}
WIDTHS = (1, 3, 3, 4, 4, 4, 4, 5, 5)


def module(name):
    """A module of the model's folder, under the name by which the others import it."""
    if name not in sys.modules:
        spec = spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


weights = module("weights")
module("head")
reading = module("reading")


def tensors(seed=0):
    """A small network of the published form; some channels are dead, as in the published ones."""
    random = np.random.default_rng(seed)
    state = {}

    def layer(name, before, after, width):
        state[f"{name}.bn.weight"] = random.uniform(0.5, 1.5, before).astype(np.float32)
        state[f"{name}.bn.bias"] = random.normal(0, 0.5, before).astype(np.float32)
        state[f"{name}.bn.running_mean"] = random.normal(0, 0.3, before).astype(np.float32)
        state[f"{name}.bn.running_var"] = random.uniform(0.5, 2, before).astype(np.float32)
        state[f"{name}.prelu.weight"] = np.array([0.2], np.float32)
        kernel = random.normal(0, (before * width**3) ** -0.5, (after, before, width, width, width))
        if before > 2:
            kernel[:, random.integers(before)] = 1e-35
        state[f"{name}.conv.weight"] = kernel.astype(np.float32)

    for prefix in PATHS.values():
        for number, (before, after) in enumerate(pairwise(WIDTHS), 1):
            layer(f"{prefix}.{number}", before, after, 3)
    for number, (before, after) in enumerate([(15, 12), (12, 12), (12, 5)]):
        layer(f"fully_connected.{number}", before, after, 1)
    return state


def convolved(x, kernel):
    windows = sliding_window_view(x, kernel.shape[2:], axis=(1, 2, 3))
    return np.einsum("izyxabc,oiabc->ozyx", windows, kernel, optimize=True)


def activated(x, slope):
    return np.where(x > 0, x, slope * x)


def published_layer(state, name, x):
    """Batch normalisation, PReLU and convolution as the paper has them; a layer that keeps its width adds its input."""
    of = {key: state[f"{name}.{key}"].astype(np.float64) for key in ("bn.weight", "bn.bias", "conv.weight")}
    mean, var = (state[f"{name}.bn.running_{key}"].astype(np.float64).reshape(-1, 1, 1, 1) for key in ("mean", "var"))
    normal = (x - mean) / np.sqrt(var + 1e-5) * of["bn.weight"].reshape(-1, 1, 1, 1)
    y = convolved(activated(normal + of["bn.bias"].reshape(-1, 1, 1, 1), 0.2), of["conv.weight"])
    if x.shape[0] != y.shape[0]:
        return y
    cut = (x.shape[1] - y.shape[1]) // 2
    return y + (x[:, cut:-cut, cut:-cut, cut:-cut] if cut else x)


def published(state, patch):
    """The network on one patch: the answer is 40 voxels smaller on every side."""
    parts = []
    for stride, prefix in PATHS.items():
        margin = 40 - 8 * stride
        x = patch[(slice(margin + stride // 2, -margin or None, stride),) * 3][None].astype(np.float64)
        for number in range(1, 9):
            x = published_layer(state, f"{prefix}.{number}", x)
        for axis in (1, 2, 3):
            x = x.repeat(stride, axis)
        parts.append(x)
    x = np.concatenate(parts)
    for number in range(3):
        x = published_layer(state, f"fully_connected.{number}", x)
    odds = np.exp(x - x.max(0))
    return odds / odds.sum(0)


def step(x, one):
    used = x[: one.kernel.shape[1]]
    column = (slice(None), None, None, None)
    y = convolved(activated(one.scale[column] * used + one.shift[column], one.slope), one.kernel) + one.constant[column]
    if not one.residual:
        return y
    cut = (x.shape[1] - y.shape[1]) // 2
    return y + (x[:, cut:-cut, cut:-cut, cut:-cut] if cut else x)


def prepared(network, patch):
    hidden = 0.0
    for stride in weights.STRIDES:
        margin = 40 - 8 * stride
        x = patch[(slice(margin + stride // 2, -margin or None, stride),) * 3][None].astype(np.float64)
        for one in network.paths[stride]:
            x = step(x, one)
        x = step(x, network.joints[stride])
        for axis in (1, 2, 3):
            x = x.repeat(stride, axis)
        hidden = hidden + x
    x = step(step(hidden, network.hidden), network.decision)
    odds = np.exp(x - x.max(0))
    return odds / odds.sum(0)


@pytest.fixture(scope="module")
def patch():
    return np.random.default_rng(5).uniform(-1, 1, (95, 95, 95)).astype(np.float32)


def test_folding_and_dead_channels_change_nothing(patch):
    state = tensors()
    network = weights.prepare(state)
    expected = published(state, patch)
    assert expected.shape == (5, 15, 15, 15)
    np.testing.assert_allclose(prepared(network, patch), expected, atol=1e-9)
    channels = [one.kernel.shape[1] for path in network.paths.values() for one in path]
    assert sum(channels) < 3 * sum(WIDTHS[:-1])


def test_a_channel_that_hardly_counts_is_replaced_by_what_it_is_on_average(patch):
    state = tensors()
    name = "fully_connected.1"
    state[f"{name}.conv.weight"][:, 4] *= 1e-3
    state["fully_connected.2.conv.weight"][:, 4] *= 1e-3
    exact, pruned = weights.prepare(state), weights.prepare(state, 2e-3)
    assert pruned.hidden.kernel.shape[1] < exact.hidden.kernel.shape[1]
    np.testing.assert_allclose(prepared(pruned, patch), published(state, patch), atol=2e-3)


def test_other_tensors_are_refused_by_name():
    state = tensors()
    del state["fully_connected.1.bn.bias"]
    with pytest.raises(ValueError, match=r"fully_connected\.1\.bn\.bias is missing"):
        weights.prepare(state)


def test_a_file_that_holds_no_arrays_is_refused(tmp_path):
    (tmp_path / "member_1.npz").write_bytes(b"not an archive")
    with pytest.raises(ValueError, match=r"member_1\.npz cannot be read as weights"):
        weights.read(tmp_path / "member_1.npz")


class Says:
    """A member that gives every voxel the same probabilities."""

    def __init__(self, *probabilities):
        self.probabilities = np.array(probabilities, np.float32)

    def blocks(self, image, mask):
        answer = np.broadcast_to(self.probabilities[:, None, None, None], (5, *image.shape))
        yield tuple(slice(0, side) for side in image.shape), answer


def skull():
    z, y, x = np.ogrid[-75:75:5, -96:96:2, -90:90:2]
    radius = np.sqrt(z**2 + y**2 + x**2)
    return np.select([radius < 62, radius < 68], [30, 1000], -1000).astype(np.int16), np.diag([2.0, 2.0, 5.0, 1.0])


def test_members_are_averaged_and_counted():
    volume, affine = skull()
    sure, unsure, against = Says(0.1, 0.9, 0, 0, 0), Says(0.4, 0.6, 0, 0, 0), Says(0.9, 0, 0.1, 0, 0)
    answer = reading.read_volume([sure, unsure, against], volume, affine)
    inside = answer.labels > 0
    assert inside[volume == 30].mean() > 0.9
    assert set(np.unique(answer.labels)) == {0, 1}
    assert set(np.unique(answer.probability)) == {0, round(255 * 1.6 / 3)}
    assert set(np.unique(answer.agreement)) == {0, 170}
    assert answer.scores == pytest.approx([1.6 / 3, 0, 0, 0], abs=2e-3)


def test_a_volume_without_a_head_is_refused_and_no_member_is_asked():
    with pytest.raises(ValueError, match="no brain is found in the volume: nothing was read"):
        reading.read_volume([None], np.full((20, 60, 60), -1000, np.int16), np.diag([4.0, 4.0, 8.0, 1.0]))


def test_a_folder_without_weights_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="sinsok models install blast-ct"):
        reading.members_of(tmp_path, "cpu", 0)
