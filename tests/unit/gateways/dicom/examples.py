"""Data sets as a scanner sends them, small enough to write in a test."""

from io import BytesIO
from typing import Any

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from gateways.dicom.file_meta import FileMeta
from gateways.dicom.receiver import Sender, StoreRequest

SENDER = Sender(association="a1", site="suwon", calling_ae="CT1", called_ae="SUWON_AI")


def ct_slice(number: int = 1, *, series: str = "1.2.3.1", study: str = "1.2.3", **elements: Any) -> Dataset:
    """Slice ``number`` (from 1) of an axial stack with 5 mm between slices, 8 x 8 pixels."""
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = f"{series}.{number}"
    ds.StudyInstanceUID = study
    ds.SeriesInstanceUID = series
    ds.Modality = "CT"
    ds.PatientName = "PHANTOM^IPH"
    ds.PatientID = "PID-4711"
    ds.Rows = ds.Columns = 8
    ds.PixelSpacing = [0.5, 0.5]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.ImagePositionPatient = [0, 0, 5 * number]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 0
    ds.PixelData = bytes(128)
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def encoded(ds: Dataset, *, implicit: bool = False, little: bool = True) -> bytes:
    """The data set's bytes as they go over the network."""
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = implicit, little
    write_dataset(file, ds)
    return file.getvalue()


def part10(ds: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set as a DICOM file."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    file = BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def store_request(ds: Dataset, sender: Sender = SENDER, **changes: Any) -> StoreRequest:
    """The C-STORE of a data set in Explicit VR Little Endian."""
    meta = FileMeta(str(ds.SOPClassUID), str(ds.SOPInstanceUID), str(ExplicitVRLittleEndian))
    fields = {"sender": sender, "abstract_syntax": meta.sop_class, "meta": meta, "data_set": encoded(ds)}
    return StoreRequest(**(fields | changes))
