"""What is shown is what was stored: windowed as pydicom does it, the right way round, outlined to the voxel."""

import io
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_windowing

from gateways.console.cache import Cache
from gateways.console.outlines import outline
from gateways.console.pictures import Pictures, encoded
from gateways.console.series import read_series
from gateways.console.stack import WINDOWS, Mark
from gateways.imaging.lesions import lesions
from gateways.inference.triton import label_map_archive
from gateways.objects import FileStore
from schemas.codes import INTRACRANIAL_HEMORRHAGE, Code
from schemas.failures import Unreadable
from schemas.models import ModelClass
from sinsok.phantom import Case, build
from tests.results import ReadStudy
from tests.unit.gateways.imaging import ct

OTHER = Code(scheme="99SINSOK", value="EDEMA", meaning="Perilesional oedema")
TILT = [1.0, 0, 0, 0, float(np.cos(np.radians(12))), -float(np.sin(np.radians(12)))]


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path)


@pytest.fixture
def pictures(store):
    return Pictures(store)


@cache
def phantom(case: Case):
    return build(case, slices=6).datasets


def decoded(tile: bytes, rows: int, columns: int) -> np.ndarray:
    """A tile as the browser takes it apart."""
    low, high = np.frombuffer(zlib.decompress(tile, 16 + zlib.MAX_WBITS), np.uint8).reshape(2, rows, columns)
    zigzag = low.astype(np.int32) | high.astype(np.int32) << 8
    return np.cumsum((zigzag >> 1) ^ -(zigzag & 1), axis=1).astype(np.int16)


def shown(pictures: Pictures, manifest) -> np.ndarray:
    stack = pictures.stack(manifest)
    tiles = [pictures.tile(manifest, index) for index in range(stack.count)]
    return np.stack([decoded(tile, stack.rows, stack.columns) for tile in tiles])


def names(store, manifest) -> list[tuple[str, int | None]]:
    """SOP UIDs and frames of the slices, in their order."""
    return [(one.image.name.sop_uid, one.image.name.frame) for one in read_series(manifest, store).images]


def greys(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)))


def as_pydicom(ds: Dataset, stored: np.ndarray, window) -> np.ndarray:
    """The stored values of one frame in a window, 0 to 255."""
    groups = ds.get("SharedFunctionalGroupsSequence") or [ds]
    rescale = groups[0].get("PixelValueTransformationSequence", [ds])[0]
    how = Dataset()
    how.RescaleSlope, how.RescaleIntercept = rescale.RescaleSlope, rescale.RescaleIntercept
    how.BitsStored, how.PixelRepresentation = ds.BitsStored, ds.PixelRepresentation
    how.PhotometricInterpretation = ds.PhotometricInterpretation
    how.WindowWidth, how.WindowCenter, how.VOILUTFunction = window.width, window.level, "LINEAR"
    seen = apply_windowing(apply_modality_lut(stored, how), how)
    # pydicom scales to what the stored values could become.
    slope, least = int(how.RescaleSlope), -(2 ** (ds.BitsStored - 1)) if ds.PixelRepresentation else 0
    black, span = least * slope + int(how.RescaleIntercept), (2**ds.BitsStored - 1) * slope
    return np.floor((seen - black) / span * 255 + 0.5)


def read(store, datasets) -> ReadStudy:
    for ds in datasets:
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2", "1.2.3"
    return ReadStudy(store, "suwon", datasets)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("case", [Case.IPH, Case.ENHANCED])
