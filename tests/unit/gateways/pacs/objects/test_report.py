"""The report says what was found, by whom, how sure, and what became of what was said before."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from gateways.objects import FileStore
from gateways.pacs.objects import ResultObject, left_standing, objects_of
from gateways.pacs.objects.words import ENGLISH, KOREAN
from gateways.pacs.settings import ObjectSettings
from schemas.deliveries import ObjectKind, WrittenObject
from schemas.events import Outcome, SeriesDecision, Side
from tests.unit.gateways.imaging.ct import COLUMNS, ROWS, series
from tests.unit.gateways.pacs.objects.examples import (
    decision,
    kinds_of,
    of_kind,
    result_of,
    store_datasets,
    store_in,
    volume_of,
)

BOTH = ObjectSettings(kinds=(ObjectKind.REPORT, ObjectKind.SEGMENTATION))
REPORT = ObjectSettings(kinds=(ObjectKind.REPORT,))


@pytest.fixture
def store(tmp_path) -> FileStore:
    return store_in(tmp_path)


@pytest.fixture
def found(store) -> SeriesDecision:
    labels = np.zeros((6, ROWS, COLUMNS), np.uint8)
    labels[1:5, 10:30, 5:25] = 1
    labels[2, 10:40, 40:60] = 4
    one = decision(store, store_datasets(store, series(6)), labels, midline_mm=-4.5)
    sides = [
        finding.model_copy(update={"side": side, "agreement": 0.75})
        for finding, side in zip(one.reading.findings, (Side.LEFT, Side.MIDLINE), strict=True)
    ]
    return one.model_copy(update={"reading": one.reading.model_copy(update={"findings": tuple(sides)})})


def nothing_found(one: SeriesDecision) -> SeriesDecision:
    changed = {"findings": (), "midline_shift_mm": None}
    return one.model_copy(update={"reading": one.reading.model_copy(update=changed)})


def report_of(objects: tuple[ResultObject, ...]) -> Dataset:
    return of_kind(objects, ObjectKind.REPORT)


def named(container: Dataset, meaning: str) -> list[Dataset]:
    return [
        item
        for item in container.get("ContentSequence") or []
        if "ConceptNameCodeSequence" in item and item.ConceptNameCodeSequence[0].CodeMeaning == meaning
    ]


def groups(report: Dataset) -> list[Dataset]:
    return [group for one in named(report, "Imaging Measurements") for group in named(one, "Measurement Group")]


def number(group: Dataset, meaning: str) -> tuple[float, str]:
    (item,) = named(group, meaning)
    value = item.MeasuredValueSequence[0]
    return float(value.NumericValue), str(value.MeasurementUnitsCodeSequence[0].CodeValue)


def statements(report: Dataset, meaning: str) -> list[str]:
    (container,) = named(report, "Qualitative Evaluations")
    return [str(item.TextValue) for item in named(container, meaning)]


def code(item: Dataset) -> tuple[str, str]:
    value = item.ConceptCodeSequence[0]
    return str(value.CodingSchemeDesignator), str(value.CodeValue)


def test_a_finding_is_measured_and_located(store, found):
    objects = objects_of(result_of(found), (), BOTH, store)
    report, seg = report_of(objects), of_kind(objects, ObjectKind.SEGMENTATION)
    first, second, _ = groups(report)
    finding = found.reading.findings[0]
    assert code(named(first, "Finding")[0]) == ("SCT", "274100004")
    assert number(first, "Volume") == (pytest.approx(finding.volume_ml), "mL")
    assert number(first, "Certainty of Finding") == (87.5, "%")
    assert number(first, "Share of the model's members that agree") == (75.0, "%")
    (centre,) = named(first, "Center")
    assert (centre.ValueType, centre.GraphicType) == ("SCOORD3D", "POINT")
    assert list(centre.GraphicData) == pytest.approx(finding.centroid_mm)
    assert centre.ReferencedFrameOfReferenceUID == seg.FrameOfReferenceUID
    (site,) = named(first, "Finding Site")
    assert code(named(site, "Laterality")[0]) == ("SCT", "7771000")
    (site,) = named(second, "Finding Site")
    assert code(named(site, "Topographical modifier")[0]) == ("SCT", "261129000")
    assert code(named(second, "Finding")[0]) == ("99SINSOK", "IVH")


def test_a_finding_names_its_segment_its_slices_and_its_key_slice(store, found):
    objects = objects_of(result_of(found), (), BOTH, store)
    report, seg = report_of(objects), of_kind(objects, ObjectKind.SEGMENTATION)
    for group, finding in zip(groups(report), found.reading.findings, strict=False):
        (segment,) = named(group, "Referenced Segment")
        reference = segment.ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == seg.SOPInstanceUID
        described = seg.SegmentSequence[int(reference.ReferencedSegmentNumber) - 1]
        assert described.SegmentLabel == finding.code.meaning
        slices = [
            item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            for item in named(group, "Source Image for Segmentation")
        ]
        (key,) = named(group, "Illustration of ROI")
        assert key.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == finding.key_instance_uid
        assert finding.key_instance_uid in slices
    assert len(named(groups(report)[0], "Source Image for Segmentation")) == 4
    assert len(named(groups(report)[1], "Source Image for Segmentation")) == 1


def test_findings_of_one_class_share_a_segment_and_name_their_own_slices(store):
    labels = np.zeros((6, ROWS, COLUMNS), np.uint8)
    labels[0:3, 5:20, 5:20] = 1
    labels[4, 25:40, 30:50] = 1
    result = result_of(decision(store, store_datasets(store, series(6)), labels))
    found = {}
    for group in groups(report_of(objects_of(result, (), BOTH, store))):
        (segment,) = named(group, "Referenced Segment")
        assert segment.ReferencedSOPSequence[0].ReferencedSegmentNumber == 1
        sources = named(group, "Source Image for Segmentation")
        found[len(sources)] = [one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in sources]
    assert found == {3: ["2.25.1", "2.25.2", "2.25.3"], 1: ["2.25.5"]}


def test_all_that_is_referred_to_is_evidence(store, found):
    objects = objects_of(result_of(found), (), BOTH, store)
    report = report_of(objects)
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    listed = {
        instance.ReferencedSOPInstanceUID
        for one in study.ReferencedSeriesSequence
        for instance in one.ReferencedSOPSequence
    }

    def referred(item: Dataset) -> set[str]:
        own = {one.ReferencedSOPInstanceUID for one in item.get("ReferencedSOPSequence") or []}
        return own.union(*(referred(child) for child in item.get("ContentSequence") or []))

    assert listed == referred(report)
    assert len(listed) == 5


def test_the_model_is_named_down_to_its_digest(store, found):
    group = groups(report_of(objects_of(result_of(found), (), BOTH, store)))[0]
    assert [str(item.TextValue) for item in named(group, "Algorithm Name")] == ["a_model"]
    assert [str(item.TextValue) for item in named(group, "Algorithm Version")] == ["2"]
    assert [str(item.TextValue) for item in named(group, "Algorithm Parameters")] == [f"digest=sha256:{'ab' * 32}"]


def test_the_midline_shift_stands_by_itself(store, found):
    group = groups(report_of(objects_of(result_of(found), (), BOTH, store)))[-1]
    assert number(group, "Midline shift, positive to the left") == (-4.5, "mm")
    assert not named(group, "Finding")


def test_a_classifier_gives_a_certainty_and_no_place(store):
    one = decision(store, store_datasets(store, series(6)), None)
    (group,) = groups(report_of(objects_of(result_of(one), (), BOTH, store)))
    assert number(group, "Certainty of Finding") == (87.5, "%")
    assert not named(group, "Volume")
    assert not named(group, "Center")
    assert not named(group, "Referenced Segment")


@pytest.mark.parametrize(
    ("final", "unconfirmed", "flags"),
    [
        (True, False, ("COMPLETE", "FINAL")),
        (True, True, ("COMPLETE", "PRELIMINARY")),
        (False, False, ("PARTIAL", "PRELIMINARY")),
    ],
)
def test_only_the_last_word_is_final(store, found, final, unconfirmed, flags):
    report = report_of(objects_of(result_of(found, final=final, unconfirmed=unconfirmed), (), REPORT, store))
    assert (report.CompletionFlag, report.PreliminaryFlag) == flags
    assert report.VerificationFlag == "UNVERIFIED"
    assert ("second reading" in statements(report, "Status of the AI result")[0]) == unconfirmed


def test_a_later_report_names_the_earlier_as_its_predecessor(store, found):
    earlier = [one.written for one in objects_of(result_of(found), (), BOTH, store)]
    report = report_of(objects_of(result_of(found, revision=2), earlier, BOTH, store))
    (study,) = report.PredecessorDocumentsSequence
    ((one,),) = [item.ReferencedSOPSequence for item in study.ReferencedSeriesSequence]
    (old,) = (written for written in earlier if written.kind is ObjectKind.REPORT)
    assert one.ReferencedSOPInstanceUID == old.sop_instance_uid
    assert report.SeriesInstanceUID == old.series_uid == study.ReferencedSeriesSequence[0].SeriesInstanceUID
    assert report.SOPInstanceUID != old.sop_instance_uid


def test_what_was_taken_back_is_said_to_be_withdrawn(store, found):
    """Also where the site wants no reports without findings."""
    earlier = [one.written for one in objects_of(result_of(found), (), BOTH, store)]
    report = report_of(objects_of(result_of(nothing_found(found), revision=2), earlier, BOTH, store))
    assert ENGLISH.withdrawn in statements(report, "Conclusion")
    assert "earlier ai finding withdrawn" in ENGLISH.withdrawn.lower()
    assert "PredecessorDocumentsSequence" in report
    assert groups(report) == []


@pytest.mark.parametrize(
    "changes",
    [{"outcome": Outcome.FAILED}, {"outcome": Outcome.NOT_APPLICABLE}, {"final": False}, {"unconfirmed": True}],
)
def test_what_nobody_looked_at_again_is_not_withdrawn(store, found, changes):
    """As with alerts: a failure, missing images or a first reading take nothing back, and images stay in use."""
    earlier = [one.written for one in objects_of(result_of(found), (), BOTH, store)]
    later = result_of(nothing_found(found), revision=2, **changes)
    objects = objects_of(later, earlier, ObjectSettings(), store)
    assert kinds_of(objects) == [ObjectKind.REPORT]
    said = statements(report_of(objects), "Conclusion")
    assert ENGLISH.standing in said
    assert not any("withdrawn" in text for text in said)
    assert "PredecessorDocumentsSequence" in report_of(objects)
    assert left_standing(later, earlier) == tuple(one for one in earlier if one.kind is ObjectKind.SEGMENTATION)


def test_new_findings_and_a_last_word_leave_nothing_standing(store, found):
    earlier = [one.written for one in objects_of(result_of(found), (), BOTH, store)]
    assert left_standing(result_of(found, revision=2, final=False), earlier) == ()
    assert left_standing(result_of(nothing_found(found), revision=2), earlier) == ()


def test_an_earlier_report_alone_may_have_had_no_findings(store, found):
    choice = REPORT.model_copy(update={"no_findings": "report"})
    earlier = [one.written for one in objects_of(result_of(nothing_found(found)), (), choice, store)]
    report = report_of(objects_of(result_of(nothing_found(found), revision=2), earlier, choice, store))
    assert ENGLISH.withdrawn_if_any in statements(report, "Conclusion")
    assert ENGLISH.withdrawn not in statements(report, "Conclusion")


@pytest.mark.parametrize(
    ("outcome", "choice", "written"),
    [
        (Outcome.NO_FINDINGS, {}, False),
        (Outcome.NO_FINDINGS, {"no_findings": "report"}, True),
        (Outcome.FAILED, {"no_findings": "report"}, False),
        (Outcome.FAILED, {"not_analysed": "report"}, True),
        (Outcome.NOT_APPLICABLE, {"not_analysed": "report"}, True),
        (Outcome.NOT_APPLICABLE, {}, False),
    ],
)
def test_nothing_to_say_is_said_where_the_site_wants_it(store, found, outcome, choice, written):
    result = result_of(nothing_found(found), outcome=outcome, reason="the reason why")
    objects = objects_of(result, (), ObjectSettings().model_copy(update=choice), store)
    assert kinds_of(objects) == ([ObjectKind.REPORT] if written else [])
    if written:
        assert any("the reason why" in text for text in statements(report_of(objects), "Conclusion"))
        assert "CurrentRequestedProcedureEvidenceSequence" not in report_of(objects)


@pytest.mark.parametrize(("language", "words"), [("en", ENGLISH), ("ko", KOREAN)])
def test_the_notice_is_in_the_language_of_the_site(store, found, language, words):
    report = report_of(objects_of(result_of(found), (), REPORT.model_copy(update={"language": language}), store))
    assert words.notice in statements(report, "Notice")
    assert ENGLISH.notice in statements(report, "Notice")
    (spoken,) = named(report, "Language of Content Item and Descendants")
    assert code(spoken) == ("RFC5646", language)


def test_the_procedure_is_the_one_the_images_name(store):
    def coded(ds: Dataset, z: int) -> None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "30799-1", "LN", "CT Head WO contrast"
        ds.ProcedureCodeSequence = [item]

    for bend, wanted in ((coded, ("LN", "30799-1")), (lambda ds, z: None, ("LN", "25045-6"))):
        one = decision(store, store_datasets(store, series(6, bend)), None)
        (procedure,) = named(report_of(objects_of(result_of(one), (), REPORT, store)), "Procedure reported")
        assert code(procedure) == wanted


def test_cautions_are_passed_on(store):
    datasets = [ds for z, ds in enumerate(series(7)) if z != 3]
    labels = np.zeros(volume_of(store, store_datasets(store, datasets)).voxels.shape, np.uint8)
    labels[1, 5:30, 5:30] = 1
    result = result_of(decision(store, store_datasets(store, datasets), labels))
    report = report_of(objects_of(result, (), REPORT, store))
    assert statements(report, "Caution") == ["1 of 7 slices are missing: nothing was measured there"]


def test_only_reports_are_predecessors(store, found):
    image = WrittenObject(
        kind=ObjectKind.KEY_IMAGE, sop_class_uid="1.2", sop_instance_uid="2.25.1", series_uid="2.25.2"
    )
    report = report_of(objects_of(result_of(found), [image], REPORT, store))
    assert "PredecessorDocumentsSequence" not in report


def test_it_reads_back_as_a_measurement_report(store, found):
    """highdicom's own reader finds the groups where TID 1500 has them."""
    from highdicom.sr import srread

    (content,) = (one.content for one in objects_of(result_of(found), (), BOTH, store) if one.written.kind == "report")
    read = srread(io.BytesIO(content))
    assert len(read.content.get_volumetric_roi_measurement_groups()) == 2
    assert len(read.content.get_image_measurement_groups()) == 1
    assert pydicom.dcmread(io.BytesIO(content)).InstanceNumber == 2
