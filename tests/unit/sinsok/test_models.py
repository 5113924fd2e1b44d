"""`sinsok models`: what is installed, and what to do about what is not."""

import json
from pathlib import Path

import pytest

from gateways.inference.server import TritonServer
from gateways.inference.weights import blast_ct
from tests.unit.gateways.inference.weights.published import publish, repository
from tests.unit.sinsok.commandline import sinsok


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with BLAST-CT's models and one of another vendor, no weights, and no Triton to ask."""
    files = {"blast_ct": "member_1.npz", "blast_ct_ensemble": "member_1.npz", "other": "weights.bin"}
    folder = repository(tmp_path / "models", **files)
    monkeypatch.setenv("SINSOK_MODEL_REPOSITORY", str(folder))
    monkeypatch.setattr(TritonServer, "state", lambda *_: "READY")
    return folder


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(blast_ct, "DIGESTS", publish(tmp_path / "weights", 1))
    return tmp_path / "weights"


def states() -> dict[str, str]:
    rows = [json.loads(line) for line in sinsok("models", "list", "--json").out.splitlines()]
    return {row["name"]: row["state"] for row in rows}


def test_a_model_without_its_files_is_not_installed(models: Path) -> None:
    assert states() == {
        "blast_ct": "not installed: run `sinsok models install blast-ct`",
        "blast_ct_ensemble": "not installed: run `sinsok models install blast-ct`",
        "other": f"not installed: put weights.bin into {models}/other/1",
    }
    told = sinsok("models").out
    assert "blast_ct version 1: not installed: run `sinsok models install blast-ct`" in told
    assert "different" not in told


@pytest.mark.parametrize("name", ["blast-ct", "blast_ct", "blast_ct_ensemble"])
def test_installing_from_a_folder(models: Path, weights: Path, name: str) -> None:
    answer = sinsok("models", "install", name, "--from", str(weights))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[:2] == [
        "blast_ct: installed 1/member_1.npz",
        "blast_ct_ensemble: installed 1/member_1.npz",
    ]
    assert states() == {"blast_ct": "READY", "blast_ct_ensemble": "READY", "other": states()["other"]}


def test_installing_again(models: Path, weights: Path) -> None:
    sinsok("models", "install", "blast-ct", "--from", str(weights))
    for name in ("blast_ct", "blast_ct_ensemble"):
        sinsok("models", "stamp", name)
    answer = sinsok("models", "install", "blast-ct", "--from", str(weights))
    assert answer.out.splitlines() == ["blast_ct: already installed", "blast_ct_ensemble: already installed"]


def test_what_cannot_be_installed_is_one_line(models: Path, weights: Path) -> None:
    (weights / "model_1.pt").write_bytes(b"cut off")
    answer = sinsok("models", "install", "blast-ct", "--from", str(weights))
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"error: {weights}/model_1.pt: sha256 ")
    assert len(answer.err.splitlines()) == 1
    assert states()["blast_ct"].startswith("not installed")


def test_a_name_nobody_knows(models: Path) -> None:
    answer = sinsok("models", "install", "blast-mr")
    assert (answer.code, answer.out) == (2, "")
    assert "no model blast-mr" in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_model_whose_files_are_for_the_operator_to_put_there(models: Path) -> None:
    answer = sinsok("models", "install", "other")
    assert answer.code == 1
    assert answer.err.startswith(f"error: other version 1 is not installed: put weights.bin into {models}/other/1")


def test_a_model_that_is_built_in(models: Path) -> None:
    (models / "other" / "config.pbtxt").write_text('name: "other"')
    assert sinsok("models", "install", "other").out == "other is built in: there is nothing to install\n"


def test_an_ensemble_of_another_size_loads_at_once_under_its_own_digest(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blast_ct, "DIGESTS", publish(tmp_path / "weights", 1, 2))
    answer = sinsok("models", "install", "blast-ct", "--from", str(tmp_path / "weights"), "--members", "2")
    assert (answer.code, answer.err) == (0, "")
    rows = {row["name"]: row for row in map(json.loads, sinsok("models", "list", "--json").out.splitlines())}
    assert rows["blast_ct_ensemble"]["source"].endswith("the mean of 2 members")
    assert rows["blast_ct_ensemble"]["digest_matches"]


def test_a_model_without_members_has_none_to_choose(models: Path) -> None:
    (models / "other" / "config.pbtxt").write_text('name: "other"')
    answer = sinsok("models", "install", "other", "--members", "3")
    assert (answer.code, answer.out) == (2, "")
    assert "other has no members to choose from" in answer.err


def test_one_configuration_that_cannot_be_read_hides_no_other_model(models: Path) -> None:
    (models / "blast_ct" / "config.pbtxt").write_text("}")
    answer = sinsok("models", "list")
    assert "blast_ct version 1: " in answer.err
    assert "config.pbtxt is no model configuration" in answer.err
    assert "other version 1: " in answer.out
