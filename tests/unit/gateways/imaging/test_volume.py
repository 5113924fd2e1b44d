"""A volume holds the Hounsfield units the scanner meant, and its affine says where they are."""

import random

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from gateways.imaging.pixels import stored_values
from gateways.imaging.volume import load_volume
from schemas.failures import Unreadable
from tests.unit.gateways.imaging.ct import (
    COLUMNS,
    ORIGIN,
    ROWS,
    SPACING,
    MemoryObjects,
    manifest,
    part_10,
    series,
    store,
    truth,
    volume_of,
)


def place(volume, x, y, z):
    return volume.affine @ [x, y, z, 1]


def test_holds_hounsfield_units_and_places():
    volume = volume_of(series())
    assert volume.voxels.dtype == np.int16
    assert np.array_equal(volume.voxels, truth(6))
    assert volume.spacing_mm == pytest.approx(SPACING)
    assert place(volume, 2, 3, 4) == pytest.approx([ORIGIN[0] + 2 * 0.5, ORIGIN[1] + 3 * 0.8, ORIGIN[2] + 20, 1])
    assert volume.voxel_ml == pytest.approx(np.prod(SPACING) / 1000)
    assert volume.cautions == ()


def test_order_of_arrival_plays_no_part():
    datasets = series()
    random.Random(7).shuffle(datasets)
    volume = volume_of(datasets)
    assert np.array_equal(volume.voxels, truth(6))
    assert [name.sop_uid for name in volume.slices] == [f"2.25.{z}" for z in range(1, 7)]


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_slices(syntax):
    volume = volume_of(series(3, lambda ds, z: ds.compress(syntax, generate_instance_uid=False)))
    assert np.array_equal(volume.voxels, truth(3))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings(syntax):
    def bend(ds: Dataset, z: int) -> None:
        ds.file_meta.TransferSyntaxUID = syntax

    assert np.array_equal(volume_of(series(3, bend)).voxels, truth(3))


def test_big_endian():
    def bend(ds: Dataset, z: int) -> None:
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        ds["PixelData"].VR = "OW"

    assert np.array_equal(volume_of(series(3, bend)).voxels, truth(3))


@pytest.mark.parametrize(
    ("name", "least", "greatest"),
    [
        ("693_UNCR.dcm", -2000, 2492),  # 14 of 16 bits, signed
        ("693_J2KR.dcm", -2000, 2492),  # JPEG 2000 lossless
        ("J2K_pixelrep_mismatch.dcm", -2000, 1896),  # the code stream says unsigned, the header signed
        ("JPGLosslessP14SV1_1s_1f_8b.dcm", 0, 255),  # JPEG lossless, first order
        ("JPEG-LL.dcm", 0, 278),  # the same, 16 bits
        ("JPEGLSNearLossless_16.dcm", 0, 65535),
        ("emri_small_RLE.dcm", 0, 467),
        ("MR_small_expb.dcm", 127, 2145),
    ],
)
def test_stored_values_of_foreign_files(name, least, greatest):
    values = stored_values(pydicom.dcmread(get_testdata_file(name, download=False)))
    assert (values.min(), values.max()) == (least, greatest)


def test_garbage_above_the_stored_bits_is_ignored():
    def bend(ds: Dataset, z: int) -> None:
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 0
        store(ds, (truth(3)[z].astype(np.int32) + 1024) | 0xA000)

    assert np.array_equal(volume_of(series(3, bend)).voxels, truth(3))


def test_signed_values_in_twelve_bits():
    def bend(ds: Dataset, z: int) -> None:
        ds.BitsStored, ds.HighBit, ds.RescaleIntercept = 12, 11, 0
        store(ds, truth(3)[z].astype(np.int32) & 0xFFF)

    assert np.array_equal(volume_of(series(3, bend)).voxels, truth(3))


def test_values_that_sit_high_in_their_words_are_refused():
    def bend(ds: Dataset, z: int) -> None:
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 15, 0

    with pytest.raises(Unreadable, match="high bit 15"):
        volume_of(series(3, bend))


