"""`sinsok send`: exit codes and what is said. The protocol is tested with the client itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateways.dicom.scu import AssociationRejected, InstanceFile, Result, Summary
from sinsok.commands import send
from sinsok.phantom import Case, PhantomStudy, small_series, write
from tests.unit.sinsok.commandline import sinsok


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    write(PhantomStudy(Case.NEGATIVE, small_series("send", slices=3), None), folder)
    return folder


def answering(*statuses: int) -> Callable[..., Summary]:
    """A client whose peer gives these answers in turn."""

    def client(instances: list[InstanceFile], *, on_result: Callable[[Result], None], **_: Any) -> Summary:
        results = [
            Result(instance, status, f"0x{status:04X}") for instance, status in zip(instances, statuses, strict=True)
        ]
        for result in results:
            on_result(result)
        accepted = sum(result.accepted for result in results)
        return Summary(accepted, sum(result.warned for result in results), len(results) - accepted)

    return client


def test_all_accepted_is_0(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "send", answering(0, 0, 0))
    assert sinsok("send", str(study)) == (0, "3 of 3 accepted by SUWON_AI at 127.0.0.1:11112\n", "")


def test_a_warning_is_accepted_and_said(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "send", answering(0, 0xB000, 0))
    told = sinsok("send", str(study), "--to", "localhost:104", "--called", "PACS")
    assert told.code == 0
    assert told.out == "3 of 3 accepted by PACS at localhost:104, 1 of them with a warning\n"
    assert told.err == f"accepted with a warning: {study / 'IM0002.dcm'}: 0xB000\n"


def test_a_refusal_is_1_and_named(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "send", answering(0, 0xA700, 0))
    told = sinsok("send", str(study))
    assert told.code == 1
    assert f"refused: {study / 'IM0002.dcm'}: 0xA700" in told.err
    assert "error: 1 of 3 were refused" in told.err


def test_a_rejected_association_is_1(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def client(*_: Any, **__: Any) -> Summary:
        raise AssociationRejected("rejected permanent: Called AE title not recognised")

    monkeypatch.setattr(send, "send", client)
    told = sinsok("send", str(study))
    assert told.code == 1
    assert told.err.startswith("error: rejected permanent: Called AE title not recognised; 0 of 3 were accepted")
    assert told.err.count("\n") == 1


def test_a_folder_without_dicom_is_2(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no images here")
    told = sinsok("send", str(tmp_path))
    assert told.code == 2
    assert f"error: no DICOM under {tmp_path}" in told.err


def test_what_is_no_dicom_is_skipped_and_said(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (study / "notes.txt").write_text("no image")
    monkeypatch.setattr(send, "send", answering(0, 0, 0))
    told = sinsok("send", str(study))
    assert told.code == 0
    assert told.err == f"skipped: {study / 'notes.txt'} is not DICOM\n"


@pytest.mark.parametrize(
    "options", [("--to", "nowhere"), ("--to", "host:0"), ("--called", "SEVENTEEN_LETTERS"), ("--calling", "A\\B")]
)
def test_impossible_addresses_are_2(study: Path, options: tuple[str, str]) -> None:
    assert sinsok("send", str(study), *options).code == 2
