"""The objects of a result: which, in which series, the same each time, and of the real world's files too."""

import io
import os
from collections import Counter
from datetime import timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest

from gateways.objects import FileStore
from gateways.pacs.objects import objects_of
from gateways.pacs.settings import ObjectSettings
from schemas.deliveries import ObjectKind
from schemas.events import Outcome
from schemas.failures import Unavailable, Unreadable
from sinsok.phantom import Case, build
from tests.unit.gateways.imaging.ct import COLUMNS, ROWS, series
from tests.unit.gateways.pacs.objects.examples import (
    WHEN,
    decision,
    kinds_of,
    of_kind,
    result_of,
    store_datasets,
    store_in,
    store_series,
)

CHECKOUT = Path(__file__).parents[5]
SHARED = Path(os.environ.get("SINSOK_SHARED", CHECKOUT.parent / "shared")) / "cases"
REAL = SHARED / "rsna2019_ich_ID_fff502d5"
ALL = ObjectSettings()


@pytest.fixture
def store(tmp_path) -> FileStore:
    return store_in(tmp_path)


def found(store, name: str = "", bend=lambda ds, z: None):
    labels = np.zeros((6, ROWS, COLUMNS), np.uint8)
    labels[1:4, 10:20, 40:60] = 1
    labels[2, 30:40, 10:30] = 4

    def named(ds, z):
        ds.SeriesInstanceUID = f"1.2.3{name}"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.{z + 1}{name.strip('.')}"
        bend(ds, z)

    return decision(store, store_datasets(store, series(6, named)), labels)


def cleared(one):
    return one.model_copy(update={"reading": one.reading.model_copy(update={"findings": ()})})


def test_segmentation_key_image_report_and_then_the_rejection(store):
    one = found(store)
    first = objects_of(result_of(one), (), ALL, store)
    assert kinds_of(first) == [ObjectKind.SEGMENTATION, ObjectKind.KEY_IMAGE, ObjectKind.REPORT]
    second = objects_of(result_of(one, revision=2), [each.written for each in first], ALL, store)
    assert kinds_of(second) == [*kinds_of(first), ObjectKind.REJECTION]
    for old, new in zip(first, second, strict=False):
        assert new.written.series_uid == old.written.series_uid
        assert new.written.sop_instance_uid != old.written.sop_instance_uid


def test_what_is_written_is_what_the_file_says(store):
    for one in objects_of(result_of(found(store)), (), ALL, store):
        ds = pydicom.dcmread(io.BytesIO(one.content))
        assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID == one.written.sop_instance_uid
        assert ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID == one.written.sop_class_uid
        assert ds.SeriesInstanceUID == one.written.series_uid
        assert ds.StudyInstanceUID == "1.2"
        assert (ds.ContentDate, ds.ContentTime) == ("20260304", "050607.890000")


def test_the_same_result_gives_the_same_bytes(store, monkeypatch):
    """At another time, with another source of random numbers, in another order of what went before."""
    one = found(store)
    earlier = [each.written for each in objects_of(result_of(one), (), ALL, store)]
    result = result_of(one, revision=2)
    first = objects_of(result, earlier, ALL, store)

    import datetime

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(days=3)

    monkeypatch.setattr("highdicom.base.datetime.datetime", Later)
    assert objects_of(result, earlier[::-1], ALL, store)[:2] == first[:2]
    assert objects_of(result, earlier, ALL, store) == first


@pytest.mark.parametrize("case", [Case.IPH, Case.ENHANCED])
def test_each_file_is_read_once(store, monkeypatch, case):
    """One may hold a whole series."""
    phantom = build(case, slices=6, volume_ml=3)
    manifest = store_datasets(store, phantom.datasets)
    result = result_of(decision(store, manifest, phantom.truth.labels), study_uid=phantom.datasets[0].StudyInstanceUID)
    read, reads = store.read, Counter()

    def counted(ref):
        reads[ref.uri] += 1
        return read(ref)

    monkeypatch.setattr(store, "read", counted)
    assert len(objects_of(result, (), ALL, store)) == 3
    assert set(reads.values()) == {1}


def test_a_file_is_as_pydicom_writes_it(store):
    for one in objects_of(result_of(found(store)), (), ALL, store):
        again = io.BytesIO()
        ds = pydicom.dcmread(io.BytesIO(one.content))
        ds.save_as(again)
        assert again.getvalue() == one.content


def test_another_choice_or_another_past_is_another_object(store):
    one = found(store)
    result = result_of(one)
    first = objects_of(result, (), ALL, store)
    others = (
        objects_of(result, (), ALL.model_copy(update={"language": "ko"}), store),
        objects_of(result, [first[0].written], ALL, store),
        objects_of(result_of(one, reason="something else"), (), ALL, store),
    )
    uids = [{each.written.sop_instance_uid for each in objects} for objects in (first, *others)]
    assert len(set.union(*uids)) == sum(len(each) for each in uids)


@pytest.mark.parametrize(("unconfirmed", "number"), [(True, 5), (False, 6)])
def test_instance_numbers_rise_with_the_revision(store, unconfirmed, number):
    for one in objects_of(result_of(found(store), revision=3, unconfirmed=unconfirmed), (), ALL, store):
        assert pydicom.dcmread(io.BytesIO(one.content)).InstanceNumber == number


