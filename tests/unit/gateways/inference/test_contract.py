"""A model that breaks the contract is told where, and what the contract says."""

import re

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from gateways.inference.contract import Answer, answer_faults, configuration_faults, identity
from schemas.codes import INTRACRANIAL_HEMORRHAGE
from schemas.failures import Unreadable
from schemas.models import Contract, ModelClass, ModelIdentity, Region

GOOD = """
name: "m" backend: "python" max_batch_size: 0
input [ { name: "VOLUME" data_type: TYPE_INT16 dims: [ -1, -1, -1 ] },
        { name: "SPACING" data_type: TYPE_FP32 dims: [ 3 ] },
        { name: "AFFINE" data_type: TYPE_FP64 dims: [ 4, 4 ] } ]
output [ { name: "LABELS" data_type: TYPE_UINT8 dims: [ -1, -1, -1 ] },
         { name: "SCORES" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { kind: KIND_GPU count: 1 } ]
parameters { key: "sinsok_contract" value { string_value: "segmentation.v1" } }
parameters { key: "sinsok_classes" value { string_value:
  '[{"label": 1, "name": "blood", "code": {"scheme": "SCT", "value": "1386000", "meaning": "Bleed"}}]' } }
parameters { key: "sinsok_digest_1" value { string_value: "sha256:DIGEST" } }
""".replace("DIGEST", "a" * 64)


def config(text: str = GOOD) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_identity_of_a_good_model():
    newer = 'parameters { key: "sinsok_digest_3" value { string_value: "sha256:DIGEST" } }'.replace("DIGEST", "b" * 64)
    both = config(GOOD + newer)
    assert identity(both, "1").digest == f"sha256:{'a' * 64}"
    model = identity(both, "3")
    assert (model.name, model.version, model.digest) == ("m", "3", f"sha256:{'b' * 64}")
    assert (model.contract, model.device) == (Contract.SEGMENTATION, "gpu")
    assert [row.name for row in model.classes] == ["blood"]


def test_the_region_a_model_states_is_checked():
    stated = GOOD + 'parameters { key: "sinsok_region" value { string_value: "head" } }'
    assert identity(config(), "1").region is None
    assert identity(config(stated), "1").region is Region.HEAD
    (fault,) = configuration_faults(config(stated.replace('"head"', '"knee"')), "1")
    assert fault == "parameter sinsok_region is 'knee': state head, or leave it out"


def test_a_classifier_needs_no_labels():
    text = re.sub(r'\{ name: "LABELS".*?\},', "", GOOD, flags=re.DOTALL).replace("segmentation", "classification")
    assert configuration_faults(config(text), "1") == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("segmentation.v1", "other", "parameter sinsok_contract is 'other'"),
        ("max_batch_size: 0", "max_batch_size: 4", "max_batch_size is 4"),
        ('"VOLUME" data_type: TYPE_INT16', '"VOLUME" data_type: TYPE_FP32', "input VOLUME is FP32"),
        ('"VOLUME" data_type: TYPE_INT16 dims: [ -1', '"VOLUME" data_type: TYPE_INT16 dims: [ 64', "input VOLUME is"),
        ('"SPACING"', '"SPACINGS"', "input SPACING is missing"),
        ('"SPACING"', '"SPACINGS"', "input SPACINGS is not in the contract"),
        ("dims: [ 4, 4 ]", "dims: [ 16 ]", "input AFFINE is FP64 [16]"),
        ('"LABELS" data_type: TYPE_UINT8', '"LABELS" data_type: TYPE_INT64', "output LABELS is INT64"),
        ("TYPE_FP32 dims: [ 1 ]", "TYPE_FP32 dims: [ 2 ]", "output SCORES has 2 values, the class table has 1 rows"),
        ('"label": 1', '"label": 0', "parameter sinsok_classes: 0.label"),
        ("[{", "{", "parameter sinsok_classes: the whole"),
        ("sha256:", "md5:", "parameter sinsok_digest_1 is not"),
    ],
)
def test_each_fault_is_named(old, new, fault):
    assert old in GOOD
    broken = config(GOOD.replace(old, new))
    assert any(line.startswith(fault) for line in configuration_faults(broken, "1")), configuration_faults(broken, "1")
    with pytest.raises(Unreadable, match="breaks the contract"):
        identity(broken, "1")


ROW = ModelClass(label=2, name="blood", code=INTRACRANIAL_HEMORRHAGE)
MODEL = ModelIdentity(
    name="m", version="1", digest=f"sha256:{'a' * 64}", contract=Contract.SEGMENTATION, classes=(ROW,)
)
SHAPE = (2, 3, 4)


def answer(labels=None, scores=(0.5,)) -> Answer:
    return Answer(np.zeros(SHAPE, np.uint8) if labels is None else labels, np.array(scores, np.float32))


def test_a_good_answer_has_no_faults():
    assert answer_faults(MODEL, SHAPE, answer(np.full(SHAPE, 2, np.uint8))) == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (Answer(None, np.array([0.5], np.float32)), "LABELS is missing"),
        (answer(np.zeros((2, 4, 3), np.uint8)), "LABELS is uint8 [2, 4, 3]"),
        (answer(np.zeros(SHAPE, np.int64)), "LABELS is int64"),
        (answer(np.ones(SHAPE, np.uint8)), "LABELS holds 1"),
        (answer(scores=(0.5, 0.5)), "SCORES has the shape [2]"),
        (answer(scores=(1.5,)), "SCORES holds values outside 0 to 1"),
        (answer(scores=(float("nan"),)), "SCORES holds values outside 0 to 1"),
    ],
)
def test_each_fault_of_an_answer_is_named(given, fault):
    (line,) = answer_faults(MODEL, SHAPE, given)
    assert line.startswith(fault)


MAPS = '{ name: "PROBABILITY" data_type: TYPE_UINT8 dims: [ -1, -1, -1 ] }, { name: "SCORES"'
GIVING = MODEL.model_copy(update={"optional_outputs": ("PROBABILITY", "AGREEMENT")})


def test_optional_outputs_are_those_that_are_declared():
    assert identity(config(), "1").optional_outputs == ()
    assert identity(config(GOOD.replace('{ name: "SCORES"', MAPS)), "1").optional_outputs == ("PROBABILITY",)


def test_an_optional_output_of_another_type_is_a_fault():
    text = GOOD.replace('{ name: "SCORES"', MAPS.replace("UINT8", "FP32"))
    (line,) = configuration_faults(config(text), "1")
    assert line.startswith("output PROBABILITY is FP32")


def test_declared_maps_have_to_come_and_to_fit():
    flat = np.zeros(24, np.uint8)
    missing, misshapen = answer_faults(GIVING, SHAPE, answer()._replace(agreement=flat))
    assert missing == "PROBABILITY is missing, which the configuration declares"
    assert misshapen.startswith("AGREEMENT is uint8 [24], the volume asks for uint8 [2, 3, 4]")
    whole = flat.reshape(SHAPE)
    assert answer_faults(GIVING, SHAPE, answer()._replace(probability=whole, agreement=whole)) == []
