"""The DICOM file around a data set (PS3.10, section 7): written here byte by byte, so that the same data set received
twice is the same file. The data set's own bytes are never touched, and UIDs are opaque text: real senders break them.
"""

import struct
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

IMPLEMENTATION_CLASS_UID: Final = "2.25.170557855170469263135221465291392532588"
IMPLEMENTATION_VERSION_NAME: Final = "SINSOK_1"

EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
"""Transfer syntaxes in which the whole data set is compressed (PS3.5, A.5, A.6 and A.12)."""
_IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
_EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"


class FileMeta(NamedTuple):
    """What a file says of its data set: what the C-STORE command said."""

    sop_class: str
    sop_uid: str
    transfer_syntax: str


def file_head(meta: FileMeta) -> bytes:
    """Preamble, prefix and file meta information for a data set."""
    elements = b"".join(
        (
            _element(0x0001, b"OB", b"\x00\x01"),
            _element(0x0002, b"UI", _uid(meta.sop_class)),
            _element(0x0003, b"UI", _uid(meta.sop_uid)),
            _element(0x0010, b"UI", _uid(meta.transfer_syntax)),
            _element(0x0012, b"UI", _uid(IMPLEMENTATION_CLASS_UID)),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode()),
        )
    )
    return bytes(128) + b"DICM" + _element(0x0000, b"UL", struct.pack("<I", len(elements))) + elements


def read_file_meta(path: Path) -> FileMeta:
    """What the head of a file written here says. Raises ``OSError``, and ``ValueError`` for another kind of file."""
    try:
        meta = read_file_meta_info(path)
        return FileMeta(
            str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), str(meta.TransferSyntaxUID)
        )
    except (InvalidDicomError, AttributeError, EOFError, struct.error) as error:
        raise ValueError("no file meta information") from error


def pixel_data_at(file: BinaryIO, offset: int, transfer_syntax: str) -> tuple[bool, int | None]:
    """Whether Pixel Data (7FE0,0010) begins at this offset of a file, and how many bytes it needs from there.

    The need is None where the length is undefined (encapsulated, PS3.5 A.4).
    """
    order = ">" if transfer_syntax == _EXPLICIT_BIG else "<"
    file.seek(offset)
    head = file.read(12)
    if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != (0x7FE0, 0x0010):
        return False, None
    long_form = transfer_syntax != _IMPLICIT_LITTLE and head[4:6] in (b"OB", b"OW", b"OL", b"OV", b"UN")
    header = 12 if long_form else 8
    (length,) = struct.unpack(f"{order}I", head[header - 4 : header].ljust(4, b"\0"))
    return True, None if length == 0xFFFFFFFF else header + length


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    length = struct.pack("<HI", 0, len(value)) if vr == b"OB" else struct.pack("<H", len(value))
    return struct.pack("<HH", 0x0002, number) + vr + length + value


def _uid(text: str) -> bytes:
    raw = text.encode()
    return raw + b"\0" * (len(raw) % 2)
