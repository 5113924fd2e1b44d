import errno
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage
from structlog.testing import capture_logs

from gateways.dicom.file_meta import FileMeta
from gateways.dicom.receiver import Status, is_storage
from schemas.events import BatchEnd, InstanceQuarantined
from schemas.identity import study_key
from tests.unit.gateways.dicom.conftest import Bench
from tests.unit.gateways.dicom.examples import ct_slice, encoded, store_request


def stored(bench: Bench) -> list[Path]:
    return sorted((bench.store.root / "dicom").glob("*/*/*"))


def test_the_bytes_are_kept_as_they_came_under_a_name_without_an_identifier(bench):
    ds = ct_slice()
    assert bench.receiver.store(store_request(ds)) is Status.SUCCESS
    (path,) = stored(bench)
    assert path.read_bytes().endswith(encoded(ds))
    assert path.parent.name == study_key("suwon", "1.2.3")
    assert dcmread(path).SOPInstanceUID == ds.SOPInstanceUID
    assert "1.2.3" not in str(path.relative_to(bench.store.root))
    assert list((bench.store.root / "incoming").iterdir()) == []


def test_the_same_object_again_is_a_success_and_changes_nothing(bench):
    for _ in range(2):
        assert bench.receiver.store(store_request(ct_slice())) is Status.SUCCESS
    assert len(stored(bench)) == 1
    assert len(bench.journal.series(study_key("suwon", "1.2.3"), "1.2.3.1")) == 1


def test_the_same_uid_with_other_bytes_is_kept_beside_the_first_and_flagged(bench):
    assert bench.receiver.store(store_request(ct_slice())) is Status.SUCCESS
    assert bench.receiver.store(store_request(ct_slice(PixelData=b"\1" * 128))) is Status.SUCCESS
    first, second = bench.journal.series(study_key("suwon", "1.2.3"), "1.2.3.1")
    assert (first.conflict, second.conflict) == (False, True)
    assert {path.stem for path in stored(bench)} == {first.digest, second.digest}


def test_many_at_once_are_all_kept(bench):
    requests = [store_request(ct_slice(number)) for number in range(1, 41)]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(bench.receiver.store, requests)) == {Status.SUCCESS}
    assert len(stored(bench)) == len(bench.journal.series(study_key("suwon", "1.2.3"), "1.2.3.1")) == 40


@pytest.mark.parametrize("element", ["SOPClassUID", "SOPInstanceUID"])
def test_a_command_that_names_another_object_is_refused_and_kept_aside(bench, element):
    ds = ct_slice(**{element: "1.2.840.10008.5.1.4.1.1.4"})
    meta = FileMeta(str(CTImageStorage), "1.2.3.1.1", "1.2.840.10008.1.2.1")
    request = store_request(ds, meta=meta, abstract_syntax=meta.sop_class)
    assert bench.receiver.store(request) is Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
    assert stored(bench) == []
    assert len(bench.events()) == 1


def test_bytes_that_cannot_be_understood_are_kept_with_the_reason_and_announced(bench):
    request = store_request(ct_slice(), data_set=b"PHANTOM^IPH is not a data set " * 9)
    assert bench.receiver.store(request) is Status.CANNOT_UNDERSTAND
    (event,) = bench.events()
    assert isinstance(event, InstanceQuarantined)
    path = bench.store.path(event.stored)
    assert path.parent == bench.store.root / "quarantine" / "suwon"
    assert bench.store.read(event.stored).endswith(request.data_set)
    assert json.loads(path.with_suffix(".json").read_text())["reason"] == event.reason
    assert "PHANTOM" not in event.model_dump_json()


def test_a_sop_class_that_stores_nothing_is_not_supported(bench):
    uid = "1.2.840.10008.5.1.4.1.2.1.1"
    request = store_request(ct_slice(SOPClassUID=uid))
    assert bench.receiver.store(request) is Status.SOP_CLASS_NOT_SUPPORTED
    assert stored(bench) == []