def test_a_rejection_lists_earlier_images_and_no_reports(store):
    one = found(store)
    first = [each.written for each in objects_of(result_of(one), (), ALL, store)]
    note = of_kind(objects_of(result_of(cleared(one), revision=2), first, ALL, store), ObjectKind.REJECTION)
    title = note.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113001", "DCM")
    wanted = {each.sop_instance_uid for each in first if each.kind is not ObjectKind.REPORT}
    assert len(wanted) == 2
    listed = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in note.ContentSequence
        if "ReferencedSOPSequence" in item
    }
    evidence = {
        instance.ReferencedSOPInstanceUID
        for each in note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for instance in each.ReferencedSOPSequence
    }
    assert listed == evidence == wanted
    texts = [str(item.TextValue) for item in note.ContentSequence if "TextValue" in item]
    assert any("newer AI result" in text for text in texts)


def test_no_rejection_where_the_site_wants_none_or_there_is_nothing_to_reject(store):
    one = found(store)
    first = [each.written for each in objects_of(result_of(one), (), ALL, store)]
    without = ALL.model_copy(update={"rejections": False})
    assert ObjectKind.REJECTION not in kinds_of(objects_of(result_of(one, revision=2), first, without, store))
    reports = [each for each in first if each.kind is ObjectKind.REPORT]
    assert ObjectKind.REJECTION not in kinds_of(objects_of(result_of(one, revision=2), reports, ALL, store))


def test_each_series_with_findings_has_its_segmentation(store):
    one, other = found(store, ".1"), found(store, ".2")
    objects = objects_of(result_of(one, other), (), ALL, store)
    assert kinds_of(objects).count(ObjectKind.SEGMENTATION) == 2
    segs = [pydicom.dcmread(io.BytesIO(each.content)) for each in objects[:2]]
    assert {seg.ReferencedSeriesSequence[0].SeriesInstanceUID for seg in segs} == {"1.2.3.1", "1.2.3.2"}
    # They lie in two coordinate systems, and a series has one.
    assert segs[0].FrameOfReferenceUID != segs[1].FrameOfReferenceUID
    assert segs[0].SeriesInstanceUID != segs[1].SeriesInstanceUID


def test_a_result_without_images_can_never_be_written(store):
    one = found(store).model_copy(update={"manifest": None})
    with pytest.raises(Unreadable, match="manifest"):
        objects_of(result_of(one), (), ALL, store)
    choice = ALL.model_copy(update={"not_analysed": "report"})
    with pytest.raises(Unreadable, match="patient and study"):
        objects_of(result_of(outcome=Outcome.FAILED), (), choice, store)


def test_a_store_that_is_away_is_asked_again(store, monkeypatch):
    result = result_of(found(store))

    def away(ref):
        raise Unavailable("the store is away")

    monkeypatch.setattr(store, "read", away)
    with pytest.raises(Unavailable):
        objects_of(result, (), ALL, store)


def test_a_label_map_that_is_none_is_said_without_what_it_holds(store):
    one = found(store)
    reference = store.put(b"PHANTOM^NOBODY", "label-maps", ".npz")
    one = one.model_copy(update={"reading": one.reading.model_copy(update={"label_map": reference})})
    with pytest.raises(Unreadable, match=r"^a label map is no label map: \w+$"):
        objects_of(result_of(one), (), ALL, store)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real case in {REAL}")
@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_real_case_with_broken_uids_is_written(store, language):
    contents = [path.read_bytes() for path in sorted(REAL.glob("*.dcm"))]
    heads = [pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True) for content in contents]
    study_uid, series_uid = str(heads[0].StudyInstanceUID), str(heads[0].SeriesInstanceUID)
    files = [(str(ds.SOPInstanceUID), content) for ds, content in zip(heads, contents, strict=True)]
    reference = store_series(store, files, study_uid, series_uid)
    with np.load(SHARED / "rsna2019_ich_ID_fff502d5_blast_ct_model1_f32.npz") as archive:
        labels = archive["labels"]
    one = decision(store, reference, labels)
    assert {finding.code.value for finding in one.reading.findings} == {"274100004", "IVH"}
    choice = ALL.model_copy(update={"language": language})
    pydicom.config.settings.reading_validation_mode = pydicom.config.WARN
    objects = objects_of(result_of(one, study_uid=study_uid), (), choice, store)
    assert kinds_of(objects) == [ObjectKind.SEGMENTATION, ObjectKind.KEY_IMAGE, ObjectKind.REPORT]
    for each in objects:
        ds = pydicom.dcmread(io.BytesIO(each.content))
        assert ds.StudyInstanceUID == study_uid
        assert str(ds.PatientID) == str(heads[0].PatientID)
        assert ds.ContentDate == f"{WHEN:%Y%m%d}"
    seg = of_kind(objects, ObjectKind.SEGMENTATION)
    by_uid = {str(ds.SOPInstanceUID): ds for ds in heads}
    order = sorted(by_uid, key=lambda uid: float(by_uid[uid].ImagePositionPatient[2]))
    for group, frame in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        label = (1, 4)[int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber) - 1]
        np.testing.assert_array_equal(frame > 0, labels[order.index(source.ReferencedSOPInstanceUID)] == label)
        own = by_uid[source.ReferencedSOPInstanceUID].ImagePositionPatient
        position = group.PlanePositionSequence[0].ImagePositionPatient
        assert [float(v) for v in position] == pytest.approx([float(v) for v in own], abs=1e-4)
