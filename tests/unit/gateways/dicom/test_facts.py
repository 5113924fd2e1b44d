import zlib
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, JPEG2000Lossless

from gateways.dicom.facts import Facts, NotUnderstood, read_facts
from gateways.dicom.file_meta import EXPLICIT_LITTLE, FileMeta, file_head
from tests.unit.gateways.dicom.examples import ct_slice, encoded

META = FileMeta(str(CTImageStorage), "1.2.3.1.1", EXPLICIT_LITTLE)
IMPLICIT = "1.2.840.10008.1.2"
BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"


def facts_of(folder: Path, data_set: bytes, meta: FileMeta = META) -> Facts:
    path = folder / "object.part"
    path.write_bytes(file_head(meta) + data_set)
    return read_facts(path, meta)


def test_facts_of_a_slice(tmp_path):
    ds = ct_slice(3, KVP=120, ConvolutionKernel="H31s", SliceThickness="5.0", ImagesInAcquisition=32)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    facts = facts_of(tmp_path, encoded(ds))
    assert (facts.study_uid, facts.series_uid, facts.sop_uid) == ("1.2.3", "1.2.3.1", "1.2.3.1.3")
    assert (facts.modality, facts.kernel, facts.slice_thickness_mm, facts.expected_instances) == ("CT", "H31s", 5, 32)
    assert facts.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    (plane,) = facts.planes
    assert plane.position_mm == (0, 0, 15)


@pytest.mark.parametrize(
    ("syntax", "implicit", "little"), [(EXPLICIT_LITTLE, False, True), (IMPLICIT, True, True), (BIG, False, False)]
)
def test_the_pixel_offset_is_where_the_pixel_data_element_begins(tmp_path, syntax, implicit, little):
    meta = META._replace(transfer_syntax=syntax)
    data = encoded(ct_slice(), implicit=implicit, little=little)
    facts = facts_of(tmp_path, data, meta)
    tag = b"\xe0\x7f\x10\x00" if little else b"\x7f\xe0\x00\x10"
    assert facts.pixel_offset is not None
    assert (file_head(meta) + data)[facts.pixel_offset :].startswith(tag)


def test_encapsulated_pixel_data_have_an_offset_too(tmp_path):
    ds = ct_slice()
    ds.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    facts = facts_of(tmp_path, encoded(ds), META._replace(transfer_syntax=str(JPEG2000Lossless)))
    assert facts.pixel_offset is not None


@pytest.mark.parametrize("syntax", [DEFLATED, "1.2.840.10008.1.2.4.95"])
def test_a_deflated_data_set_is_understood_and_has_no_offset(tmp_path, syntax):
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = deflate.compress(encoded(ct_slice(2))) + deflate.flush()
    facts = facts_of(tmp_path, data, META._replace(transfer_syntax=syntax))
    assert (facts.sop_uid, facts.pixel_offset) == ("1.2.3.1.2", None)


def test_an_object_without_pixels_has_neither_planes_nor_offset(tmp_path):
    ds = ct_slice()
    del ds.PixelData, ds.Rows
    facts = facts_of(tmp_path, encoded(ds))
    assert (facts.planes, facts.pixel_offset) == ((), None)


def test_frames_of_an_enhanced_image_are_planes(tmp_path):
    ds = ct_slice(SOPClassUID=EnhancedCTImageStorage)
    del ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.4, 0.4], 2
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for z in (0, 2, 4):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, z]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    facts = facts_of(tmp_path, encoded(ds))
    assert [plane.position_mm[2] for plane in facts.planes] == [0, 2, 4]
    assert {plane.pixel_spacing_mm for plane in facts.planes} == {(0.4, 0.4)}
    assert facts.slice_thickness_mm == 2


def test_uids_that_break_the_rules_are_kept_as_they_are(tmp_path):
    ds = ct_slice(SOPInstanceUID="ID_032d5f85e", StudyInstanceUID="ID_f10de2d018", SeriesInstanceUID="ID_e17326e0bd")
    facts = facts_of(tmp_path, encoded(ds))
    assert (facts.sop_uid, facts.study_uid, facts.series_uid) == ("ID_032d5f85e", "ID_f10de2d018", "ID_e17326e0bd")


