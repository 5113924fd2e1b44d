"""The published tensors of a BLAST-CT network, folded and pruned into the steps that are computed.

A step is ``convolve(prelu(scale * x + shift)) + constant``, plus ``x`` itself where the layer is residual. Batch
normalisation is folded into scale and shift. Many channels of the published networks are dead or nearly so: a channel
whose share in its layer's output, by the batch-norm statistics, is below a threshold is left out, and the constant it
has on average is added instead. With a threshold of 0 only what is exactly dead goes.

Layers of one width read the same channels (their input is added to their output), so one order of channels serves a
whole group: those that most layers read come first, and every layer reads the first few.

DeepMedic: Kamnitsas et al., Medical Image Analysis 36 (2017). BLAST-CT: Monteiro et al., Lancet Digital Health 2
(2020).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Chosen = NDArray[np.bool_]
State = Mapping[str, NDArray[Any]]

STRIDES: Final = (5, 3, 1)
"""Distance in voxels between the samples that each path reads, in the order of the published channels."""
_PREFIX: Final = {5: "path(5, 5, 5)0.path", 3: "path(3, 3, 3)1.path", 1: "path(1, 1, 1)2.path"}
_GROUPS: Final = ((0, 1), (2, 3, 4, 5), (6, 7))
"""Layers of a path with as many channels each; all but the first of a group are residual."""
_EPSILON: Final = 1e-5
"""Of batch normalisation."""
_DEAD: Final = 1e-20


@dataclass(frozen=True)
class Step:
    """One layer as it is computed; reads the first ``kernel.shape[1]`` channels of what it is given."""

    scale: Values
    """[in]"""
    shift: Values
    """[in]"""
    slope: float
    """Of the PReLU below zero."""
    kernel: Values
    """[out, in, z, y, x]"""
    constant: Values
    """[out]"""
    residual: bool


@dataclass(frozen=True)
class Network:
    """Everything of one member that is computed."""

    paths: dict[int, tuple[Step, ...]]
    """By stride."""
    joints: dict[int, Step]
    """By stride: what the features of each path contribute to the hidden channels. They are added up."""
    hidden: Step
    decision: Step


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a member by their published names. Raises ValueError with one line for another file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path.name} cannot be read as weights: {error}") from error


def prepare(state: State, threshold: float = 0.0) -> Network:
    """Fold a state dict and leave out channels whose share is below ``threshold``. ValueError: other tensors."""
    try:
        paths = {stride: [_layer(state, f"{_PREFIX[stride]}.{n}") for n in range(1, 9)] for stride in STRIDES}
        joint, hidden, decision = (_layer(state, f"fully_connected.{n}") for n in range(3))
    except KeyError as error:
        raise ValueError(f"these are no weights of this network: {error.args[0]} is missing") from error
    least = max(threshold, _DEAD)
    width = joint.inputs // len(STRIDES)
    reads = joint.shares() > least
    parts = {stride: slice(number * width, (number + 1) * width) for number, stride in enumerate(STRIDES)}
    steps, features = {}, {}
    for stride, part in parts.items():
        steps[stride], features[stride] = _path(paths[stride], reads[part], least)

    kept = np.nonzero((hidden.shares() > least) | (decision.shares() > least))[0]
    read_features = np.concatenate([features[stride] + parts[stride].start for stride in STRIDES])
    # What all paths leave out is added once, with the coarsest.
    constants = {stride: np.zeros(len(kept)) for stride in STRIDES} | {5: joint.constant(read_features, kept)}
    joints = {
        stride: joint.step(features[stride] + part.start, kept, constant=constants[stride])
        for stride, part in parts.items()
    }
    every_class = np.arange(decision.kernel.shape[0])
    return Network(steps, joints, hidden.step(kept, kept, residual=True), decision.step(kept, every_class))


@dataclass(frozen=True)
class _Layer:
    """One published layer with its batch normalisation folded, and what its statistics say of its inputs."""

    scale: Values
    shift: Values
    slope: float
    kernel: Values
    deviation: Values
    """Standard deviation of each input channel after batch normalisation."""
    mean: Values
    """Of each input channel after the PReLU, were it normally distributed."""

    @property
    def inputs(self) -> int:
        return self.kernel.shape[1]

    def shares(self) -> Values:
        """The share of each input channel in the output, by its deviation and weights; their squares add up to 1."""
        power = self.deviation * np.sqrt((self.kernel**2).sum((0, 2, 3, 4)))
        shares: Values = power / max(float(np.linalg.norm(power)), _DEAD)
        return shares

    def constant(self, inputs: NDArray[np.intp], outputs: NDArray[np.intp]) -> Values:
        """What all other inputs contribute to the outputs on average."""
        others = np.setdiff1d(np.arange(self.inputs), inputs)
        constant: Values = (self.kernel.sum((2, 3, 4)) * self.mean)[outputs][:, others].sum(1)
        return constant

    def step(
        self,
        inputs: NDArray[np.intp],
        outputs: NDArray[np.intp],
        *,
        residual: bool = False,
        constant: Values | None = None,
    ) -> Step:
        """The layer reduced to some of its channels, in that order; by default the others go into its constant."""
        if constant is None:
            constant = self.constant(inputs, outputs)
        kernel = self.kernel[outputs][:, inputs]
        return Step(self.scale[inputs], self.shift[inputs], self.slope, kernel, constant, residual)


def _layer(state: State, name: str) -> _Layer:
    weight, bias, mean, variance = (
        state[f"{name}.bn.{kind}"].astype(np.float64) for kind in ("weight", "bias", "running_mean", "running_var")
    )
    slope = float(state[f"{name}.prelu.weight"].astype(np.float64).ravel()[0])
    scale = weight / np.sqrt(variance + _EPSILON)
    deviation = np.abs(scale) * np.sqrt(variance)
    kernel = state[f"{name}.conv.weight"].astype(np.float64)
    return _Layer(scale, bias - mean * scale, slope, kernel, deviation, _mean_of_prelu(bias, deviation, slope))


def _mean_of_prelu(mean: Values, deviation: Values, slope: float) -> Values:
    """Expectation of PReLU(t) for t ~ N(mean, deviation)."""
    deviation = np.maximum(deviation, 1e-30)
    ratio = mean / deviation
    density = np.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + np.array([math.erf(value / math.sqrt(2)) for value in ratio]))
    positive: Values = mean * below + deviation * density
    expected: Values = positive + slope * (mean - positive)
    return expected


def _path(layers: list[_Layer], features: Chosen, least: float) -> tuple[tuple[Step, ...], NDArray[np.intp]]:
    """The steps of a path and the published numbers of the channels it ends with, in their order.

    ``features`` are the channels of the last layer that are read behind the path.
    """
    reads = [np.array([True]), *(layer.shares() > least for layer in layers[1:]), features]
    channels = np.array([0])
    steps = []
    for group in _GROUPS:
        ordered = _ordered([reads[number + 1] for number in group])
        for number in group:
            used = channels[: _reach(channels, reads[number])]
            made = ordered[: _reach(ordered, features)] if number == group[-1] == len(layers) - 1 else ordered
            steps.append(layers[number].step(used, made, residual=number != group[0]))
            channels = made
    return tuple(steps), channels


def _ordered(readers: list[Chosen]) -> NDArray[np.intp]:
    """Channels that anyone reads, arranged so that the few a modest reader needs come first."""
    modest_first = sorted(readers, key=lambda reads: int(reads.sum()))
    order = np.lexsort([~reads for reads in reversed(modest_first)])
    return order[np.logical_or.reduce(readers)[order]]


def _reach(channels: NDArray[np.intp], reads: Chosen) -> int:
    """How many of the ordered channels hold all those that are read; at least one."""
    places = np.nonzero(reads[channels])[0]
    return int(places[-1]) + 1 if len(places) else 1
