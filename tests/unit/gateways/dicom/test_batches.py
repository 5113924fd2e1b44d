import sqlite3
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from gateways.dicom import batches
from gateways.dicom.receiver import Sender
from schemas.events import BatchEnd, SeriesReceived
from schemas.identity import study_key, trace_id
from schemas.manifest import Manifest
from tests.unit.gateways.dicom.conftest import Bench
from tests.unit.gateways.dicom.examples import SENDER, ct_slice, store_request

A, B, C = (replace(SENDER, association=name) for name in "abc")


def send(bench: Bench, sender: Sender, *numbers: int, **elements: object) -> None:
    for number in numbers:
        bench.receiver.store(store_request(ct_slice(number, **elements), sender))


def series_events(bench: Bench) -> list[SeriesReceived]:
    return [event for event in bench.events() if isinstance(event, SeriesReceived)]


def manifest_of(bench: Bench, event: SeriesReceived) -> Manifest:
    return Manifest.model_validate_json(bench.store.read(event.series.manifest))


def test_a_released_association_makes_one_event_of_its_series(bench):
    send(bench, A, 3, 1, 2, SeriesDescription="HEAD 5mm", BodyPartExamined="HEAD")
    bench.batches.end("a", BatchEnd.RELEASED)
    (event,) = series_events(bench)
    assert (event.batch, event.study_batch, event.batch_end, event.open_associations) == (1, 1, "released", 0)
    assert (event.sending_ae, event.called_ae) == ("CT1", "SUWON_AI")
    series = event.series
    assert (series.modality, series.body_part, series.series_description) == ("CT", "HEAD", "HEAD 5mm")
    assert series.geometry is not None
    assert (series.instances, series.geometry.slices, series.geometry.contiguous) == (3, 3, True)
    listed = manifest_of(bench, event).instances
    assert [instance.sop_uid for instance in listed] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]
    for instance in listed:
        assert instance.pixel_offset is not None
        assert bench.store.read(instance.stored)[instance.pixel_offset :].startswith(b"\xe0\x7f\x10\x00")


def test_no_identifier_is_in_an_event_or_a_manifest(bench):
    send(bench, A, 1, SeriesDescription="PHANTOM 4711", AccessionNumber="ACC-9", PatientBirthDate="19580304")
    bench.batches.end("a", BatchEnd.RELEASED)
    (event,) = series_events(bench)
    text = event.model_dump_json() + manifest_of(bench, event).model_dump_json()
    for identifier in ("PHANTOM", "IPH", "4711", "ACC-9", "19580304"):
        assert identifier not in text


def test_late_images_make_a_cumulative_batch(bench):
    send(bench, A, 1, 2)
    bench.batches.end("a", BatchEnd.RELEASED)
    send(bench, B, 3, 4, 5)
    bench.batches.end("b", BatchEnd.ABORTED)
    first, second = series_events(bench)
    assert (second.batch, second.batch_end, second.series.instances) == (2, "aborted", 5)
    assert first.series.manifest.digest != second.series.manifest.digest
    assert first.event_id != second.event_id


def test_batches_of_a_study_are_counted_over_its_series(bench):
    send(bench, A, 1)
    send(bench, A, 1, series="1.2.3.2")
    bench.batches.end("a", BatchEnd.RELEASED)
    send(bench, B, 2)
    bench.batches.end("b", BatchEnd.RELEASED)
    assert sorted(event.study_batch for event in series_events(bench)) == [1, 2, 3]


def test_the_same_series_sent_twice_is_published_once(bench):
    for sender in (A, B):
        send(bench, sender, 1, 2)
        bench.batches.end(sender.association, BatchEnd.RELEASED)
    assert len(series_events(bench)) == 1
    assert bench.journal.touching() == set()


def test_a_series_in_three_associations_says_how_many_still_send_it(bench):
    for number, sender in enumerate((A, B, C), 1):
        send(bench, sender, number)
    for sender in (A, B, C):
        bench.batches.end(sender.association, BatchEnd.RELEASED)
    events = series_events(bench)
    assert [event.open_associations for event in events] == [2, 1, 0]
    assert {event.series.instances for event in events} == {3}


def test_studies_interleaved_in_one_association_are_told_apart(bench):
    for number in (1, 2, 3):
        send(bench, A, number)
        send(bench, A, number, study="1.2.9", series="1.2.9.1")
    bench.batches.end("a", BatchEnd.RELEASED)
    assert {(event.study_uid, event.series.instances) for event in series_events(bench)} == {("1.2.3", 3), ("1.2.9", 3)}


def test_two_sites_with_one_study_uid_do_not_mix(bench):
    send(bench, A, 1, 2)
    send(bench, replace(B, site="icheon"), 1)
    bench.batches.end("a", BatchEnd.RELEASED)
    bench.batches.end("b", BatchEnd.RELEASED)
    suwon, icheon = series_events(bench)
    assert (suwon.site, suwon.series.instances) == ("suwon", 2)
    assert (icheon.site, icheon.series.instances) == ("icheon", 1)
    assert suwon.key != icheon.key


def test_a_quiet_association_publishes_and_its_release_confirms(bench):
    send(bench, A, 1, 2)
    bench.batches.end("a", BatchEnd.IDLE)
    bench.batches.end("a", BatchEnd.IDLE)
    bench.batches.end("a", BatchEnd.RELEASED)
    assert [event.batch_end for event in series_events(bench)] == ["idle", "released"]
    assert bench.journal.touching() == set()


