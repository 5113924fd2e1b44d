"""A stored series as it is shown: which images, in which order, turned how, and what a label map marks on them.

Known from the heads of the images alone: pixels are decoded when somebody looks.
"""

import io
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydantic import ValidationError
from pydicom.dataset import Dataset

from gateways.console.outlines import LabelMap
from gateways.console.stack import Mark
from gateways.imaging.orientation import Turn, turn
from gateways.imaging.stack import Grid
from gateways.imaging.volume import DECODERS, MAX_VOXELS, Image, Objects, arrange, images
from schemas.base import ObjectRef
from schemas.events import Finding
from schemas.failures import Unreadable
from schemas.manifest import Instance, Manifest


@dataclass(frozen=True)
class Stored:
    """An image of the stack, where its file is, and where it stands in the volume a model saw."""

    image: Image
    instance: Instance
    planes: tuple[int, ...]
    """A thick slice stands on several; the nearest to it first."""


@dataclass(frozen=True)
class Series:
    """The images of a series in the order they are shown."""

    images: tuple[Stored, ...]
    grid: Grid
    turn: Turn
    cautions: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns as they are stored."""
        return self.images[0].image.shape


def read_series(manifest: ObjectRef, store: Objects) -> Series:
    """Read the heads of all instances and find the stack that :func:`gateways.imaging.volume.load_volume` would.

    Raises as that does.
    """
    try:
        instances = Manifest.model_validate_json(store.read(manifest)).instances
    except ValidationError:
        raise Unreadable("the manifest of the series is no manifest") from None
    with ThreadPoolExecutor(DECODERS) as pool:
        described = list(pool.map(lambda one: _described(one, store), instances))
    listed = [(image, instance) for instance, found in zip(instances, described, strict=True) for image in found]
    found = arrange([image for image, _ in listed])
    chosen = [listed[position[0]] for position in found.positions]
    first = chosen[0][0]
    if len(chosen) * first.shape[0] * first.shape[1] > MAX_VOXELS:
        raise Unreadable(f"the series takes more than {MAX_VOXELS} voxels")
    assert first.frame.orientation is not None, "images of a stack say how they lie"
    turned = turn(first.frame.orientation)
    ascending = [
        Stored(image, instance, _planes_of(number, image, found.grid))
        for number, (image, instance) in enumerate(chosen)
    ]
    shown = ascending if turned.in_order else ascending[::-1]
    return Series(tuple(shown), found.grid, turned, (*found.cautions, *found.grid.cautions))


def parsed(content: bytes, *, pixels: bool = True) -> Dataset:
    """An instance. Raises :class:`schemas.failures.Unreadable`."""
    # pydicom's warnings quote values, and a value may be a name; the gateway stored what it was sent, valid or not.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=not pixels)
    except Exception as error:  # what a file that breaks the standard makes pydicom raise has no end
        raise Unreadable(f"an instance cannot be parsed: {type(error).__name__}") from error


def labels_on(series: Series, label_map: LabelMap) -> dict[int, NDArray[np.uint8]]:
    """The labels [y, x], as they were stored, on each slice that has any, by its index.

    Raises :class:`schemas.failures.Unreadable` where the label map is not one of these images.
    """
    names = [""] * len(series.grid.planes)
    for one in series.images:
        for z in one.planes:
            names[z] = one.image.name.sop_uid
    if label_map.sop_uids != tuple(names) or label_map.shape[1:] != series.shape:
        raise Unreadable("a label map is of other images than the series")
    marked = {}
    for index, one in enumerate(series.images):
        labels = np.zeros(series.shape, np.uint8)
        for z in one.planes:
            # The nearest plane has the word.
            labels = np.where(labels > 0, labels, label_map.plane(z))
        if labels.any():
            marked[index] = labels
    return marked


def mark_of(series: Series, marked: dict[int, NDArray[np.uint8]], finding: Finding) -> Mark:
    """Where a finding is to be seen, given all labels."""
    names = [(one.image.name.sop_uid, one.image.name.frame) for one in series.images]
    name = (finding.key_instance_uid, finding.key_frame)
    if name not in names:
        return Mark(None, None)
    key = names.index(name)
    low, high = _box(series, finding)
    # No label map says which label a finding has: of those in its box, on its key slice too, it is the one with as
    # much of it as the finding is large. Pieces of other findings may reach into the box.
    voxel_ml = abs(float(np.linalg.det(series.grid.affine[:3, :3]))) / 1000
    volumes_ml: Counter[int] = Counter()
    on_key: set[int] = set()
    for index, labels in marked.items():
        inside = labels[low[1] : high[1], low[2] : high[2]]
        planes = sum(low[0] <= z < high[0] for z in series.images[index].planes)
        for label, voxels in zip(*np.unique(inside[inside > 0], return_counts=True), strict=True):
            volumes_ml[int(label)] += planes * int(voxels) * voxel_ml
            if index == key:
                on_key.add(int(label))
    return Mark(key, min(sorted(on_key), key=lambda label: abs(volumes_ml[label] - finding.volume_ml), default=None))


def _box(series: Series, finding: Finding) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first voxel (z, y, x) in the box of a finding, and the one behind the last. A box holds whole voxels."""
    affine = series.grid.affine
    corners = np.array([[side[axis] for side in finding.box_mm] for axis in range(3)])
    points = np.stack(np.meshgrid(*corners), axis=-1).reshape(-1, 3) - affine[:3, 3]
    voxels = np.linalg.solve(affine[:3, :3], points.T)[::-1]
    low = np.maximum(np.ceil(voxels.min(axis=1)), 0).astype(np.intp)
    return low, np.maximum(np.floor(voxels.max(axis=1)) + 1, 0).astype(np.intp)


def _described(instance: Instance, store: Objects) -> list[Image]:
    try:
        return images(instance, parsed(store.read(instance.stored), pixels=False))
    except (AttributeError, TypeError, ValueError) as error:
        raise Unreadable(f"an instance cannot be parsed: {type(error).__name__}") from error


def _planes_of(number: int, image: Image, grid: Grid) -> tuple[int, ...]:
    normal = np.cross(grid.affine[:3, 0], grid.affine[:3, 1])

    def away(z: int) -> float:
        assert image.frame.position is not None, "images of a stack say where they lie"
        return float(abs((image.frame.position - grid.affine[:3, 3] - grid.affine[:3, 2] * z) @ normal))

    return tuple(sorted((z for z, index in enumerate(grid.planes) if index == number), key=away))
