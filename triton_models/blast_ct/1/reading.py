"""What one network, or the mean of several, sees in a volume."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
from head import Image, Labels, Mask, Voxels, find_brain, grid_of, onto_volume
from numpy.typing import NDArray
from weights import prepare, read

CLASSES: Final = 4
"""Intraparenchymal haemorrhage, extra-axial haemorrhage, perilesional oedema, intraventricular haemorrhage."""
NEGLIGIBLE: Final = {"bf16": 2e-4, "f32": 0.0}
"""Share below which a channel is left out: what bfloat16 rounds away is not computed either."""


class Member(Protocol):
    """One network on one device."""

    def blocks(self, image: Image, mask: Mask) -> Iterator[tuple[tuple[slice, slice, slice], Image]]:
        """Probabilities [class, z, y, x] of blocks that cover the mask, in an order that depends on the mask alone."""
        ...


class Answer(NamedTuple):
    """In the volume's own voxels [z, y, x]."""

    labels: Labels
    probability: Labels
    """That the voxel is of any class; 255 is certain."""
    agreement: Labels
    """Share of the members that, asked alone, give the voxel a class; 255 is all."""
    scores: NDArray[np.float32]
    """For each class the mean probability over the voxels that have it, 0 where none has."""


def members_of(folder: Path, device: str, number: int, precision: str = "auto") -> list[Member]:
    """Every network whose weights are in a folder, ready on ``device`` (``cpu`` or ``gpu``).

    Raises ValueError where there is none or a file is damaged, RuntimeError where the device cannot be used.
    """
    files = sorted(folder.glob("member_*.npz"), key=lambda path: int(re.sub(r"\D", "", path.stem)))
    if not files:
        raise ValueError("no member_N.npz in the version folder: run `sinsok models install blast-ct`")
    if device == "gpu":
        from patches import PatchNetwork

        return [PatchNetwork(path.with_suffix(".onnx"), number) for path in files]
    from dense import DenseNetwork, has_bf16

    chosen = ("bf16" if has_bf16() else "f32") if precision == "auto" else precision
    return [DenseNetwork(prepare(read(path), NEGLIGIBLE[chosen]), chosen) for path in files]


def read_volume(
    members: list[Member], volume: Voxels, affine: NDArray[np.float64], *, everywhere: bool = False
) -> Answer:
    """Labels and certainties of a volume in Hounsfield units [z, y, x]; ``affine`` places its voxels (LPS, mm).

    ``everywhere`` asks about all that is around the brain, not the brain alone. Raises ValueError where the affine does
    not place the voxels in space, and where no brain is found: what nobody looked at must not pass for healthy.
    """
    shape = volume.shape
    assert len(shape) == 3
    brain = find_brain(volume, grid_of(shape, affine))
    if brain is None:
        raise ValueError("no brain is found in the volume: nothing was read")
    asked = np.ones_like(brain.mask) if everywhere else brain.mask
    labels, probability, agreement = (np.zeros(asked.shape, np.uint8) for _ in range(3))
    # All members answer for one block before the next: what has to be held of each stays small.
    for answers in zip(*(member.blocks(brain.image, asked) for member in members), strict=True):
        place = answers[0][0]
        inside = asked[place]
        mean = np.mean([answer for _, answer in answers], 0) if len(members) > 1 else answers[0][1]
        common = mean.argmax(0)
        # Who gives a voxel a class is who finds one more likely than none.
        marked = sum((answer[1:].max(0) > answer[0]).astype(np.uint16) for _, answer in answers)
        labels[place] = common * inside
        probability[place] = np.rint((1 - mean[0]).clip(0, 1) * 255) * inside
        agreement[place] = np.rint(marked * (255 / len(members))) * inside
    scores = [probability[labels == number].mean() / 255 if (labels == number).any() else 0.0 for number in _numbers()]
    own = (onto_volume(part, brain, shape) for part in (labels, probability, agreement))
    return Answer(*own, np.array(scores, np.float32))


def _numbers() -> range:
    return range(1, CLASSES + 1)