def test_a_picture_and_a_windowed_tile_are_what_pydicom_makes_of_the_image(store, pictures, case, window):
    study = ReadStudy(store, "suwon", phantom(case))
    volume = shown(pictures, study.manifest)
    images = {str(ds.SOPInstanceUID): ds for ds in study.datasets}
    for index, (sop_uid, frame) in enumerate(names(store, study.manifest)):
        ds = images[sop_uid]
        stored = ds.pixel_array if frame is None else ds.pixel_array[frame - 1]
        expected = as_pydicom(ds, stored, window)
        np.testing.assert_array_equal(greys(pictures.picture(study.manifest, index, window)), expected)
        np.testing.assert_array_equal(window.grey(volume[index]), expected)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_signed_values_with_a_slope_are_windowed_as_by_pydicom(store, pictures, window):
    def bend(ds: Dataset, z: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = 2, -100
        ct.store(ds, ct.truth(6)[z].astype(np.int32))

    study = read(store, ct.series(bend=bend))
    for index, ds in enumerate(reversed(study.datasets)):
        values = np.maximum(ds.pixel_array, -462)  # -1024 HU, below which no window looks
        expected = as_pydicom(ds, values, window)
        np.testing.assert_array_equal(greys(pictures.picture(study.manifest, index, window)), expected)


def mirrored_columns(ds: Dataset) -> None:
    turned(ds, lambda pixels: pixels[:, ::-1], start=(0, -1), across=-1)


def mirrored_rows(ds: Dataset) -> None:
    turned(ds, lambda pixels: pixels[::-1], start=(-1, 0), down=-1)


def upside_down(ds: Dataset) -> None:
    mirrored_columns(ds)
    mirrored_rows(ds)


def transposed(ds: Dataset) -> None:
    orientation, spacing = list(ds.ImageOrientationPatient), list(ds.PixelSpacing)
    pixels = stored_pixels(ds).T
    ds.ImageOrientationPatient, ds.PixelSpacing = orientation[3:] + orientation[:3], spacing[::-1]
    ds.Rows, ds.Columns = pixels.shape
    ct.store(ds, pixels.astype(np.int32))


def transposed_and_mirrored(ds: Dataset) -> None:
    transposed(ds)
    mirrored_rows(ds)


def stored_pixels(ds: Dataset) -> np.ndarray:
    return np.frombuffer(ds.PixelData, "<i2").reshape(ds.Rows, ds.Columns)


def turned(ds: Dataset, change, start: tuple[int, int], across: int = 1, down: int = 1) -> None:
    """The same voxels at the same places, stored from another corner on."""
    pixels = stored_pixels(ds)
    row, column = (np.array(ds.ImageOrientationPatient[part], float) for part in (slice(0, 3), slice(3, 6)))
    y, x = (length - 1 if first else 0 for first, length in zip(start, pixels.shape, strict=True))
    first = np.array(ds.ImagePositionPatient, float) + x * ds.PixelSpacing[1] * row + y * ds.PixelSpacing[0] * column
    ds.ImagePositionPatient = first.round(6).tolist()
    ds.ImageOrientationPatient = [*(across * row), *(down * column)]
    ct.store(ds, change(pixels).astype(np.int32))


TURNS = [mirrored_columns, mirrored_rows, upside_down, transposed, transposed_and_mirrored]


@pytest.mark.parametrize("way", TURNS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("tilted", [False, True])
def test_however_a_slice_was_stored_it_is_shown_the_same_way(store, pictures, way, tilted):
    def lean(ds: Dataset, z: int) -> None:
        if tilted:
            ds.ImageOrientationPatient = TILT

    upright = read(store, ct.series(bend=lean))

    def bend(ds: Dataset, z: int) -> None:
        lean(ds, z)
        way(ds)

    other = read(store, ct.series(bend=bend)[::-1])
    assert other.manifest != upright.manifest
    np.testing.assert_array_equal(shown(pictures, other.manifest), shown(pictures, upright.manifest))
    one, two = pictures.stack(upright.manifest), pictures.stack(other.manifest)
    assert (one.rows, one.columns, one.edges, one.aspect) == (two.rows, two.columns, two.edges, two.aspect)
    assert names(store, upright.manifest) == names(store, other.manifest)


def test_slices_go_from_the_head_to_the_feet(store, pictures):
    study = read(store, ct.series())
    stack = pictures.stack(study.manifest)
    assert names(store, study.manifest) == [(f"2.25.{number}", None) for number in range(6, 0, -1)]
    assert stack.aspect == pytest.approx(ct.SPACING[1] / ct.SPACING[2])
    np.testing.assert_array_equal(shown(pictures, study.manifest), ct.truth(6)[::-1])


@pytest.mark.parametrize("way", [lambda ds: None, mirrored_columns, transposed_and_mirrored], ids=["as is", "a", "b"])
def test_the_right_side_of_the_patient_is_on_the_left_and_anterior_up(store, pictures, way):
    def bend(ds: Dataset, z: int) -> None:
        pixels = np.full((ct.ROWS, ct.COLUMNS), 0, np.int32)
        pixels[:10, :10] = 2000  # least x and y in patient coordinates: right and anterior
        ct.store(ds, pixels)
        way(ds)

    study = read(store, ct.series(bend=bend))
    assert (shown(pictures, study.manifest)[:, :10, :10] > 900).all()
    edges = pictures.stack(study.manifest).edges
    assert (edges.left, edges.right, edges.top, edges.bottom) == ("R", "L", "A", "P")


@pytest.mark.parametrize(
    ("orientation", "step", "edges", "first"),
    [
        ([1, 0, 0, 0, 0, -1], [0, 1, 0], "RLHF", 0),
        ([1, 0, 0, 0, 0, 1], [0, 1, 0], "RLHF", 0),
        ([0, 0, -1, 1, 0, 0], [0, -1, 0], "RLHF", 5),
        ([0, 1, 0, 0, 0, -1], [1, 0, 0], "APHF", 0),
        ([0, 0, -1, 0, 1, 0], [-1, 0, 0], "APHF", 5),
    ],
)
def test_coronal_and_sagittal_slices_stand_upright(store, pictures, orientation, step, edges, first):
    def bend(ds: Dataset, z: int) -> None:
        ds.ImageOrientationPatient = orientation
        ds.ImagePositionPatient = [5 * z * part for part in step]

    study = read(store, ct.series(bend=bend))
    seen = pictures.stack(study.manifest).edges
    assert seen.left + seen.right + seen.top + seen.bottom == edges
    assert names(store, study.manifest)[0] == (f"2.25.{first + 1}", None)


def test_a_thick_slice_is_shown_once_with_all_that_is_marked_on_it(store, pictures):
    heights = [0, 3, 6, 9, 12, 18, 24, 30, 36]

    def bend(ds: Dataset, z: int) -> None:
        ds.ImagePositionPatient = [ct.ORIGIN[0], ct.ORIGIN[1], heights[z]]

    study = read(store, ct.series(len(heights), bend))
    labels = np.zeros(study.volume().voxels.shape, np.uint8)
    assert len(labels) > len(heights)
    labels[:, 4:6, 4:6] = 1
    result = study.result(labels=labels).series[0].reading
    stack = pictures.stack(study.manifest, result.label_map, result.findings)
    assert stack.labels == ((1,),) * len(heights)
    assert stack.marks[0].label == 1


@pytest.mark.parametrize("case", [Case.IPH, Case.ENHANCED])
def test_a_stack_says_where_a_finding_is_and_its_outline_is_the_mask(store, pictures, case):
    study = ReadStudy(store, "suwon", phantom(case))
    labels = np.zeros((6, 512, 512), np.uint8)
    labels[1:3, 200:230, 100:150], labels[4, 60:90, 300:340], labels[2, 210:220, 120:130] = 1, 1, 4
    reading = study.result(labels=labels).series[0].reading
    stack = pictures.stack(study.manifest, reading.label_map, reading.findings)
    assert stack.labels == ((), (1,), (), (1, 4), (1,), ())
    assert stack.marks == (Mark(4, 1), Mark(1, 1))
    assert (stack.opening(), stack.opening(1), stack.opening(7)) == (4, 1, 4)
    page = stack.for_page()
    assert (page["keys"], page["marked"]) == ([4, 1], [1, 3, 4])
    drawn = pictures.outlines(study.manifest, reading.label_map)
    for index, paths in drawn.items():
        for label, path in paths.items():
            np.testing.assert_array_equal(filled(path, (512, 512))[0], labels[::-1][index] == label)
    assert {(index, label) for index, paths in drawn.items() for label in paths} == {(1, 1), (3, 1), (3, 4), (4, 1)}


def test_outlines_are_turned_with_the_slice(store, pictures):
    study = read(store, ct.series(bend=lambda ds, z: transposed_and_mirrored(ds)))
    volume = study.volume()
    labels = (volume.voxels > 500).astype(np.uint8)
    reading = study.result(labels=labels).series[0].reading
    marked = shown(pictures, study.manifest) > 500
    drawn = pictures.outlines(study.manifest, reading.label_map)
    for index, mask in enumerate(marked):
        np.testing.assert_array_equal(filled(drawn[index][1], mask.shape)[0], mask)


@pytest.mark.parametrize("seed", range(5))
def test_a_path_filled_by_either_rule_is_the_mask(seed):
    mask = np.random.default_rng(seed).random((17, 23)) < 0.2 + 0.15 * seed
    by_parity, by_winding = filled(outline(mask), mask.shape)
    np.testing.assert_array_equal(by_parity, mask)
    np.testing.assert_array_equal(by_winding, mask)


def test_nothing_marked_has_no_outline():
    assert outline(np.zeros((4, 4), bool)) == ""


def test_a_straight_border_is_one_line():
    mask = np.zeros((9, 9), bool)
    mask[2:5, 3:8] = True
    assert outline(mask) == "M3 2h5v3h-5z"


def filled(path: str, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels inside a path of horizontal and vertical lines: by even-odd and by non-zero winding."""
    crossings = np.zeros((shape[0], shape[1] + 1), int)
    winding = np.zeros_like(crossings)
    for part in path.split("M")[1:]:
        x, y = start = tuple(map(int, part.split("h")[0].split("v")[0].split()))
        steps = [(way, int(by)) for way, by in re.findall(r"([hv])(-?\d+)", part)]
        assert part.endswith("z")
        for way, by in steps:
            if way == "h":
                x += by
                continue
            crossed(crossings, winding, x, y, y + by)
            y += by
        assert x == start[0] or y == start[1]
        if x == start[0]:
            crossed(crossings, winding, x, y, start[1])
    return np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1, np.cumsum(winding, axis=1)[:, :-1] != 0


def crossed(crossings: np.ndarray, winding: np.ndarray, x: int, y: int, to: int) -> None:
    rows = slice(min(y, to), max(y, to))
    crossings[rows, x] += 1
    winding[rows, x] += 1 if to > y else -1


def test_a_label_map_of_other_images_is_refused(store, pictures):
    study = read(store, ct.series())
    other = read(store, ct.series(5))
    reading = other.result(labels=np.ones((5, ct.ROWS, ct.COLUMNS), np.uint8)).series[0].reading
    with pytest.raises(Unreadable, match="other images"):
        pictures.outlines(study.manifest, reading.label_map)
    with pytest.raises(Unreadable, match="no label map"):
        pictures.stack(study.manifest, study.manifest)


def test_a_finding_of_another_series_has_no_key_slice_here(store, pictures):
    study, result = read(store, ct.series()), read(store, ct.series()).result()
    finding = result.findings[0].model_copy(update={"key_instance_uid": "9.9"})
    stack = pictures.stack(study.manifest, None, [finding])
    assert (stack.marks, stack.opening(), stack.opening(0)) == ((Mark(None, None),), 3, 3)


def test_each_finding_has_the_label_that_it_was_measured_by(store, pictures):
    """Also where pieces of another kind lie in its box, and more of them."""
    classes = [
        ModelClass(label=1, name="bleed", code=INTRACRANIAL_HEMORRHAGE),
        ModelClass(label=3, name="o", code=OTHER),
    ]
    study = read(store, ct.series(bend=lambda ds, z: transposed_and_mirrored(ds)))
    volume = study.volume()
    labels = np.zeros(volume.voxels.shape, np.uint8)
    labels[1:4, 10:30, 10:30] = 3
    labels[2, 12:14, 12:14] = 1
    labels[5, 40:44, 40:44] = 1
    found = lesions(volume, labels, classes, np.array([0.9, 0.9], np.float32), "1.2.3").findings
    label_map = store.put(label_map_archive(volume, labels), "label-maps", ".npz")
    marks = pictures.stack(study.manifest, label_map, found).marks
    by_code = {INTRACRANIAL_HEMORRHAGE: 1, OTHER: 3}
    assert len(found) == 3
    assert [mark.label for mark in marks] == [by_code[one.code] for one in found]


@pytest.mark.parametrize("index", [-1, 6])
def test_there_are_no_slices_beyond_the_ends(store, pictures, index):
    study = read(store, ct.series())
    with pytest.raises(IndexError):
        pictures.tile(study.manifest, index)
    with pytest.raises(IndexError):
        pictures.picture(study.manifest, index, WINDOWS["brain"])


def test_images_that_form_no_stack_are_said_to_be_unreadable(store, pictures):
    with pytest.raises(Unreadable):
        pictures.stack(read(store, ct.series(1)).manifest)
    broken = store.put(b"not DICOM", "instances", ".dcm")
    with pytest.raises(Unreadable, match="no manifest"):
        pictures.stack(broken)


def test_every_16_bit_value_survives_a_tile():
    plane = np.random.default_rng(1).integers(-32768, 32768, (32, 40), np.int16)
    plane[0, :2] = -32768, 32767
    np.testing.assert_array_equal(decoded(encoded(plane), 32, 40), plane)


def test_memory_stays_below_its_limit_and_all_is_shown(store):
    pictures = Pictures(store, limit_bytes=60_000)
    study = ReadStudy(store, "suwon", phantom(Case.ENHANCED))
    series = read(store, ct.series())
    for _ in range(2):
        shown(pictures, study.manifest)
        shown(pictures, series.manifest)
        assert 0 < pictures.held_bytes <= 60_000


def test_what_was_made_needs_no_file_any_more(store, pictures):
    study = read(store, ct.series())
    tiles = [pictures.tile(study.manifest, index) for index in range(6)]
    for path in (store.root / "dicom").rglob("*.dcm"):
        path.unlink()
    assert [pictures.tile(study.manifest, index) for index in range(6)] == tiles
    with pytest.raises(Unreadable):
        pictures.picture(study.manifest, 0, WINDOWS["bone"])


def test_a_cache_forgets_what_was_not_used_for_the_longest():
    cache = Cache(10)
    made = []

    def get(key: str, size: int = 4) -> str:
        return cache.get(key, lambda: made.append(key) or key, lambda value: size)

    for key in "abacab":
        assert get(key) == key
    assert made == ["a", "b", "c", "b"]
    assert get("large", 11) == "large"
    assert cache.held_bytes == 8


def test_a_value_is_made_once_for_all_who_ask_at_the_same_time():
    cache, together, made = Cache(10), Barrier(4), []

    def make() -> object:
        made.append(1)
        return object()

    def ask(_: int) -> object:
        together.wait()
        return cache.get("key", make, lambda value: 1)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1
    assert len(made) == 1


def test_a_failure_is_not_kept():
    cache = Cache(10)

    def fail() -> int:
        raise Unreadable("no")

    with pytest.raises(Unreadable):
        cache.get("key", fail, lambda value: 1)
    assert cache.get("key", lambda: 1, lambda value: 1) == 1
