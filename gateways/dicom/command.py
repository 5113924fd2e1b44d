"""Command sets of DIMSE messages (PS3.7, 6.3.1 and annex E): Implicit VR Little Endian, and short.

Identifiers are opaque text here: real UIDs break the rules, and a request about such an object has to be sent as well.
"""

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

NO_DATA_SET: Final = 0x0101
_A_DATA_SET: Final = 0x0001
_RESPONSE: Final = 0x8000


class Field(IntEnum):
    """Elements of group 0000 (PS3.7, E.1)."""

    AFFECTED_SOP_CLASS_UID = 0x0002
    REQUESTED_SOP_CLASS_UID = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_RESPONDED_TO = 0x0120
    PRIORITY = 0x0700
    COMMAND_DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    AFFECTED_SOP_INSTANCE_UID = 0x1000
    REQUESTED_SOP_INSTANCE_UID = 0x1001
    EVENT_TYPE_ID = 0x1002
    ACTION_TYPE_ID = 0x1008


class Kind(IntEnum):
    """Values of Command Field (0000,0100) that are sent or understood here."""

    C_STORE_RQ = 0x0001
    C_FIND_RQ = 0x0020
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_ACTION_RQ = 0x0130


class Command:
    """The command set of one message."""

    def __init__(self, elements: Mapping[int, bytes]) -> None:
        self._elements = elements

    @classmethod
    def of(cls, kind: int, fields: Mapping[Field, str | int], *, data_set: bool) -> "Command":
        """A command set to be sent; numbers are US, text is UI."""
        kind_of_data = _A_DATA_SET if data_set else NO_DATA_SET
        values = {**fields, Field.COMMAND_FIELD: kind, Field.COMMAND_DATA_SET_TYPE: kind_of_data}
        return cls({field: _value(value) for field, value in values.items()})

    @classmethod
    def decode(cls, encoded: bytes) -> "Command":
        """A command set as it was received. Raises ``ValueError`` over bytes that are none."""
        elements: dict[int, bytes] = {}
        at = 0
        while at < len(encoded):
            if len(encoded) - at < 8:
                raise ValueError("a command set ends within an element")
            group, element, length = struct.unpack_from("<HHI", encoded, at)
            at += 8
            if group != 0 or at + length > len(encoded):
                raise ValueError("no command set")
            elements[element] = encoded[at : at + length]
            at += length
        return cls(elements)

    def encode(self) -> bytes:
        """As it goes over the network, its group length first."""
        body = b"".join(
            struct.pack("<HHI", 0, element, len(value)) + value
            for element, value in sorted(self._elements.items())
            if element
        )
        return struct.pack("<HHII", 0, 0, 4, len(body)) + body

    def number(self, field: Field) -> int | None:
        """The value of a US element; None where it is absent."""
        value = self._elements.get(field, b"")
        return int.from_bytes(value[:2], "little") if len(value) >= 2 else None

    def text(self, field: Field) -> str:
        """The value of a text element; empty where it is absent."""
        return self._elements.get(field, b"").decode("ascii", "replace").strip("\0 ")

    @property
    def is_response(self) -> bool:
        """Whether it answers a request."""
        return bool((self.number(Field.COMMAND_FIELD) or 0) & _RESPONSE)

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return self.number(Field.COMMAND_DATA_SET_TYPE) not in (None, NO_DATA_SET)

    def response(self, status: int) -> "Command":
        """The answer to this request, without a data set."""
        same = (Field.AFFECTED_SOP_CLASS_UID, Field.AFFECTED_SOP_INSTANCE_UID, Field.EVENT_TYPE_ID)
        elements: dict[int, bytes] = {field: self._elements[field] for field in same if field in self._elements}
        elements |= {
            Field.COMMAND_FIELD: _value((self.number(Field.COMMAND_FIELD) or 0) | _RESPONSE),
            Field.MESSAGE_ID_RESPONDED_TO: self._elements.get(Field.MESSAGE_ID, _value(0)),
            Field.COMMAND_DATA_SET_TYPE: _value(NO_DATA_SET),
            Field.STATUS: _value(status),
        }
        return Command(elements)


def _value(value: str | int) -> bytes:
    if isinstance(value, int):
        return struct.pack("<H", value)
    raw = value.encode()
    return raw + b"\0" * (len(raw) % 2)
