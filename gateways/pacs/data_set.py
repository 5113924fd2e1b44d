"""Data sets of requests and answers, encoded in the transfer syntax of their presentation context.

UIDs are opaque text: a study whose UID breaks the rules is in the PACS nevertheless, and pydicom, told once for the
process, neither refuses such values nor warns of them.
"""

import struct
from io import BytesIO
from typing import Final

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

PARSE_FAULTS: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,
    EOFError,
    OverflowError,
    LookupError,
    OSError,
    struct.error,
)
"""What pydicom raises over bytes that are no data set."""


def accept_any_value() -> None:
    """Set pydicom's options, which are global to a process, to take values as they stand."""
    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE


def encode(ds: Dataset, transfer_syntax: str) -> bytes:
    """A data set in an uncompressed transfer syntax (PS3.5, annex A)."""
    syntax = UID(transfer_syntax)
    encoded = DicomBytesIO()
    encoded.is_implicit_VR, encoded.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    write_dataset(encoded, ds)
    return bytes(encoded.getvalue())


def decode(encoded: bytes, transfer_syntax: str) -> Dataset:
    """A data set that was received. Raises ``ValueError`` over bytes that are none."""
    syntax = UID(transfer_syntax)
    try:
        return read_dataset(BytesIO(encoded), syntax.is_implicit_VR, syntax.is_little_endian)
    except PARSE_FAULTS as error:
        raise ValueError(f"no data set: {type(error).__name__}") from None


def text(ds: Dataset, keyword: str) -> str | None:
    """The value of an element as text; None where it is absent, empty or cannot be read."""
    try:
        value = ds.get(keyword)
    except PARSE_FAULTS:
        return None
    return None if value is None else str(value).strip("\0 ") or None
