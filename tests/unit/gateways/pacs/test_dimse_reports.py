"""Storage commitment reports as they may arrive, and what becomes of them."""

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateways.pacs.commitment import handed_over, report
from gateways.pacs.data_set import encode
from gateways.pacs.peer import Commitment


def reference(uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", uid
    if reason is not None:
        item.FailureReason = reason
    return item


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_what_failed_is_told_with_its_reason(syntax: str) -> None:
    ds = Dataset()
    ds.TransactionUID = "1.2.3"
    ds.ReferencedSOPSequence = [reference("1.1"), reference("1.2")]
    ds.FailedSOPSequence = [
        reference("1.2", 0x0110),
        reference("1.3", 0x0131),
        reference("1.4", 0x1234),
        reference("1.5"),
    ]
    assert report(encode(ds, syntax), syntax) == Commitment(
        "1.2.3",
        frozenset({"1.1"}),
        {
            "1.2": "0x0110 processing failure",
            "1.3": "0x0131 duplicate transaction UID",
            "1.4": "0x1234 unknown reason",
            "1.5": "no reason given",
        },
    )


def test_a_report_of_nothing_commits_to_nothing() -> None:
    ds = Dataset()
    ds.TransactionUID = "1.2.3"
    assert report(encode(ds, ExplicitVRLittleEndian), ExplicitVRLittleEndian) == Commitment("1.2.3", frozenset(), {})


@pytest.mark.parametrize("encoded", [b"", b"\x08\x00", b"\x08\0\x95\x11UI\0\0"])
def test_bytes_that_name_no_transaction_are_no_report(encoded: bytes) -> None:
    with pytest.raises(ValueError, match=r"report|data set"):
        report(encoded, ExplicitVRLittleEndian)


def test_success_is_answered_only_to_what_was_recorded() -> None:
    def fails(_: Commitment) -> None:
        raise OSError("disk full")

    commitment, recorded = Commitment("1.2.3", frozenset(), {}), []
    assert handed_over(recorded.append, commitment) == 0x0000
    assert recorded == [commitment]
    assert handed_over(fails, commitment) == 0x0110
    assert handed_over(None, commitment) == 0x0110
