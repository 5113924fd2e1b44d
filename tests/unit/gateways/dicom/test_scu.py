"""The sending client against real associations over loopback."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MediaStorageDirectoryStorage,
    MRImageStorage,
)
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt

from gateways.dicom import scu
from gateways.dicom.scu import InstanceFile, NotDicom, Result, read_instance

Handler = Callable[[Any], Any]


def written(path: Path, uid: str = "1.2.3.4", sop_class: str = CTImageStorage, syntax: str = "") -> Path:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    ds.SOPClassUID = sop_class
    ds.add_new("SOPInstanceUID", "UI", uid)
    ds.PatientName = "PHANTOM^SCU"
    dcmwrite(path, ds, enforce_file_format=True)
    return path


@pytest.fixture(autouse=True)
def _peers_accept_only_what_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)


@contextmanager
def peer(handle: Handler, contexts: dict[str, list[str]] | None = None, **options: Any) -> Iterator[int]:
    """A Storage SCP on a free port."""
    ae = AE("PEER")
    for option, value in options.items():
        setattr(ae, option, value)
    for sop_class, syntaxes in (contexts or {CTImageStorage: [ExplicitVRLittleEndian]}).items():
        ae.add_supported_context(sop_class, syntaxes)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, handle)])
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def send(port: int, *files: Path, called: str = "PEER", timeout_s: float = 5) -> tuple[scu.Summary, list[Result]]:
    results: list[Result] = []
    instances = [read_instance(file) for file in files]
    summary = scu.send(
        instances,
        host="127.0.0.1",
        port=port,
        called=called,
        calling="TEST",
        on_result=results.append,
        timeout_s=timeout_s,
    )
    return summary, results


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_data_sets_arrive_byte_for_byte(tmp_path: Path, syntax: str) -> None:
    arrived = []

    def handle(event: Any) -> int:
        arrived.append((event.context.transfer_syntax, event.request.DataSet.getvalue()))
        return 0x0000

    file = written(tmp_path / "a", syntax=syntax)
    with peer(handle, {CTImageStorage: [syntax]}) as port:
        summary, _ = send(port, file)
    assert summary == scu.Summary(accepted=1, warned=0, refused=0)
    assert arrived == [(syntax, read_instance(file).data_set())]
    assert file.read_bytes().endswith(arrived[0][1])


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_identifiers_that_are_no_uids_are_sent_as_they_are(tmp_path: Path) -> None:
    arrived = []

    def handle(event: Any) -> int:
        arrived.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    with peer(handle) as port:
        summary, _ = send(port, written(tmp_path / "a", uid="ID_032d5f85e"))
    assert summary.accepted == 1
    assert arrived == ["ID_032d5f85e"]


def test_refusals_and_warnings_are_told_apart_in_words(tmp_path: Path) -> None:
    answers = {"1.2.1": 0x0000, "1.2.2": 0xA700, "1.2.3": 0xB000, "1.2.4": 0xC123}
    files = [written(tmp_path / uid, uid) for uid in answers]
    with peer(lambda event: answers[event.request.AffectedSOPInstanceUID]) as port:
        summary, results = send(port, *files)
    assert summary == scu.Summary(accepted=2, warned=1, refused=2)
    assert [result.status for result in results] == list(answers.values())
    assert results[1].words == "0xA700 Refused: Out of Resources"
    assert results[3].words == "0xC123 Cannot Understand"


def test_what_the_peer_does_not_accept_is_refused_and_the_rest_is_sent(tmp_path: Path) -> None:
    files = (
        written(tmp_path / "mr", "1.2.1", MRImageStorage),
        written(tmp_path / "j2k", "1.2.2", syntax=JPEG2000Lossless),
        written(tmp_path / "ct", "1.2.3"),
    )
    with peer(lambda _: 0x0000) as port:
        summary, results = send(port, *files)
    assert (summary.accepted, summary.refused) == (1, 2)
    assert "does not accept MR Image Storage" in results[0].words
    assert "JPEG 2000" in results[1].words


def test_nothing_accepted_at_all_is_a_refusal_of_each(tmp_path: Path) -> None:
    with peer(lambda _: 0x0000) as port:
        summary, _ = send(port, written(tmp_path / "mr", "1.2.1", MRImageStorage))
    assert summary == scu.Summary(accepted=0, warned=0, refused=1)


def test_more_kinds_than_an_association_can_propose_take_several(tmp_path: Path) -> None:
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts[:130]]
    files = [written(tmp_path / str(number), f"1.2.{number}", name) for number, name in enumerate(classes)]
    associations = set()

    def handle(event: Any) -> int:
        associations.add(event.assoc)
        return 0x0000

    with peer(handle, {name: [ExplicitVRLittleEndian] for name in classes[:128]}) as port:
        summary, _ = send(port, *files[:128])
        assert len(associations) == 1
        summary, _ = send(port, *files)
    assert (summary.accepted, summary.refused) == (128, 2)


def test_a_wrong_called_ae_title_is_said(tmp_path: Path) -> None:
    with (
        peer(lambda _: 0x0000, require_called_aet=True) as port,
        pytest.raises(scu.AssociationRejected, match="Called AE title not recognised"),
    ):
        send(port, written(tmp_path / "a"), called="NOBODY")


def test_an_abort_is_said(tmp_path: Path) -> None:
    def handle(event: Any) -> int:
        event.assoc.abort()
        return 0x0000

    with peer(handle) as port, pytest.raises(scu.AssociationAborted):
        send(port, written(tmp_path / "a"))


# pynetdicom leaves the socket of a failed connection to the garbage collector.
def test_nobody_there_is_said(tmp_path: Path) -> None:
    with peer(lambda _: 0x0000) as port:
        pass
    with pytest.raises(scu.PeerUnreachable, match="nothing answers"):
        send(port, written(tmp_path / "a"))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_bare_data_set_is_recognised_by_its_encoding(tmp_path: Path, syntax: str) -> None:
    whole = read_instance(written(tmp_path / "a", syntax=syntax))
    bare = tmp_path / "bare"
    bare.write_bytes(whole.data_set())
    assert read_instance(bare) == InstanceFile(bare, CTImageStorage, "1.2.3.4", syntax, 0)


def test_file_meta_without_a_preamble_is_recognised(tmp_path: Path) -> None:
    file = written(tmp_path / "a")
    bare = tmp_path / "bare"
    bare.write_bytes(file.read_bytes()[132:])
    assert read_instance(bare).data_set() == read_instance(file).data_set()


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\x00", b"\x08\x00\x10\x00CS\xff\xff", bytes(128) + b"DICM"])
def test_what_is_no_data_set_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(NotDicom):
        read_instance(tmp_path / "a")


def test_a_dicomdir_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(NotDicom, match="DICOMDIR"):
        read_instance(written(tmp_path / "DICOMDIR", sop_class=MediaStorageDirectoryStorage))
