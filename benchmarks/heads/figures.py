"""Volumes and overlaps of label maps, and how they are printed."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gateways.imaging.volume import Volume

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

NAMES = ("IPH", "EAH", "oedema", "IVH")
"""Of the classes 1 to 4."""
BLOOD = (1, 2, 4)


def dice(found: Mask, reference: Mask) -> float:
    """Twice the common voxels over all; 1 where both are empty."""
    total = int(found.sum()) + int(reference.sum())
    return 2 * int((found & reference).sum()) / total if total else 1.0


def volumes_ml(labels: Labels, volume: Volume) -> list[float]:
    """Of each class, acquired planes only: what a model marks on a repeated plane is not measured."""
    counts = np.bincount(labels[volume.acquired].ravel(), minlength=len(NAMES) + 1)
    return [float(count) * volume.voxel_ml for count in counts[1:]]


def overlaps(found: Labels, reference: Labels, volume: Volume, least_ml: float = 1.0) -> list[str]:
    """Dice of all lesions, then of each class; "-" for a class that is small in the reference."""
    classes = [
        f"{dice(found == number, reference == number):.3f}" if size > least_ml else "-"
        for number, size in enumerate(volumes_ml(reference, volume), start=1)
    ]
    return [f"{dice(found > 0, reference > 0):.4f}", *classes]


def ml(volumes: Iterable[float]) -> list[str]:
    return [f"{size:.2f}" for size in volumes]


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A Markdown table, each row as soon as it is there."""
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(str(value) for value in row)} |", flush=True)
