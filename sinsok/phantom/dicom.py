"""Slices as DICOM objects: CT Image, MR Image and localizer (PS3.3, A.3 and A.4), every one marked as synthetic."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from sinsok.phantom.space import Float, Grid, Point

_NAMESPACE: Final = UUID("6c1c1f0e-6d0e-5f8c-9a52-6c3f5a3f1d27")
_RESCALE_INTERCEPT: Final = -1024
_AXIAL: Final = [1, 0, 0, 0, 1, 0]
_FROM_THE_LEFT: Final = [0, 1, 0, 0, 0, -1]
_DATE: Final = "20260105"
MARK: Final = "SYNTHETIC PHANTOM - NOT A PATIENT"


def derived_uid(*parts: object) -> UID:
    """A UID that follows from what it names (PS3.5, B.2): the same parts give the same UID."""
    return UID(f"2.25.{uuid5(_NAMESPACE, '|'.join(str(part) for part in parts)).int}")


@dataclass(frozen=True)
class SeriesHeader:
    """What all instances of a study's one series say of themselves; ``entropy`` makes its UIDs."""

    entropy: str
    name: str
    number: int
    modality: str
    body_part: str
    study_description: str
    series_description: str
    series_number: int = 2

    @property
    def study_uid(self) -> UID:
        """Study Instance UID."""
        return derived_uid("study", self.entropy)

    def instance(self, sop_class: UID, number: int) -> Dataset:
        """Instance ``number`` (from 1), complete but for its image."""
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 100"
        ds.SOPClassUID = sop_class
        ds.SOPInstanceUID = derived_uid("instance", self.entropy, self.series_number, number)
        ds.InstanceCreationDate = ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = _DATE
        ds.InstanceCreationTime = ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "031500"
        ds.AccessionNumber = f"PH{self.study_uid[-12:]}"
        ds.Modality = self.modality
        ds.Manufacturer = "SINSOK"
        ds.InstitutionName = "SINSOK PHANTOM"
        ds.ReferringPhysicianName = ""
        ds.StationName = "PHANTOM"
        ds.StudyDescription = self.study_description
        ds.SeriesDescription = self.series_description
        ds.ManufacturerModelName = "PHANTOM"
        ds.PatientName = f"PHANTOM^{self.name.upper()}"
        ds.PatientID = f"PHANTOM-{self.name.upper()}-{self.number}"
        ds.PatientBirthDate = "19000101"
        ds.PatientSex = "O"
        ds.PatientComments = MARK
        ds.BodyPartExamined = self.body_part
        ds.DeviceSerialNumber = "0"
        ds.SoftwareVersions = "1"
        ds.PatientPosition = "HFS"
        ds.StudyInstanceUID = self.study_uid
        ds.SeriesInstanceUID = derived_uid("series", self.entropy, self.series_number)
        ds.StudyID = str(self.number)
        ds.SeriesNumber = self.series_number
        ds.AcquisitionNumber = 1
        ds.InstanceNumber = number
        ds.FrameOfReferenceUID = derived_uid("frame of reference", self.entropy)
        ds.PositionReferenceIndicator = ""
        ds.QualityControlImage = "YES"
        ds.BurnedInAnnotation = "NO"
        ds.ImageComments = MARK
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.ImplementationClassUID = derived_uid("implementation")
        ds.file_meta.ImplementationVersionName = "SINSOK"
        ds.file_meta.MediaStorageSOPClassUID = sop_class
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        return ds


def ct_images(header: SeriesHeader, hounsfield: Float, grid: Grid) -> Iterator[Dataset]:
    """One CT Image for each slice of ``hounsfield`` [z, y, x], from the feet up, made one by one."""
    for index, slice_hu in enumerate(hounsfield):
        ds = header.instance(CTImageStorage, index + 1)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        place(ds, grid.position_mm(index), _AXIAL, grid)
        ds.SliceLocation = decimal(grid.position_mm(index)[2])
        _x_ray(ds, grid.spacing_mm[1] * grid.shape[2])
        write_hounsfield(ds, slice_hu)
        yield ds


def localizer(header: SeriesHeader, view: Float, grid: Grid, centre_mm: Point) -> Dataset:
    """A lateral scout [row, column] as CT Image of type LOCALIZER."""
    ds = header.instance(CTImageStorage, 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    rows, columns = view.shape
    x, y, z = centre_mm
    pixel = grid.spacing_mm[1]
    place(ds, (x, y - (columns - 1) * pixel / 2, z + (rows - 1) * pixel / 2), _FROM_THE_LEFT, grid)
    ds.SliceThickness = decimal(grid.spacing_mm[2])
    _x_ray(ds, pixel * columns)
    write_hounsfield(ds, view)
    ds.RescaleType = "US"
    return ds


def mr_images(header: SeriesHeader, signal: Float, grid: Grid) -> Iterator[Dataset]:
    """One MR Image for each slice of ``signal`` [z, y, x], as a T2-weighted spin echo."""
    for index, slice_signal in enumerate(signal):
        ds = header.instance(MRImageStorage, index + 1)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
        place(ds, grid.position_mm(index), _AXIAL, grid)
        ds.SliceLocation = decimal(grid.position_mm(index)[2])
        ds.SpacingBetweenSlices = decimal(grid.spacing_mm[0])
        ds.ScanningSequence = "SE"
        ds.SequenceVariant = "SK"
        ds.ScanOptions = "PFP"
        ds.MRAcquisitionType = "2D"
        ds.RepetitionTime = "4500"
        ds.EchoTime = "96"
        ds.EchoTrainLength = "15"
        ds.MagneticFieldStrength = "1.5"
        _pixels(ds, slice_signal)
        ds.WindowCenter, ds.WindowWidth = "450", "900"
        yield ds


def place(ds: Dataset, position_mm: Point, orientation: list[int], grid: Grid) -> None:
    """Fill the Image Plane module (PS3.3, C.7.6.2)."""
    ds.PixelSpacing = [decimal(value) for value in grid.spacing_mm[1:]]
    ds.ImageOrientationPatient = orientation
    ds.ImagePositionPatient = [decimal(value) for value in position_mm]
    ds.SliceThickness = decimal(grid.spacing_mm[0])


def write_hounsfield(ds: Dataset, hounsfield: Float) -> None:
    """Fill pixel data and rescale: 12 bits above -1024 HU, as scanners store them."""
    _pixels(ds, hounsfield - _RESCALE_INTERCEPT)
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(_RESCALE_INTERCEPT), "1", "HU"
    ds.WindowCenter, ds.WindowWidth = "40", "80"


def stored(values: Float) -> bytes:
    """Values as 12-bit pixels in 16-bit words, little endian."""
    return np.clip(np.rint(values), 0, 4095).astype("<u2").tobytes()


def decimal(value: float) -> str:
    """A Decimal String (PS3.5, 6.2) to a ten-thousandth."""
    return f"{round(value, 4):g}" if abs(value) < 100 else f"{value:.4f}"


def _pixels(ds: Dataset, values: Float) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = values.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.add_new("PixelData", "OW", stored(values))


def _x_ray(ds: Dataset, field_mm: float) -> None:
    ds.KVP = "120"
    ds.XRayTubeCurrent = "250"
    ds.ExposureTime = "1000"
    ds.Exposure = "250"
    ds.ConvolutionKernel = "H31s"
    ds.FilterType = "0"
    ds.ReconstructionDiameter = decimal(field_mm)
    ds.DataCollectionDiameter = "500"
    ds.GantryDetectorTilt = "0"
    ds.RotationDirection = "CW"
