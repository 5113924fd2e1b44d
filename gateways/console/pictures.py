"""The pictures of a series: each slice once, for the browser to window, and the outlines of what a model marked.

Nothing is decoded that is not looked at, and nothing is written to disk. A manifest's digest stands for its images, so
what is made of them never changes.
"""

import io
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydicom.dataset import Dataset

from gateways.console.cache import Cache
from gateways.console.outlines import outline, read_label_map
from gateways.console.series import Series, labels_on, mark_of, parsed, read_series
from gateways.console.stack import Stack, Window
from gateways.imaging.pixels import hounsfield, stored_values
from gateways.imaging.volume import Objects
from schemas.base import ObjectRef
from schemas.events import Finding
from schemas.failures import Unreadable
from schemas.manifest import Instance

TILE_TYPE: Final = "application/octet-stream"
TILE_ENCODING: Final = "gzip"
"""The Content-Encoding of a tile: the browser inflates it."""
LIMIT_BYTES: Final = 256 * 2**20
_PLACE_BYTES: Final = 4096
"""What is kept of an image whose pixels are not."""


class Pictures:
    """Pictures of stored series. Shared by threads; every method blocks.

    All raise :class:`schemas.failures.Unavailable` where the store is away and :class:`schemas.failures.Unreadable`
    where the images form no stack or cannot be decoded, or a label map is not one of these images.
    """

    def __init__(self, store: Objects, limit_bytes: int = LIMIT_BYTES) -> None:
        self._store = store
        self._cache = Cache(limit_bytes)

    @property
    def held_bytes(self) -> int:
        """Memory taken by what is kept, at most the limit."""
        return self._cache.held_bytes

    def stack(self, manifest: ObjectRef, label_map: ObjectRef | None = None, findings: Sequence[Finding] = ()) -> Stack:
        """How the slices of a series stand, and where a reading of it marked something."""
        series = self._series(manifest)
        marked = self._marked(manifest, label_map) if label_map else {}
        rows, columns = series.shape
        spacing = series.images[0].image.frame.pixel_spacing
        assert spacing is not None, "images of a stack say how large their pixels are"
        if series.turn.transposed:
            rows, columns, spacing = columns, rows, (spacing[1], spacing[0])
        return Stack(
            labels=tuple(_present(marked.get(index)) for index in range(len(series.images))),
            rows=rows,
            columns=columns,
            pixel_spacing_mm=spacing,
            edges=series.turn.edges,
            marks=tuple(mark_of(series, marked, finding) for finding in findings),
            cautions=series.cautions,
        )

    def tile(self, manifest: ObjectRef, index: int) -> bytes:
        """The Hounsfield units of a slice as it is shown, without loss (:func:`encoded`), for viewer.js to window.

        To be sent as ``TILE_TYPE`` with ``TILE_ENCODING``. Raises ``IndexError`` where there is no such slice.
        """
        return self._cache.get(
            ("tile", manifest.digest, index), lambda: encoded(self._hounsfield(manifest, index)), len
        )

    def picture(self, manifest: ObjectRef, index: int, window: Window) -> bytes:
        """A windowed PNG of a slice as it is shown, one pixel a voxel. Raises ``IndexError`` as :meth:`tile` does."""

        def make() -> bytes:
            content = io.BytesIO()
            Pillow.fromarray(window.grey(self._hounsfield(manifest, index))).save(content, "PNG", compress_level=1)
            return content.getvalue()

        return self._cache.get(("picture", manifest.digest, index, window), make, len)

    def outlines(self, manifest: ObjectRef, label_map: ObjectRef) -> dict[int, dict[int, str]]:
        """The borders of what is marked, of all slices: index, label, path data as :func:`outline` makes it."""
        marked, seen = self._marked(manifest, label_map), self._series(manifest).turn

        def make() -> dict[int, dict[int, str]]:
            return {
                index: {label: outline(seen.apply(labels == label)) for label in np.unique(labels[labels > 0]).tolist()}
                for index, labels in marked.items()
            }

        def size(made: dict[int, dict[int, str]]) -> int:
            return sum(len(path) for paths in made.values() for path in paths.values())

        return self._cache.get(("outlines", manifest.digest, label_map.digest), make, size)

    def _hounsfield(self, manifest: ObjectRef, index: int) -> NDArray[np.int16]:
        """A slice as it is shown."""
        series = self._series(manifest)
        if not 0 <= index < len(series.images):
            raise IndexError(f"the series has no slice {index}")
        stored = series.images[index]
        frame = stored.image.frame
        ds = self._instance(stored.instance, frame.multi_frame)
        try:
            (values,) = stored_values(ds, frame.index if frame.multi_frame else None)
            plane: NDArray[np.int16] = series.turn.apply(hounsfield(values, frame, ds))
        except Unreadable:
            raise
        except Exception as error:  # what a file that breaks the standard makes pydicom raise has no end
            raise Unreadable(f"a slice cannot be decoded: {type(error).__name__}") from error
        return plane

    def _instance(self, instance: Instance, multi_frame: bool) -> Dataset:
        """An instance with its pixels, kept where it has more slices than one."""
        if not multi_frame:
            return parsed(self._store.read(instance.stored))
        return self._cache.get(
            ("instance", instance.stored.digest),
            lambda: parsed(self._store.read(instance.stored)),
            lambda ds: instance.stored.size_bytes,
        )

    def _series(self, manifest: ObjectRef) -> Series:
        return self._cache.get(
            ("series", manifest.digest),
            lambda: read_series(manifest, self._store),
            lambda series: _PLACE_BYTES * len(series.images),
        )

    def _marked(self, manifest: ObjectRef, label_map: ObjectRef) -> dict[int, NDArray[np.uint8]]:
        return self._cache.get(
            ("labels", manifest.digest, label_map.digest),
            lambda: labels_on(self._series(manifest), read_label_map(self._store.read(label_map))),
            lambda marked: sum(labels.nbytes for labels in marked.values()),
        )


def encoded(plane: NDArray[np.int16]) -> bytes:
    """A plane as gzip of two byte planes: the low bytes of all voxels, then the high bytes.

    Of what a voxel differs from the one before it in its row, zigzagged (0, -1, 1, -2 ...) so that small differences
    have an empty high byte.
    """
    differences = plane.copy()
    # Modulo 2**16; the browser adds them up the same way.
    differences[:, 1:] -= plane[:, :-1]
    zigzag = ((differences << 1) ^ (differences >> 15)).view(np.uint16)
    low, high = (zigzag & 0xFF).astype(np.uint8), (zigzag >> 8).astype(np.uint8)
    # Noise repeats nothing: zlib need not look further back than for runs of one byte.
    deflate = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS, 9, zlib.Z_RLE)
    return deflate.compress(low.tobytes()) + deflate.compress(high.tobytes()) + deflate.flush()


def _present(labels: NDArray[np.uint8] | None) -> tuple[int, ...]:
    return () if labels is None else tuple(np.unique(labels[labels > 0]).tolist())
