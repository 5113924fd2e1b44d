"""Files come into a model's folder all together or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateways.inference.repository import missing_files, stamp
from gateways.inference.weights import installation
from gateways.inference.weights.installation import PROVENANCE, install_files, is_installed
from schemas.failures import Unavailable, Unreadable
from tests.unit.gateways.inference.weights.published import repository

CONTENTS = {"a.npz": b"one", "b.onnx": b"two"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return repository(tmp_path, m="a.npz b.onnx") / "m"


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


BEFORE = {"config.pbtxt", "1/model.py"}


def test_what_is_missing_until_it_is_installed(model: Path) -> None:
    assert missing_files(model, "1") == ["a.npz", "b.onnx"]
    (model / "1" / "a.npz").write_bytes(b"one")
    assert missing_files(model, "1") == ["b.onnx"]
    (model / "1" / "b.onnx").mkdir()
    assert missing_files(model, "1") == ["b.onnx"]


def test_a_model_without_installed_files_misses_none(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text('name: "m"')
    assert missing_files(tmp_path, "1") == []


@pytest.mark.parametrize("name", ["../a.npz", "/a.npz", "x/a.npz", ".a", ".."])
def test_a_file_outside_the_version_is_refused(tmp_path: Path, name: str) -> None:
    repository(tmp_path, m=name)
    with pytest.raises(Unreadable, match="no file of the version's folder"):
        missing_files(tmp_path / "m", "1")


def test_files_and_where_they_are_from(model: Path) -> None:
    assert install_files(model, CONTENTS, {"licence": "Apache-2.0"}) == ["1/a.npz", "1/b.onnx"]
    assert names(model) == BEFORE | {"1/a.npz", "1/b.onnx", PROVENANCE}
    assert (model / "1" / "a.npz").read_bytes() == b"one"
    told = json.loads((model / PROVENANCE).read_text())
    assert told == {
        "model": "m",
        "licence": "Apache-2.0",
        "installed_files": {
            "1/a.npz": "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
            "1/b.onnx": "sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
        },
    }


def test_every_version_gets_them(model: Path) -> None:
    (model / "2").mkdir()
    assert install_files(model, CONTENTS, {}) == ["1/a.npz", "1/b.onnx", "2/a.npz", "2/b.onnx"]
    assert missing_files(model, "2") == []


def test_installed_is_what_the_stated_digest_is_of(model: Path) -> None:
    install_files(model, CONTENTS, {})
    assert not is_installed(model)
    stamp(model, "1")
    assert is_installed(model)
    (model / "1" / "a.npz").write_bytes(b"another")
    assert not is_installed(model)
    install_files(model, CONTENTS, {})
    (model / PROVENANCE).unlink()
    assert not is_installed(model)


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_disk_that_refuses_leaves_nothing(model: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    written = []

    def refuse(place: Path, data: bytes) -> None:
        written.append(place)
        if len(written) == fails_at:
            raise OSError(28, "No space left on device", str(place))
        real(place, data)

    real = installation.write_whole
    monkeypatch.setattr(installation, "write_whole", refuse)
    with pytest.raises(Unavailable, match="No space left on device: nothing was installed for m"):
        install_files(model, CONTENTS, {})
    assert not (model / PROVENANCE).exists()
    assert names(model) == BEFORE


def test_a_place_that_is_taken_leaves_nothing(model: Path) -> None:
    (model / "1" / "b.onnx").mkdir()
    with pytest.raises(Unavailable, match="nothing was installed for m"):
        install_files(model, CONTENTS, {})
    assert names(model) == BEFORE


def test_a_killed_installation_is_not_in_the_way(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(installation, "_move", killed)
        patch.setattr(installation.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            install_files(model, CONTENTS, {})
    assert missing_files(model, "1") == ["a.npz", "b.onnx"]
    assert names(model) > BEFORE
    install_files(model, CONTENTS, {})
    assert names(model) == BEFORE | {"1/a.npz", "1/b.onnx", PROVENANCE}
