"""Small CT series whose every voxel is known, to be bent in one way at a time."""

import io
from collections.abc import Callable, Iterable
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from gateways.imaging.volume import Volume, load_volume
from schemas.base import ObjectRef
from schemas.manifest import Instance, Manifest

ROWS, COLUMNS = 48, 64
SPACING = (5.0, 0.8, 0.5)
ORIGIN = (-8.0, -9.6, 100.0)


def truth(slices: int) -> NDArray[np.int16]:
    """Hounsfield units [z, y, x]: no two voxels near each other are alike."""
    z, y, x = np.ogrid[:slices, :ROWS, :COLUMNS]
    return ((z * 97 + y * 31 + x * 7) % 2000 - 900).astype(np.int16)


def series(slices: int = 6, bend: Callable[[Dataset, int], None] = lambda ds, z: None) -> list[Dataset]:
    """Axial slices, ascending; ``bend`` changes each before it is stored."""
    result = []
    for z, plane in enumerate(truth(slices)):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"2.25.{z + 1}"
        ds.Modality, ds.InstanceNumber = "CT", z + 1
        ds.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + z * SPACING[0]]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing = [SPACING[1], SPACING[2]]
        ds.Rows, ds.Columns, ds.SamplesPerPixel = ROWS, COLUMNS, 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        store(ds, plane.astype(np.int32) + 1024)
        bend(ds, z)
        result.append(ds)
    return result


def store(ds: Dataset, values: NDArray[np.int32]) -> None:
    ds.PixelData = (values & 0xFFFF).astype("<u2").tobytes()


def part_10(ds: Dataset) -> bytes:
    content = io.BytesIO()
    ds.save_as(content, enforce_file_format=True)
    return content.getvalue()


class MemoryObjects:
    """An object store in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, data: bytes, folder: str, suffix: str) -> ObjectRef:
        digest = f"sha256:{sha256(data).hexdigest()}"
        self.objects[digest] = data
        return ObjectRef(uri=f"memory:{folder}/{digest}{suffix}", digest=digest, size_bytes=len(data))

    def read(self, ref: ObjectRef) -> bytes:
        return self.objects[ref.digest]


def manifest(files: Iterable[bytes], objects: MemoryObjects, uids: Iterable[str] | None = None) -> Manifest:
    """The manifest of these files; their UIDs count from 2.25.1 where none are given."""
    contents = list(files)
    names = list(uids) if uids is not None else [f"2.25.{number}" for number in range(1, len(contents) + 1)]
    instances = tuple(
        Instance(sop_uid=uid, sop_class=CTImageStorage, transfer_syntax="1", stored=objects.put(content, "i", ".dcm"))
        for uid, content in zip(names, contents, strict=True)
    )
    return Manifest(site="suwon", study_uid="1.2", series_uid="1.2.3", instances=instances)


def volume_of(datasets: Iterable[Dataset]) -> Volume:
    datasets = list(datasets)
    objects = MemoryObjects()
    uids = [str(ds.SOPInstanceUID) for ds in datasets]
    return load_volume(manifest([part_10(ds) for ds in datasets], objects, uids), objects)