def test_a_quiet_association_does_not_count_as_sending(bench):
    send(bench, A, 1)
    bench.batches.end("a", BatchEnd.IDLE)
    send(bench, B, 2)
    bench.batches.end("b", BatchEnd.RELEASED)
    assert [event.open_associations for event in series_events(bench)] == [0, 0]


def test_a_conflict_is_listed_flagged_and_left_out_of_the_geometry(bench):
    send(bench, A, 1, 2)
    send(bench, A, 2, PixelData=b"\1" * 128)
    bench.batches.end("a", BatchEnd.RELEASED)
    (event,) = series_events(bench)
    assert (event.series.instances, event.series.conflicts) == (3, 1)
    assert event.series.geometry is not None
    assert event.series.geometry.duplicate_positions == 0
    assert [instance.conflict for instance in manifest_of(bench, event).instances].count(True) == 1


def test_what_the_disk_refuses_to_publish_stays_due(bench, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batches, "_LONGEST_PAUSE_S", 0.0)
    send(bench, A, 1)
    with monkeypatch.context() as broken:
        broken.setattr(bench.store, "put", full)
        bench.batches.end("a", BatchEnd.RELEASED)
    assert series_events(bench) == []
    assert bench.batches.due() == {"a"}
    bench.batches.settle()
    assert [event.batch_end for event in series_events(bench)] == ["released"]
    assert bench.batches.due() == set()


def spoil(bench: Bench, series_uid: str) -> None:
    """Leave a line in the journal as a version of tomorrow may write it."""
    with sqlite3.connect(bench.store.root / "journal.sqlite") as db:
        db.execute('UPDATE instance SET facts = \'{"of": "tomorrow"}\' WHERE series_uid = ?', (series_uid,))
    db.close()


def test_a_series_that_cannot_be_published_holds_up_no_other(bench):
    for series in ("1.2.3.1", "1.2.3.2", "1.2.3.3"):
        send(bench, A, 1, series=series)
    send(bench, B, 1, study="1.2.9", series="1.2.9.1")
    spoil(bench, "1.2.3.2")
    with capture_logs() as logs:
        bench.batches.end("a", BatchEnd.RELEASED)
    bench.batches.end("b", BatchEnd.RELEASED)
    assert [event.series.series_uid for event in series_events(bench)] == ["1.2.3.1", "1.2.3.3", "1.2.9.1"]
    assert bench.batches.due() == {"a"}
    assert bench.batches.complaint() == "series of 1 associations cannot be published: see the log"
    (line,) = [line for line in logs if line["event"] == "series not published yet"]
    assert line["trace_id"] == trace_id(study_key("suwon", "1.2.3"))
    assert bench.journal.touched("a") == [(study_key("suwon", "1.2.3"), "1.2.3.2")]


def test_a_series_that_cannot_be_published_does_not_stop_a_restart(bench):
    send(bench, A, 1)
    send(bench, B, 1, study="1.2.9", series="1.2.9.1")
    spoil(bench, "1.2.3.1")
    restarted = batches.Batches(bench.journal, bench.store)
    for association in sorted(bench.journal.touching()):
        restarted.end(association, BatchEnd.RECOVERED)
    assert [event.series.series_uid for event in series_events(bench)] == ["1.2.9.1"]


def test_what_failed_is_left_alone_for_a_while(bench, monkeypatch):
    send(bench, A, 1)
    spoil(bench, "1.2.3.1")
    bench.batches.end("a", BatchEnd.RELEASED)
    asked: list[str] = []
    monkeypatch.setattr(bench.journal, "touched", lambda association: asked.append(association) or [])
    monkeypatch.setattr(batches, "time", SimpleNamespace(monotonic=lambda: now))
    now = time.monotonic() - 1
    bench.batches.settle()
    assert asked == []
    now += 3600
    bench.batches.settle()
    assert asked == ["a"]


def test_a_missing_object_leaves_the_manifest_and_is_counted(bench):
    send(bench, A, 1, 2)
    key = study_key("suwon", "1.2.3")
    gone = bench.journal.series(key, "1.2.3.1")[0]
    with bench.journal.transaction():
        bench.journal.set_missing(key, gone.digest, missing=True)
    bench.batches.end("a", BatchEnd.RELEASED)
    (event,) = series_events(bench)
    assert (event.series.instances, event.series.missing_objects) == (1, 1)
    assert [instance.sop_uid for instance in manifest_of(bench, event).instances] == ["1.2.3.1.2"]


def test_the_other_object_of_a_conflict_stands_in_for_the_first_when_that_is_gone(bench):
    send(bench, A, 1)
    send(bench, A, 1, PixelData=b"\1" * 128)
    key = study_key("suwon", "1.2.3")
    first = bench.journal.series(key, "1.2.3.1")[0]
    with bench.journal.transaction():
        bench.journal.set_missing(key, first.digest, missing=True)
    bench.batches.end("a", BatchEnd.RELEASED)
    (event,) = series_events(bench)
    assert event.series.conflicts == 0


def test_a_series_that_lost_everything_is_not_published(bench):
    send(bench, A, 1)
    key = study_key("suwon", "1.2.3")
    with bench.journal.transaction():
        bench.journal.set_missing(key, bench.journal.series(key, "1.2.3.1")[0].digest, missing=True)
    bench.batches.end("a", BatchEnd.RELEASED)
    assert series_events(bench) == []
    assert bench.journal.touching() == set()


@pytest.mark.parametrize("how", list(BatchEnd))
def test_an_association_that_stored_nothing_publishes_nothing(bench, how):
    bench.batches.end("a", how)
    assert series_events(bench) == []