def test_rescale_is_each_slices_own():
    def bend(ds: Dataset, z: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = 0.5, -1024 + 10 * z
        store(ds, (truth(3)[z].astype(np.int32) + 1024 - 10 * z) * 2)

    assert np.array_equal(volume_of(series(3, bend)).voxels, truth(3))


def test_padding_is_air():
    def bend(ds: Dataset, z: int) -> None:
        values = truth(3)[z].astype(np.int32) + 1024
        values[0, :] = -2000
        store(ds, values)
        ds.add_new("PixelPaddingValue", "SS", -2000)

    volume = volume_of(series(3, bend))
    assert (volume.voxels[:, 0] == -1024).all()
    assert np.array_equal(volume.voxels[:, 1:], truth(3)[:, 1:])


def test_monochrome1_changes_the_display_only():
    def bend(ds: Dataset, z: int) -> None:
        ds.PhotometricInterpretation = "MONOCHROME1"

    assert np.array_equal(volume_of(series(3, bend)).voxels, truth(3))


def test_tilted_gantry_keeps_voxels_and_slants_the_affine():
    tilt = np.radians(8)
    direction = [1, 0, 0, 0, float(np.cos(tilt)), float(-np.sin(tilt))]

    def bend(ds: Dataset, z: int) -> None:
        ds.ImageOrientationPatient = direction

    volume = volume_of(series(6, bend))
    assert np.array_equal(volume.voxels, truth(6))
    assert place(volume, 0, 0, 5)[:3] == pytest.approx([ORIGIN[0], ORIGIN[1], ORIGIN[2] + 25])
    assert place(volume, 0, 10, 0)[:3] == pytest.approx(
        [ORIGIN[0], ORIGIN[1] + 8 * np.cos(tilt), ORIGIN[2] - 8 * np.sin(tilt)]
    )
    assert volume.spacing_mm[0] == pytest.approx(5 * np.cos(tilt))
    assert volume.voxel_ml == pytest.approx(np.prod(volume.spacing_mm) / 1000)


def test_slices_ascend_along_their_normal():
    def bend(ds: Dataset, z: int) -> None:
        ds.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]

    volume = volume_of(series(4, bend))
    assert np.array_equal(volume.voxels, truth(4)[::-1])
    assert place(volume, 1, 0, 0)[:3] == pytest.approx([ORIGIN[0] - 0.5, ORIGIN[1], ORIGIN[2] + 15])


def test_the_same_slice_twice_counts_once():
    datasets = series()
    again = series()[2]
    again.SOPInstanceUID = "2.25.99"
    volume = volume_of([*datasets, again])
    assert np.array_equal(volume.voxels, truth(6))
    assert volume.cautions == ()


def test_another_slice_in_the_same_place_is_said():
    other = series()[2]
    other.SOPInstanceUID, other.AcquisitionNumber = "2.25.99", 2
    store(other, np.zeros((ROWS, COLUMNS), np.int32))
    volume = volume_of([other, *series()])
    assert np.array_equal(volume.voxels, truth(6))
    assert volume.cautions == ("1 images stand where another one stands: the first acquisition was used",)


def test_missing_slices_are_said_and_not_measured():
    volume = volume_of([ds for z, ds in enumerate(series(10)) if z not in (4, 5)])
    assert volume.voxels.shape == (10, ROWS, COLUMNS)
    assert volume.acquired.tolist() == [True] * 4 + [False] * 2 + [True] * 4
    assert np.array_equal(volume.voxels[4], truth(10)[3])
    assert np.array_equal(volume.voxels[5], truth(10)[6])
    assert np.array_equal(volume.voxels[6:], truth(10)[6:])
    assert volume.cautions == ("2 of 10 slices are missing: nothing was measured there",)


def test_slightly_uneven_spacing_is_said():
    def bend(ds: Dataset, z: int) -> None:
        ds.ImagePositionPatient = [*ORIGIN[:2], ORIGIN[2] + 5 * z + (0.6 if z == 3 else 0)]

    (caution,) = volume_of(series(6, bend)).cautions
    assert caution == "slice spacing is uneven, up to 0.6 mm off its place"


def test_slices_without_any_order_are_refused():
    heights = [0, 5, 11.6, 13, 21.7, 24]

    def bend(ds: Dataset, z: int) -> None:
        ds.ImagePositionPatient = [0, 0, heights[z]]

    with pytest.raises(Unreadable, match="unevenly spaced"):
        volume_of(series(6, bend))


