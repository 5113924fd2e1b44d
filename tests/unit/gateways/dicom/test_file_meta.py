from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from gateways.dicom.file_meta import FileMeta, file_head, read_file_meta
from tests.unit.gateways.dicom.examples import ct_slice, encoded


@pytest.mark.parametrize("sop_uid", ["1.2.3.1.1", "ID_032d5f85e", "1.2.3.12"])
def test_pydicom_reads_the_file_written_around_a_data_set(sop_uid, tmp_path):
    meta = FileMeta(str(CTImageStorage), sop_uid, str(ExplicitVRLittleEndian))
    data = encoded(ct_slice(SOPInstanceUID=sop_uid))
    ds = dcmread(BytesIO(file_head(meta) + data))
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID == sop_uid
    assert ds.file_meta.FileMetaInformationGroupLength == len(file_head(meta)) - 144
    path = tmp_path / "x.dcm"
    path.write_bytes(file_head(meta) + data)
    assert read_file_meta(path) == meta


def test_the_same_data_set_makes_the_same_file():
    meta = FileMeta("1.2", "3.4", "5.6")
    assert file_head(meta) == file_head(meta)


@pytest.mark.parametrize("data", [b"", b"\0" * 128 + b"DICM", b"x" * 500])
def test_another_kind_of_file_is_refused(tmp_path, data):
    path = tmp_path / "x.dcm"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r".+"):
        read_file_meta(path)
