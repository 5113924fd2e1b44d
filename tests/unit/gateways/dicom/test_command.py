"""Command sets, against pynetdicom's own encoding of them."""

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from gateways.dicom.command import Command, Field, Kind


def test_a_command_is_encoded_as_pynetdicom_does() -> None:
    ds = Dataset()
    ds.CommandGroupLength = 0
    ds.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.CommandField = 0x0001
    ds.MessageID = 7
    ds.Priority = 2
    ds.CommandDataSetType = 0x0001
    ds.AffectedSOPInstanceUID = "1.2.3.45"
    ds.CommandGroupLength = len(encode(ds, True, True) or b"") - 12
    fields = {
        Field.AFFECTED_SOP_INSTANCE_UID: "1.2.3.45",
        Field.AFFECTED_SOP_CLASS_UID: "1.2.840.10008.5.1.4.1.1.7",
        Field.MESSAGE_ID: 7,
        Field.PRIORITY: 2,
    }
    assert Command.of(Kind.C_STORE_RQ, fields, data_set=True).encode() == encode(ds, True, True)


def test_what_was_encoded_is_decoded() -> None:
    fields = {Field.MESSAGE_ID: 65535, Field.AFFECTED_SOP_INSTANCE_UID: "ID_abc"}
    command = Command.decode(Command.of(Kind.N_EVENT_REPORT_RQ, fields, data_set=False).encode())
    assert command.number(Field.MESSAGE_ID) == 65535
    assert command.text(Field.AFFECTED_SOP_INSTANCE_UID) == "ID_abc"
    assert command.number(Field.STATUS) is None
    assert command.text(Field.ERROR_COMMENT) == ""
    assert not command.has_data_set
    assert not command.is_response


def test_a_response_repeats_what_it_is_to() -> None:
    fields = {Field.MESSAGE_ID: 9, Field.AFFECTED_SOP_CLASS_UID: "1.2", Field.EVENT_TYPE_ID: 2}
    request = Command.of(Kind.N_EVENT_REPORT_RQ, fields, data_set=True)
    response = Command.decode(request.response(0x0110).encode())
    assert response.is_response
    assert response.number(Field.COMMAND_FIELD) == 0x8100
    assert response.number(Field.MESSAGE_ID_RESPONDED_TO) == 9
    assert response.number(Field.EVENT_TYPE_ID) == 2
    assert response.number(Field.STATUS) == 0x0110
    assert not response.has_data_set


@pytest.mark.parametrize(
    "encoded",
    [b"\0", b"\0\0\0\0\x04\0\0\0\0", b"\x08\0\x18\0\x02\0\0\x001\0", b"\0\0\0\x01\xff\xff\xff\xff\x01\0"],
    ids=["short", "ends early", "another group", "too long"],
)
def test_bytes_that_are_no_command_are_no_command(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="command set"):
        Command.decode(encoded)