def test_a_localizer_among_the_slices_is_left_out():
    scout = series(1)[0]
    scout.SOPInstanceUID, scout.ImageType = "2.25.99", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImagePositionPatient = [0, 0, 400]
    volume = volume_of([*series(), scout])
    assert np.array_equal(volume.voxels, truth(6))
    assert volume.cautions == ("1 images of another plane, size or kind were left out",)


def test_enhanced_ct_names_frames():
    path = get_testdata_file("eCT_Supplemental.dcm", download=False)
    ds = pydicom.dcmread(path)
    volume = volume_of([ds])
    assert volume.voxels.shape == (2, 512, 512)
    # Rows run to the right, so the normal points to the feet and the higher frame comes first.
    assert [name.frame for name in volume.slices] == [2, 1]
    assert place(volume, 0, 0, 0)[:3] == pytest.approx([99.5, -301.5, -149.0])
    assert place(volume, 511, 0, 1)[:3] == pytest.approx([99.5 - 511 * 0.388672, -301.5, -159.0])
    assert np.array_equal(volume.voxels[1], np.clip(stored_values(ds)[0] - 1024, -1024, None))


@pytest.mark.parametrize(
    ("keyword", "line"),
    [
        ("PixelData", "no pixel data"),
        ("RescaleSlope", "no Hounsfield units"),
        ("ImagePositionPatient", "where it lies"),
        ("ImageOrientationPatient", "where it lies"),
        ("PixelSpacing", "where it lies"),
    ],
)
def test_what_a_volume_cannot_do_without(keyword, line):
    def bend(ds: Dataset, z: int) -> None:
        delattr(ds, keyword)

    with pytest.raises(Unreadable, match=line):
        volume_of(series(3, bend))


def test_one_slice_is_no_volume():
    with pytest.raises(Unreadable, match="at least two slices"):
        volume_of(series(1))


@pytest.mark.parametrize("content", [b"", b"not dicom", part_10(series(1)[0])[:-200]], ids=["empty", "text", "cut"])
def test_broken_files_are_one_line_without_content(content):
    objects = MemoryObjects()
    with pytest.raises(Unreadable) as failure:
        load_volume(manifest([content], objects), objects)
    assert "\n" not in str(failure.value)
    assert "not dicom" not in str(failure.value)


def test_a_colour_picture_is_refused():
    def bend(ds: Dataset, z: int) -> None:
        ds.SamplesPerPixel = 3

    with pytest.raises(Unreadable, match="in colour"):
        volume_of(series(3, bend))


@pytest.mark.parametrize("dimension", ["Rows", "NumberOfFrames"])
def test_what_claims_to_be_huge_is_not_decoded(dimension, monkeypatch):
    def bend(ds: Dataset, z: int) -> None:
        ds.Columns = 65535
        setattr(ds, dimension, 65535)
        if dimension == "NumberOfFrames":
            ds.PerFrameFunctionalGroupsSequence = [Dataset()]

    monkeypatch.setattr("gateways.imaging.volume.stored_values", lambda ds: pytest.fail("it was decoded"))
    with pytest.raises(Unreadable, match="more than 536870912 voxels"):
        volume_of(series(3, bend))


def test_images_that_are_too_many_are_not_all_decoded(monkeypatch):
    monkeypatch.setattr("gateways.imaging.volume.MAX_VOXELS", 10 * ROWS * COLUMNS)
    decoded = []
    monkeypatch.setattr("gateways.imaging.volume.stored_values", lambda ds: decoded.append(ds) or stored_values(ds))
    with pytest.raises(Unreadable, match="the series has more than"):
        volume_of(series(40))
    assert len(decoded) == 10


def test_a_deflated_file_that_is_damaged_is_unreadable():
    ds = series(1)[0]
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = part_10(ds)
    objects = MemoryObjects()
    with pytest.raises(Unreadable, match="cannot be parsed"):
        load_volume(manifest([content[:-300] + b"\xff" * 300], objects), objects)


def test_pixels_without_a_depth_are_unreadable():
    def bend(ds: Dataset, z: int) -> None:
        del ds.HighBit

    with pytest.raises(Unreadable, match="cannot be parsed"):
        volume_of(series(3, bend))