def test_what_the_data_set_does_not_say_the_command_says(tmp_path):
    ds = ct_slice()
    del ds.SOPClassUID
    assert facts_of(tmp_path, encoded(ds)).sop_class == CTImageStorage


def test_values_that_are_no_numbers_are_left_out(tmp_path):
    ds = ct_slice()
    data = encoded(ds).replace(b"0.0\\0.0\\5.0", b"a.0\\b.0\\c.0")
    assert facts_of(tmp_path, data).planes == ()


@pytest.mark.parametrize("place", ["1e308", "-100001", "NaN", "inf"])
def test_a_place_no_scanner_reaches_is_unknown(tmp_path, place):
    ds = ct_slice()
    data = encoded(ds).replace(b"\x0c\x000.0\\0.0\\5.0 ", b"\x0c\x00" + f"0\\0\\{place}".encode().ljust(12))
    facts = facts_of(tmp_path, data)
    assert (facts.planes, facts.sop_uid) == ((), "1.2.3.1.1")


def test_text_is_cut_to_what_an_event_can_hold(tmp_path):
    ds = ct_slice(StudyDescription="s" * 5_000_000, SeriesDescription="d" * 70_000, ConvolutionKernel="k" * 300)
    ds.Modality, ds.BodyPartExamined, ds.ImageType = "M" * 300, "B" * 300, ["t" * 300] * 300
    facts = facts_of(tmp_path, encoded(ds, implicit=True), META._replace(transfer_syntax=IMPLICIT))
    assert facts.study_description == "s" * 1024
    assert facts.series_description == "d" * 1024
    assert (facts.modality, facts.body_part, facts.kernel) == ("M" * 64, "B" * 64, "k" * 64)
    assert facts.image_type == ("t" * 64,) * 16


def test_no_name_is_left_where_a_text_is_cut(tmp_path):
    description = facts_of(tmp_path, encoded(ct_slice(StudyDescription="x" * 1020 + " PHANTOM"))).study_description
    assert description is not None
    assert "PHA" not in description


def test_descriptions_are_left_out_where_the_identifiers_are_endless(tmp_path):
    ds = ct_slice(StudyDescription="HEAD", PatientID="1 2 3 " * 10_000)
    facts = facts_of(tmp_path, encoded(ds, implicit=True), META._replace(transfer_syntax=IMPLICIT))
    assert facts.study_description is None


def test_descriptions_lose_the_patient(tmp_path):
    ds = ct_slice(
        SeriesDescription="HEAD for phantom (pid-4711)",
        StudyDescription="CT 19580304 A100",
        AccessionNumber="A100",
        PatientBirthDate="19580304",
    )
    facts = facts_of(tmp_path, encoded(ds))
    assert facts.series_description == "HEAD for [removed] ([removed])"
    assert facts.study_description == "CT [removed] [removed]"


def test_a_modality_stays_although_the_patient_is_called_so(tmp_path):
    assert facts_of(tmp_path, encoded(ct_slice(Modality="MR", PatientName="DOE^JOHN^^MR"))).modality == "MR"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: b"", "no StudyInstanceUID, SeriesInstanceUID"),
        (lambda data: b"\x00" * 4000, "the data set"),
        (lambda data: b"not dicom at all " * 20, "the data set"),
        (lambda data: data[:60], "the data set"),
        (lambda data: data[:-20], "the pixel data end early"),
        (lambda data: data.replace(b"1.2.3.1\x00", b"\x00" * 8), "no SeriesInstanceUID"),
    ],
)
def test_what_cannot_be_understood_says_why_and_quotes_nothing(tmp_path, spoil, reason):
    with pytest.raises(NotUnderstood, match=reason) as error:
        facts_of(tmp_path, spoil(encoded(ct_slice())))
    assert "PHANTOM" not in str(error.value)
    assert "4711" not in str(error.value)


def test_bytes_that_do_not_inflate_are_not_understood(tmp_path):
    with pytest.raises(NotUnderstood, match="cannot be inflated"):
        facts_of(tmp_path, b"\xff" * 100, META._replace(transfer_syntax=DEFLATED))
