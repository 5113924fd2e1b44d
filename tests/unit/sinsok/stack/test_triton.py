"""Triton is told to load what can be loaded, and asked for that alone."""

from pathlib import Path

import pytest

from sinsok.stack import probe
from sinsok.stack.part import NotReady
from sinsok.stack.triton import models_ready, triton

INSTALLED_FILES = 'parameters { key: "sinsok_installed_files" value { string_value: "a.npz b.npz" } }'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, config in (("whole", ""), ("weighty", INSTALLED_FILES), ("garbled", "}")):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text(config)
    return tmp_path


def loaded(repository: Path) -> list[str]:
    part = triton(repository / "home", repository, "127.0.0.1", 1, 2, 3)
    assert "--model-control-mode=explicit" in part.command
    return [word.removeprefix("--load-model=") for word in part.arguments()]


def test_a_model_without_its_files_is_not_loaded(repository: Path) -> None:
    (repository / "weighty" / "1" / "a.npz").touch()
    assert loaded(repository) == ["garbled", "whole"]


def test_it_is_loaded_when_they_are_there(repository: Path) -> None:
    for name in ("a.npz", "b.npz"):
        (repository / "weighty" / "1" / name).touch()
    assert loaded(repository) == ["garbled", "weighty", "whole"]


def test_what_is_installed_meanwhile_is_asked_for_after_the_next_start(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(_: str, path: str) -> str:
        asked.append(path.removeprefix("/v2/models/").partition("/")[0])
        return ""

    asked: list[str] = []
    monkeypatch.setattr(probe, "get", get)
    part = triton(repository / "home", repository, "127.0.0.1", 1, 2, 3)
    part.arguments()
    for name in ("a.npz", "b.npz"):
        (repository / "weighty" / "1" / name).touch()
    part.ready()
    assert "weighty" not in asked
    assert "--load-model=weighty" in part.arguments()
    part.ready()
    assert "weighty" in asked


def test_only_what_is_loaded_has_to_be_ready(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(_: str, path: str) -> str:
        if "garbled" in path:
            raise NotReady("no")
        asked.append(path)
        return ""

    asked: list[str] = []
    monkeypatch.setattr(probe, "get", get)
    with pytest.raises(NotReady, match="does not serve model garbled version 1"):
        models_ready("h:1", repository)
    (repository / "garbled" / "config.pbtxt").unlink()
    models_ready("h:1", repository)
    assert asked == ["/v2/models/whole/versions/1/ready"]
