"""Objects as they are delivered: small, valid enough, and marked as synthetic."""

from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom.sop_class import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from gateways.pacs.peer import Instance

KOREAN = "Hong^Gildong=洪^吉洞=홍^길동"


def an_object(
    folder: Path,
    study_uid: str,
    *,
    sop_class: str = SecondaryCaptureImageStorage,
    uid: str | None = None,
    series_uid: str | None = None,
    character_set: str | list[str] = "ISO_IR 192",
    name: str = "PHANTOM^PEER",
    pixels: int = 60_000,
) -> Instance:
    """A Secondary Capture, or a document where that is the class, in a file."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = character_set
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = uid or generate_uid()
    ds.StudyInstanceUID = study_uid
    ds.SeriesInstanceUID = series_uid or generate_uid()
    ds.PatientName = name
    ds.PatientID = "PHANTOM-1"
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "F"
    if sop_class == SecondaryCaptureImageStorage:
        ds.Modality = "OT"
        ds.Rows, ds.Columns, ds.SamplesPerPixel = pixels // 250, 250, 1
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.PixelData = bytes(range(250)) * (pixels // 250)
    else:
        ds.Modality = "SR"
    path = folder / f"{ds.SOPInstanceUID}.dcm"
    dcmwrite(path, ds, enforce_file_format=True)
    return Instance(str(ds.SOPClassUID), str(ds.SOPInstanceUID), str(ds.SeriesInstanceUID), path)


def a_result(folder: Path, study_uid: str) -> list[Instance]:
    """A key image and a report."""
    return [
        an_object(folder, study_uid),
        an_object(folder, study_uid, sop_class=Comprehensive3DSRStorage),
    ]
