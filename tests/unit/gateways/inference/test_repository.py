"""The digest in a configuration is that of the files beside it."""

import shutil
from pathlib import Path

import pytest

from gateways.inference.contract import configuration_faults
from gateways.inference.repository import (
    CONFIGURATIONS,
    configuration,
    digest_of,
    missing_files,
    models,
    parameter,
    set_parameter,
    stamp,
    stated_digest,
    versions,
)
from schemas.failures import Unreadable

REPOSITORY = Path(__file__).parents[4] / "triton_models"


@pytest.mark.parametrize("model", models(REPOSITORY), ids=lambda model: model.name)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_our_own_models_keep_the_contract_and_state_their_digest(model, name):
    config = configuration(model / name)
    assert [fault for version in versions(model) for fault in configuration_faults(config, version)] == []
    assert config.name == model.name
    assert parameter(config, "sinsok_licence")
    assert (model / "README.md").exists()
    if any(missing_files(model, version) for version in versions(model)):
        pytest.skip("its weights are not installed")
    assert all(stated_digest(config, version) == digest_of(model, version) for version in versions(model))


@pytest.fixture
def model(tmp_path):
    shutil.copytree(REPOSITORY / "ich_hyperdensity", tmp_path / "m", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "m"


@pytest.mark.parametrize("name", ["labels.txt", "1/model.py", "1/hyperdensity.py", "1/weights.bin"])
def test_whatever_computes_changes_the_digest(model, name):
    before = digest_of(model, "1")
    with (model / name).open("a") as file:
        file.write("x")
    assert digest_of(model, "1") != before


def test_what_does_not_compute_does_not(model):
    before = digest_of(model, "1")
    (model / "README.md").write_text("other")
    (model / "1" / "__pycache__").mkdir()
    (model / "1" / "__pycache__" / "model.pyc").write_text("x")
    assert digest_of(model, "1") == before


def test_stamping_writes_both_configurations(model):
    (model / "labels.txt").write_text("other\n")
    digest = stamp(model, "1")
    assert digest == digest_of(model, "1")
    assert {stated_digest(configuration(model / name), "1") for name in CONFIGURATIONS} == {digest}


def test_a_parameter_over_several_lines_is_found_and_the_next_one_left_alone(model):
    path = model / CONFIGURATIONS[0]
    text = """parameters {
  key: "sinsok_digest_7"
  value: { string_value: "" }
}
parameters { key: "sinsok_digest_8" value { int64: 1 } }
parameters { key: "other" value { string_value: "mine" } }
"""
    path.write_text(text)
    (model / CONFIGURATIONS[1]).unlink()
    set_parameter(model, "sinsok_digest_7", "sha256:1")
    assert path.read_text() == text.replace('string_value: ""', 'string_value: "sha256:1"')
    with pytest.raises(Unreadable, match="parameter sinsok_digest_8 is missing"):
        set_parameter(model, "sinsok_digest_8", "sha256:1")


def test_a_file_that_is_no_configuration(tmp_path):
    (tmp_path / "config.pbtxt").write_text("name: [")
    with pytest.raises(Unreadable, match="no model configuration"):
        configuration(tmp_path / "config.pbtxt")
