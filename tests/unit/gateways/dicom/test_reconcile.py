import time
from threading import Event

from structlog.testing import capture_logs

from gateways.dicom.journal import Journal
from gateways.dicom.reconcile import Reconciliation
from schemas.events import BatchEnd, SeriesReceived
from schemas.identity import study_key, trace_id
from tests.unit.gateways.dicom.conftest import Bench
from tests.unit.gateways.dicom.examples import ct_slice, store_request

KEY = study_key("suwon", "1.2.3")


def store(bench: Bench, *numbers: int) -> None:
    for number in numbers:
        bench.receiver.store(store_request(ct_slice(number)))
    bench.batches.end("a1", BatchEnd.RELEASED)


def reconcile(bench: Bench, before: float | None = None) -> None:
    Reconciliation(bench.store, bench.journal, bench.batches, before or time.time() + 1).run(Event())


def last(bench: Bench) -> SeriesReceived:
    event = bench.events()[-1]
    assert isinstance(event, SeriesReceived)
    return event


def test_where_all_agrees_nothing_happens(bench):
    store(bench, 1, 2)
    reconcile(bench)
    assert len(bench.events()) == 1


def test_a_line_without_a_file_is_marked_and_published_without_it(bench):
    store(bench, 1, 2, 3)
    next((bench.store.root / "dicom").glob("*/*/*.dcm")).unlink()
    reconcile(bench)
    assert (last(bench).batch, last(bench).batch_end) == (2, "recovered")
    assert (last(bench).series.instances, last(bench).series.missing_objects) == (2, 1)


def test_a_file_that_comes_back_is_counted_again(bench):
    store(bench, 1, 2)
    path = next((bench.store.root / "dicom").glob("*/*/*.dcm"))
    path.rename(bench.store.root / "aside")
    reconcile(bench)
    (bench.store.root / "aside").rename(path)
    reconcile(bench)
    assert (last(bench).series.instances, last(bench).series.missing_objects) == (2, 0)


def test_a_missing_object_that_is_sent_again_is_whole(bench):
    store(bench, 1, 2)
    for path in (bench.store.root / "dicom").glob("*/*/*.dcm"):
        path.unlink()
    reconcile(bench)
    store(bench, 1, 2)
    assert (last(bench).series.instances, last(bench).series.missing_objects) == (2, 0)


def test_files_without_lines_are_adopted(tmp_path):
    bench = Bench(tmp_path)
    store(bench, 1, 2, 3)
    bench.close()
    for path in tmp_path.glob("journal.sqlite*"):
        path.unlink()
    bench = Bench(tmp_path)
    reconcile(bench)
    assert (last(bench).batch_end, last(bench).series.instances) == ("recovered", 3)
    assert last(bench).series.geometry is not None
    bench.close()


def test_a_file_with_other_bytes_than_its_name_says_is_not_adopted(bench):
    folder = bench.store.root / "dicom" / "suwon" / KEY
    folder.mkdir(parents=True)
    (folder / ("0" * 64 + ".dcm")).write_bytes(b"something else")
    with capture_logs() as logs:
        reconcile(bench)
    assert bench.events() == []
    (line,) = [line for line in logs if line["event"] == "stored object cannot be adopted"]
    assert (line["study_key"], line["trace_id"]) == (KEY, trace_id(KEY))


def test_what_is_newer_than_the_start_is_left_alone(bench):
    store(bench, 1)
    next((bench.store.root / "dicom").glob("*/*/*.dcm")).unlink()
    reconcile(bench, before=time.time() - 60)
    assert len(bench.events()) == 1


def test_the_journal_survives_a_reopening(tmp_path):
    bench = Bench(tmp_path)
    store(bench, 1, 2)
    bench.close()
    journal = Journal(tmp_path / "journal.sqlite")
    assert len(journal.series(KEY, "1.2.3.1")) == 2
    assert journal.outbox_state()[0] == 1
    journal.close()
