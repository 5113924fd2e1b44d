"""Peers of the DICOM gateway: something that sends, and something that reads what it published."""

import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from struct import pack
from uuid import uuid4

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from gateways import kafka
from schemas.base import Event
from schemas.envelope import decode
from schemas.events import SeriesReceived
from schemas.topics import DICOM_SERIES


def a_site() -> str:
    """A site that no other test has: the topic is shared."""
    return f"t{uuid4().hex[:12]}"


def as_file(ds: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> Dataset:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def request(port: int, datasets: Iterable[Dataset], called: str = "GATEWAY", calling: str = "CT1"):
    """An association for these data sets, established or not."""
    ae = AE(ae_title=calling)
    for sop_class, syntax in {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in datasets}:
        ae.add_requested_context(sop_class, syntax)
    ae.add_requested_context("1.2.840.10008.1.1")
    return ae.associate("127.0.0.1", port, ae_title=called)


@contextmanager
def association(port: int, datasets: Iterable[Dataset], **titles: str):
    assoc = request(port, datasets, **titles)
    assert assoc.is_established
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def store(assoc, ds: Dataset) -> int | None:
    """Status of the answer; None where none came."""
    status = assoc.send_c_store(ds)
    return status.Status if status else None


def store_command(context_id: int, sop_uid: str) -> bytes:
    """A C-STORE command without a data set, as it goes over the network, with whatever stands for a UID."""
    command = Dataset()
    command.AffectedSOPClassUID = CTImageStorage
    command.CommandField = 0x0001
    command.MessageID = 7
    command.Priority = 0
    command.CommandDataSetType = 0x0101
    command.AffectedSOPInstanceUID = sop_uid
    elements = DicomBytesIO()
    elements.is_implicit_VR = elements.is_little_endian = True
    write_dataset(elements, command)
    value = bytes((context_id, 0x03)) + pack("<HHLL", 0, 0, 4, elements.tell()) + elements.getvalue()
    return pack(">BBLL", 0x04, 0, len(value) + 4, len(value)) + value


def events_of(bootstrap: str, site: str) -> list[Event]:
    records = kafka.read(bootstrap, [DICOM_SERIES.name])
    decoded = (decode(record.headers, record.value) for record in records)
    found = {event.event_id: event for event in decoded if event.site == site}
    return sorted(found.values(), key=lambda event: event.time)


def wait_for(bootstrap: str, site: str, enough: Callable[[list[SeriesReceived]], bool], seconds: float = 120):
    """The site's SeriesReceived events, once they are what is waited for."""
    until = time.monotonic() + seconds
    while True:
        found = [event for event in events_of(bootstrap, site) if isinstance(event, SeriesReceived)]
        if enough(found):
            return found
        assert time.monotonic() < until, f"only {[(e.batch, e.batch_end, e.series.instances) for e in found]}"
        time.sleep(0.1)
