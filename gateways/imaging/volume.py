"""A series' manifest to one volume in Hounsfield units.

Voxels stay where the scanner put them: nothing is resampled or turned, the affine says where they are. Slices that are
missing are said in the cautions; their planes repeat the nearest slice, so that a model sees a head without a hole,
and :attr:`Volume.acquired` keeps them out of every measurement.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from threading import Lock
from typing import Final, Protocol

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from gateways.imaging.frames import HOUNSFIELD, Frame, Vector, frames
from gateways.imaging.pixels import hounsfield, stored_values
from gateways.imaging.stack import Grid, at_positions, grid, normal_of
from schemas.base import ObjectRef
from schemas.failures import Unreadable
from schemas.manifest import Instance, Manifest

MAX_VOXELS: Final = 2**29
"""One gibibyte of voxels: beyond it no head CT lies, and no machine should be asked."""
DECODERS: Final = 4


class Objects(Protocol):
    """Where the instances are."""

    def read(self, ref: ObjectRef) -> bytes:
        """Bytes of an object, proven to be those its digest names."""
        ...


@dataclass(frozen=True)
class SliceName:
    """Which stored image a plane of the volume is."""

    sop_uid: str
    frame: int | None
    """Frame number from 1 in a multi-frame instance, else None."""


@dataclass(frozen=True)
class Volume:
    """A stack of slices on an even grid."""

    voxels: NDArray[np.int16]
    """Hounsfield units [z, y, x]; z ascends along the slice normal."""
    affine: Vector
    """4x4, voxel index (x, y, z, 1) to patient coordinates (LPS, mm)."""
    spacing_mm: tuple[float, float, float]
    """z, y, x; z along the slice normal."""
    slices: tuple[SliceName | None, ...]
    """The image on each plane; None where none was acquired."""
    cautions: tuple[str, ...] = ()

    @property
    def acquired(self) -> NDArray[np.bool_]:
        """[z]: whether the plane was acquired."""
        return np.array([name is not None for name in self.slices])

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000


@dataclass(frozen=True)
class Image:
    """A stored image as its head describes it."""

    name: SliceName
    conflict: bool
    frame: Frame
    shape: tuple[int, int]
    """Rows, columns."""

    @property
    def plane(self) -> tuple[int, ...] | None:
        """What slices of one stack have in common, rounded; None where the slice lies nowhere."""
        frame = self.frame
        if frame.position is None or frame.orientation is None or frame.pixel_spacing is None or frame.localizer:
            return None
        rounded = (round(number * 1000) for number in (*frame.orientation, *frame.pixel_spacing))
        return (*self.shape, *rounded)

    @property
    def rank(self) -> tuple[bool, int, int, str, int]:
        """Which of several slices at one position is taken: the one of the first acquisition."""
        frame = self.frame
        return (self.conflict, frame.acquisition, frame.instance_number, self.name.sop_uid, frame.index)


@dataclass(frozen=True)
class Arrangement:
    """Which images of a series form its stack, and the grid they stand on."""

    positions: tuple[tuple[int, ...], ...]
    """Indices of the images at each position, ascending along the normal; the first of them is the one taken."""
    grid: Grid
    """Its planes count the positions."""
    cautions: tuple[str, ...]


def load_volume(manifest: Manifest, objects: Objects) -> Volume:
    """Read and decode all instances of a series and stack them.

    Raises :class:`schemas.failures.Unavailable` where the store is away and :class:`schemas.failures.Unreadable` where
    the instances cannot be decoded or form no stack. Blocks: call it in a thread.
    """
    # pydicom's warnings quote values, and a value may be a name; the gateway stored what it was sent, valid or not.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    room = _Room()
    with ThreadPoolExecutor(DECODERS) as pool:
        decoded = pool.map(lambda instance: _decode(instance, objects.read(instance.stored), room), manifest.instances)
        slices = list(chain.from_iterable(decoded))
    return _stack(slices)


@dataclass(frozen=True)
class _Slice:
    """A decoded image."""

    image: Image
    voxels: NDArray[np.int16]


class _Room:
    """How many voxels of a series may still be decoded. Shared by threads."""

    def __init__(self) -> None:
        self._left = MAX_VOXELS
        self._lock = Lock()

    def take(self, voxels: int) -> None:
        """Raises :class:`schemas.failures.Unreadable` where the series is too large, and from then on."""
        with self._lock:
            self._left -= voxels
            if self._left < 0:
                raise Unreadable(f"the series has more than {MAX_VOXELS} voxels")


def images(instance: Instance, ds: Dataset) -> list[Image]:
    """The images of an instance, in the order they are stored; ``ds`` needs no pixels.

    Raises as :func:`gateways.imaging.frames.frames` does.
    """
    shape = int(ds.Rows), int(ds.Columns)
    return [
        Image(SliceName(instance.sop_uid, one.index + 1 if one.multi_frame else None), instance.conflict, one, shape)
        for one in frames(ds)
    ]


def arrange(described: Sequence[Image]) -> Arrangement:
    """Find the stack in the images of a series: the plane most of them lie in, one image a position.

    Raises :class:`schemas.failures.Unreadable` where they form none.
    """
    kinds = Counter(one.plane for one in described if one.plane is not None)
    if not kinds:
        raise Unreadable("no image says where it lies: position, orientation or pixel spacing is missing")
    plane = max(kinds, key=lambda kind: (kinds[kind], kind))
    members = sorted(
        (index for index, one in enumerate(described) if one.plane == plane), key=lambda index: described[index].rank
    )
    cautions = []
    if len(members) < len(described):
        cautions.append(f"{len(described) - len(members)} images of another plane, size or kind were left out")
    other_units = {described[index].frame.rescale_type for index in members} - HOUNSFIELD
    if other_units:
        cautions.append("the images say that their numbers are not Hounsfield units")
    first = described[members[0]].frame
    assert first.orientation is not None
    assert first.pixel_spacing is not None
    normal = normal_of(first.orientation)
    places = {index: place for index in members if (place := described[index].frame.position) is not None}
    groups = at_positions([float(places[index] @ normal) for index in members])
    positions = tuple(tuple(members[number] for number in group) for group in groups)
    fitted = grid([places[group[0]] for group in positions], first.orientation, first.pixel_spacing)
    return Arrangement(positions, fitted, tuple(cautions))


def _decode(instance: Instance, content: bytes, room: _Room) -> list[_Slice]:
    try:
        return list(_slices(instance, content, room))
    except Unreadable:
        raise
    except Exception as error:  # what a file that breaks the standard makes pydicom raise has no end
        raise Unreadable(f"an instance cannot be parsed: {type(error).__name__}") from error


def _slices(instance: Instance, content: bytes, room: _Room) -> Iterator[_Slice]:
    ds = pydicom.dcmread(BytesIO(content))
    described = images(instance, ds)
    # Before decoding: a small compressed object may claim any size.
    room.take(int(ds.Rows) * int(ds.Columns) * max(len(described), int(ds.get("NumberOfFrames") or 1)))
    values = stored_values(ds)
    if len(values) != len(described):
        raise Unreadable(f"an instance describes {len(described)} frames and holds {len(values)}")
    for image, stored in zip(described, values, strict=True):
        yield _Slice(image, hounsfield(stored, image.frame, ds))


def _stack(slices: list[_Slice]) -> Volume:
    found = arrange([one.image for one in slices])
    cautions = list(found.cautions)
    differing = sum(
        not np.array_equal(slices[group[0]].voxels, slices[other].voxels)
        for group in found.positions
        for other in group[1:]
    )
    if differing:
        cautions.append(f"{differing} images stand where another one stands: the first acquisition was used")
    chosen = [slices[group[0]] for group in found.positions]
    planes = found.grid.planes
    if len(planes) * chosen[0].voxels.size > MAX_VOXELS:
        raise Unreadable(f"the series takes more than {MAX_VOXELS} voxels")
    acquired = np.array([number for number, index in enumerate(planes) if index is not None])
    voxels = np.empty((len(planes), *chosen[0].voxels.shape), np.int16)
    for number in range(len(planes)):
        nearest = int(acquired[np.abs(acquired - number).argmin()])
        index = planes[nearest]
        assert index is not None
        voxels[number] = chosen[index].voxels
    names = tuple(None if index is None else chosen[index].image.name for index in planes)
    return Volume(voxels, found.grid.affine, found.grid.spacing_mm, names, (*cautions, *found.grid.cautions))
