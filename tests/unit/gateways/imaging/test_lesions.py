"""Findings are pieces of the label map, in millimetres and millilitres of the patient."""

from collections import Counter

import numpy as np
import pytest

from gateways.imaging.lesions import MOST, classification, lesions
from gateways.imaging.midline import Midsagittal
from gateways.imaging.volume import SliceName, Volume
from schemas.codes import INTRACRANIAL_HEMORRHAGE, Code
from schemas.events import Side
from schemas.models import ModelClass

BLOOD = ModelClass(label=1, name="blood", code=INTRACRANIAL_HEMORRHAGE, min_volume_ml=0.02)
SHAPE = (8, 40, 50)
SPACING = (5.0, 1.0, 0.5)


def volume(missing: tuple[int, ...] = ()) -> Volume:
    affine = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
    affine[:3, 3] = [-10, 20, 100]
    names = tuple(None if z in missing else SliceName(f"2.25.{z}", None) for z in range(SHAPE[0]))
    return Volume(np.zeros(SHAPE, np.int16), affine, SPACING, names)


def measured(labels, *, of=None, classes=(BLOOD,), scores=(0.9,), **more):
    return lesions(of or volume(), labels, classes, np.array(scores, np.float32), "1.2.3", **more)


def test_an_empty_map_has_no_findings():
    assert measured(np.zeros(SHAPE, np.uint8)).findings == ()


def test_volume_place_box_and_key_slice():
    labels = np.zeros(SHAPE, np.uint8)
    labels[2, 10:14, 20:30] = 1
    labels[3, 10:16, 20:30] = 1
    (finding,) = measured(labels).findings
    assert finding.volume_ml == pytest.approx(100 * 2.5 / 1000)
    assert finding.key_instance_uid == "2.25.3"
    assert finding.probability == pytest.approx(0.9)
    assert finding.code == INTRACRANIAL_HEMORRHAGE
    middle_row = (40 * 11.5 + 60 * 12.5) / 100
    assert finding.centroid_mm == pytest.approx((-10 + 24.5 * 0.5, 20 + middle_row, 100 + 13), abs=0.01)
    low, high = finding.box_mm
    assert low == pytest.approx((-10 + 19.5 * 0.5, 20 + 9.5, 100 + 7.5), abs=0.01)
    assert high == pytest.approx((-10 + 29.5 * 0.5, 20 + 15.5, 100 + 17.5), abs=0.01)


def test_pieces_that_touch_at_a_corner_are_one():
    labels = np.zeros(SHAPE, np.uint8)
    labels[2, 10:14, 20:24] = 1
    labels[3, 14:18, 24:28] = 1
    assert len(measured(labels).findings) == 1


def test_largest_first_and_small_ones_not_at_all():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 2:6, 2:6] = 1
    labels[5, 10:20, 10:20] = 1
    labels[7, 30, 30] = 1
    volumes = [finding.volume_ml for finding in measured(labels).findings]
    assert volumes == pytest.approx([0.25, 0.04])


def test_missing_slices_are_not_measured():
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 10:20, 10:20] = 1
    report = measured(labels, of=volume(missing=(3,)))
    assert sum(finding.volume_ml for finding in report.findings) == pytest.approx(0.5)
    assert {finding.key_instance_uid for finding in report.findings} == {"2.25.2", "2.25.4"}


def test_many_findings_are_summed_up():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 0:40:4, 0:48:8] = 1
    row = BLOOD.model_copy(update={"min_volume_ml": 0.0})
    report = measured(labels, classes=(row,))
    assert len(report.findings) == MOST
    assert report.cautions == ("40 smaller findings, 0.1 ml together, are not listed",)


def test_many_pieces_of_one_class_push_out_no_other():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 0:40:4, 0:48:8] = 1
    labels[3, 0, 0] = 3
    rows = tuple(
        BLOOD.model_copy(
            update={"label": label, "min_volume_ml": 0.0, "code": Code(scheme="DCM", value=code, meaning=code)}
        )
        for label, code in ((1, "many"), (3, "one"))
    )
    report = measured(labels, classes=rows, scores=(0.9, 0.9))
    assert Counter(finding.code.value for finding in report.findings) == {"many": MOST, "one": 1}
    assert report.cautions == ("40 smaller findings, 0.1 ml together, are not listed",)


def test_classes_keep_their_own_scores():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 2:12, 2:12] = 1
    labels[1, 12:22, 12:20] = 3
    other = BLOOD.model_copy(update={"label": 3})
    report = measured(labels, classes=(BLOOD, other), scores=(0.9, 0.4))
    assert [round(finding.probability, 2) for finding in report.findings] == [0.9, 0.4]


def test_probability_and_agreement_are_means_over_the_piece():
    labels, probability, agreement = (np.zeros(SHAPE, np.uint8) for _ in range(3))
    labels[1, 2:12, 2:12] = labels[5, 2:12, 2:10] = 1
    probability[1], probability[5] = 204, 102
    probability[5, 2:7], agreement[1] = 255, 51
    first, second = measured(labels, probability=probability, agreement=agreement).findings
    assert (first.probability, first.agreement) == (pytest.approx(0.8), pytest.approx(0.2))
    assert (second.probability, second.agreement) == (pytest.approx(0.7), 0)


def test_without_maps_and_middle_nothing_is_said_of_them():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 2:12, 2:12] = 1
    (finding,) = measured(labels).findings
    assert (finding.probability, finding.agreement, finding.side) == (pytest.approx(0.9), None, None)


def test_sides_are_against_the_middle_of_the_head():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 0:20, 44:50] = labels[3, 0:15, 22:28] = labels[5, 0:10, 0:6] = 1
    middle = Midsagittal(np.array([2.0, 0, 0]), np.array([1.0, 0, 0]))
    sides = [finding.side for finding in measured(labels, middle=middle).findings]
    assert sides == [Side.LEFT, Side.MIDLINE, Side.RIGHT]


def test_a_classifier_locates_nothing_and_says_so():
    report = classification(volume(), (BLOOD,), np.array([0.8], np.float32), "1.2.3")
    (finding,) = report.findings
    assert finding.volume_ml == 0
    assert finding.key_instance_uid == "2.25.4"
    assert "locates nothing" in report.cautions[0]
    assert classification(volume(), (BLOOD,), np.array([0.4], np.float32), "1.2.3").findings == ()
