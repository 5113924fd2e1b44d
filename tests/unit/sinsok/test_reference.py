"""A model's answer of today beside the one that was recorded."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from gateways.imaging.volume import SliceName, Volume
from gateways.inference.contract import Answer
from schemas.codes import Code
from schemas.failures import Unreadable
from schemas.models import Contract, ModelClass, ModelIdentity
from sinsok.phantom import Case
from sinsok.reference import FILE, Reference, Seen, differences, record, reference_of, seen_in

BLEED = Seen(score=0.8, volume_ml=10.0, centre_mm=(1.0, 2.0, 3.0))
SCORES = np.array([0.8, 0.1], np.float32)
NAMES = ("bleed", "oedema")


def model(contract: Contract) -> ModelIdentity:
    classes = tuple(
        ModelClass(label=label, name=name, code=Code(scheme="SCT", value="1", meaning=name))
        for label, name in enumerate(NAMES, start=1)
    )
    return ModelIdentity(name="m", version="1", digest=f"sha256:{'0' * 64}", contract=contract, classes=classes)


def test_what_is_seen_is_measured_in_the_patient() -> None:
    affine = np.diag([2.0, 3.0, 5.0, 1.0])
    affine[:3, 3] = [100, 200, 300]
    names = tuple(SliceName(f"2.25.{number}", None) for number in range(4))
    volume = Volume(np.zeros((4, 6, 8), np.int16), affine, (5.0, 3.0, 2.0), names)
    labels = np.zeros((4, 6, 8), np.uint8)
    labels[1:3, 2, 4] = 1
    seen = seen_in(model(Contract.SEGMENTATION), volume, Answer(labels, SCORES))
    assert seen["bleed"] == Seen(score=0.8, volume_ml=0.06, centre_mm=(108.0, 206.0, 307.5))
    assert seen["oedema"] == Seen(score=0.1, volume_ml=0.0, centre_mm=None)
    labels[0, 0, 0] = 2
    one_voxel = seen_in(
        model(Contract.SEGMENTATION), dataclasses.replace(volume, affine=affine / 10), Answer(labels, SCORES)
    )
    assert one_voxel["oedema"] == Seen(score=0.1, volume_ml=0.0, centre_mm=None)
    assert seen_in(model(Contract.CLASSIFICATION), volume, Answer(None, SCORES))["bleed"] == Seen(score=0.8)


@pytest.mark.parametrize(
    "now",
    [
        BLEED,
        BLEED.model_copy(update={"volume_ml": 10.4}),
        BLEED.model_copy(update={"score": 0.83, "centre_mm": (1.0, 3.0, 3.0)}),
    ],
)
def test_rounding_is_no_difference(now: Seen) -> None:
    assert differences({"bleed": BLEED}, {"bleed": now}) == []


@pytest.mark.parametrize(
    "now",
    [
        {"volume_ml": 9.0},
        {"volume_ml": 0.0, "centre_mm": None},
        {"centre_mm": (1.0, 2.0, 6.0)},
        {"score": 0.6},
    ],
)
def test_another_size_place_or_certainty_is(now: dict[str, object]) -> None:
    (line,) = differences({"bleed": BLEED}, {"bleed": BLEED.model_copy(update=now)})
    assert line.startswith("bleed: was 10 ml at (1, 2, 3) mm, score 0.8, is ")


def test_a_few_stray_voxels_are_none() -> None:
    nothing = Seen(score=0.0, volume_ml=0.0)
    stray = Seen(score=0.5, volume_ml=0.1, centre_mm=(9.0, 9.0, 9.0))
    assert differences({"bleed": nothing}, {"bleed": stray}) == []


def test_a_classifier_is_compared_by_its_scores() -> None:
    assert differences({"x": Seen(score=0.9)}, {"x": Seen(score=0.91)}) == []
    assert differences({"x": Seen(score=0.9)}, {"x": Seen(score=0.1)}) == ["x: was score 0.9, is score 0.1"]


def test_other_classes_ask_for_a_new_record() -> None:
    (line,) = differences({"bleed": BLEED}, {"oedema": BLEED})
    assert line == "the reference is of bleed, the model has oedema: record it anew"


def test_each_version_has_its_own(tmp_path: Path) -> None:
    assert reference_of(tmp_path) is None
    record(tmp_path, "1", {"bleed": BLEED}, Reference(case=Case.EAH, seed=4))
    first = reference_of(tmp_path)
    assert first is not None
    record(tmp_path, "2", {"bleed": Seen(score=0.5)}, first)
    assert reference_of(tmp_path) == Reference(
        case=Case.EAH, seed=4, versions={"1": {"bleed": BLEED}, "2": {"bleed": Seen(score=0.5)}}
    )


def test_a_damaged_reference_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"seed": -1}')
    with pytest.raises(Unreadable, match=r"reference\.json is no reference"):
        reference_of(tmp_path)
