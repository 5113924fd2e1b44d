"""A label map is read from the box its marks lie in, and the same as from the whole volume."""

import io

import numpy as np
import pytest

from gateways.inference.triton import label_map_archive
from gateways.objects import FileStore
from gateways.pacs.objects import objects_of
from gateways.pacs.settings import ObjectSettings
from schemas.failures import Unreadable
from tests.unit.gateways.imaging.ct import COLUMNS, ROWS, series
from tests.unit.gateways.pacs.objects.examples import (
    decision,
    result_of,
    store_datasets,
    store_in,
    volume_of,
    with_arrays,
)

BOX = ("box_labels", "box_origin", "shape")


@pytest.fixture
def store(tmp_path) -> FileStore:
    return store_in(tmp_path)


def marks(z: int, y: int, x: int) -> np.ndarray:
    """Two classes that touch, three planes from this voxel on."""
    labels = np.zeros((6, ROWS, COLUMNS), np.uint8)
    labels[z : z + 3, y : y + 20, x : x + 20] = 1
    labels[z + 1, y + 5 : y + 15, x + 10 : x + 30] = 4
    return labels


@pytest.mark.parametrize("corner", [(0, 0, 0), (1, 7, 9), (3, ROWS - 20, COLUMNS - 30)])
@pytest.mark.parametrize("segmentation", ["binary", "fractional"])
def test_objects_are_those_of_an_archive_without_the_box(store, corner, segmentation):
    boxed = decision(store, store_datasets(store, series(6)), marks(*corner))
    choice = ObjectSettings(segmentation=segmentation)
    expected = objects_of(result_of(with_arrays(store, boxed, *BOX)), (), choice, store)
    # Nobody looks at the whole labels where there is the box.
    only = with_arrays(store, boxed, "labels")
    assert objects_of(result_of(only), (), choice, store) == expected
    assert len(expected) == 3


@pytest.mark.parametrize(
    "arrays",
    [
        {"box_origin": np.array([4, 0, 0])},
        {"box_origin": np.array([0, -1, 0])},
        {"box_origin": np.array([0, 0])},
        {"box_labels": np.zeros((3, ROWS + 1, 2), np.uint8)},
        {"shape": np.array([5, ROWS, COLUMNS])},
        {"affine": np.eye(3)},
    ],
)
def test_a_box_that_does_not_fit_is_no_label_map(store, arrays):
    one = decision(store, store_datasets(store, series(6)), marks(1, 7, 9))
    with pytest.raises(Unreadable, match="a label map is no label map"):
        objects_of(result_of(with_arrays(store, one, **arrays)), (), ObjectSettings(), store)


@pytest.mark.parametrize("empty", [False, True])
def test_the_box_is_the_smallest(store, empty):
    volume = volume_of(store, store_datasets(store, series(6)))
    labels = np.zeros_like(marks(1, 7, 9)) if empty else marks(1, 7, 9)
    with np.load(io.BytesIO(label_map_archive(volume, labels))) as archive:
        box, origin, shape = (archive[name] for name in BOX)
        np.testing.assert_array_equal(archive["labels"], labels)
    assert tuple(shape) == labels.shape
    assert tuple(origin) == ((0, 0, 0) if empty else (1, 7, 9))
    assert box.shape == ((0, 0, 0) if empty else (3, 20, 30))
    assert box.sum() == labels.sum()