def test_a_sop_class_other_than_its_context_is_not_supported(bench):
    request = store_request(ct_slice(), abstract_syntax="1.2.840.10008.5.1.4.1.1.4")
    assert bench.receiver.store(request) is Status.SOP_CLASS_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("sop_class", "stores"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", True),
        ("1.2.840.10008.5.1.4.1.1.999", True),
        ("1.2.840.10008.5.1.4.34.7", True),
        ("1.3.12.2.1107.5.9.1", True),
        ("1.2.840.10008.1.1", False),
        ("1.2.840.10008.9.9", False),
        ("", False),
    ],
)
def test_storage_classes_are_those_of_the_standard_and_private_ones(sop_class, stores):
    assert is_storage(sop_class) is stores


@pytest.mark.parametrize("changes", [{"data_set": bytes(1024 * 1024 + 1)}, {"too_large": True}])
def test_a_data_set_over_the_limit_is_refused_and_nothing_is_left(tmp_path, changes):
    bench = Bench(tmp_path, max_object_mb=1)
    assert bench.receiver.store(store_request(ct_slice(), **changes)) is Status.OUT_OF_RESOURCES
    assert stored(bench) == []
    assert list((tmp_path / "incoming").iterdir()) == []
    bench.close()


def test_a_disk_with_too_little_left_refuses(tmp_path):
    bench = Bench(tmp_path, min_free_mb=10**9)
    assert bench.receiver.store(store_request(ct_slice())) is Status.OUT_OF_RESOURCES
    assert bench.receiver.complaint()
    bench.close()


def test_unfinished_files_of_a_crash_are_removed(bench):
    (bench.store.root / "incoming" / "x.part").write_bytes(b"half")
    bench.receiver.prepare()
    assert list((bench.store.root / "incoming").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_a_full_disk_refuses_then_goes_on_and_loses_nothing(small_disk):
    bench = Bench(small_disk)
    pixels = bytes(512 * 1024)
    answers = [bench.receiver.store(store_request(ct_slice(n, PixelData=pixels))) for n in range(1, 31)]
    kept = [n for n, answer in enumerate(answers, 1) if answer is Status.SUCCESS]
    assert set(answers) == {Status.SUCCESS, Status.OUT_OF_RESOURCES}
    bench.batches.end("a1", BatchEnd.RELEASED)

    subprocess.run(["mount", "-o", "remount,size=32m", small_disk], check=True)
    for n, answer in enumerate(answers, 1):
        if answer is not Status.SUCCESS:
            assert bench.receiver.store(store_request(ct_slice(n, PixelData=pixels))) is Status.SUCCESS
    bench.batches.settle()
    bench.batches.end("a1", BatchEnd.RELEASED)

    series = bench.journal.series(study_key("suwon", "1.2.3"), "1.2.3.1")
    assert {instance.facts.sop_uid for instance in series} == {f"1.2.3.1.{n}" for n in range(1, 31)}
    assert {instance.digest for instance in series} == {path.stem for path in stored(bench)}
    assert kept
    assert bench.events()[-1].series.instances == 30
    bench.close()


def test_a_fault_nobody_thought_of_refuses_that_object_and_says_so(bench, monkeypatch):
    def wrong(*_: object) -> None:
        raise RuntimeError("wrong")

    monkeypatch.setattr(bench.journal, "add", wrong)
    with capture_logs() as logs:
        assert bench.receiver.store(store_request(ct_slice())) is Status.OUT_OF_RESOURCES
    assert "c-store failed" in [line["event"] for line in logs]
    monkeypatch.undo()
    assert bench.receiver.store(store_request(ct_slice())) is Status.SUCCESS


def test_a_journal_that_cannot_be_written_refuses(bench, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bench.journal, "add", full)
    assert bench.receiver.store(store_request(ct_slice())) is Status.OUT_OF_RESOURCES
    monkeypatch.undo()
    assert bench.receiver.store(store_request(ct_slice())) is Status.SUCCESS
