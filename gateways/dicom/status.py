"""Status codes of DIMSE responses (PS3.7, annex C; PS3.4, B.2.3 and C.4.1.1.4), in words."""

from collections.abc import Mapping
from typing import Final

from pynetdicom.status import (
    GENERAL_STATUS,
    QR_FIND_SERVICE_CLASS_STATUS,
    STORAGE_SERVICE_CLASS_STATUS,
    code_to_category,
)

from gateways.dicom.command import Command, Field

_LONGEST_COMMENT: Final = 64
"""Characters of an Error Comment (0000,0902), a Long String."""
_TABLES: Final[Mapping[int, Mapping[int, tuple[str, str]]]] = {
    0x8001: STORAGE_SERVICE_CLASS_STATUS,
    0x8020: QR_FIND_SERVICE_CLASS_STATUS,
}
"""By the Command Field of the response; the general ones for every other."""
_PROCESSING_FAILURE, _RESOURCE_LIMITATION = 0x0110, 0x0213


def is_accepted(status: int) -> bool:
    """Success, or success with a warning such as that elements were coerced."""
    return code_to_category(status) in ("Success", "Warning")


def is_passing(status: int) -> bool:
    """A failure of the peer's moment and not of what it was sent: out of resources, or it failed itself."""
    return status >> 8 == 0xA7 or status in (_PROCESSING_FAILURE, _RESOURCE_LIMITATION)


def in_words(response: Command, *, repeat_text: bool) -> str:
    """A status with its meaning: ``0xA700 Refused: Out of Resources``.

    ``repeat_text``: and the peer's Error Comment, which may quote a patient.
    """
    status = response.number(Field.STATUS) or 0
    table = _TABLES.get(response.number(Field.COMMAND_FIELD) or 0, GENERAL_STATUS)
    _, meaning = table.get(status) or GENERAL_STATUS.get(status, ("", "unknown status"))
    comment = one_line(response.text(Field.ERROR_COMMENT), _LONGEST_COMMENT) if repeat_text else ""
    return ": ".join(filter(None, (f"0x{status:04X} {meaning or 'Success'}", comment)))


def one_line(text: str, longest: int) -> str:
    """What a peer wrote, fit for a message: printable, on one line, and no longer than this."""
    return "".join(character if character.isprintable() else " " for character in " ".join(text.split()))[:longest]
