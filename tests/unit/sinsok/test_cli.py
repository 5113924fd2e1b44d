"""The command line as a whole: its commands, its exit codes, its errors."""

from pathlib import Path

import pytest

from schemas.documents import documents
from sinsok.cli import COMMANDS
from sinsok.errors import UserError
from tests.unit.sinsok.commandline import sinsok


def test_help_names_every_command() -> None:
    answer = sinsok("--help")
    assert answer.code == 0
    assert [name for name in COMMANDS if f"  {name} " not in answer.out] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    answer = sinsok(name, "--help")
    assert answer.code == 0
    usage = answer.out.splitlines()[0]
    assert usage.startswith("Usage: ")
    assert f" {name} " in usage


@pytest.mark.parametrize("arguments", [["scan"], ["events"], ["study"], ["events", "--loud", "x"], ["schemas", "eat"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    answer = sinsok(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert "Traceback" not in answer.err


def test_an_error_is_one_line_and_a_traceback_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINSOK_CONFIG", "absent.toml")
    answer = sinsok("topics")
    assert answer.code == 2
    assert answer.err.startswith("error: absent.toml: cannot be read")
    assert len(answer.err.splitlines()) == 1
    with pytest.raises(UserError):
        sinsok("--debug", "topics")


def test_schemas_export_writes_every_document(tmp_path: Path) -> None:
    answer = sinsok("schemas", "export", "--to", str(tmp_path / "new"))
    assert answer.code == 0
    written = {path.relative_to(tmp_path / "new").as_posix(): path for path in (tmp_path / "new").rglob("*.json")}
    assert written.keys() == documents().keys()
    assert answer.out.splitlines() == [str(tmp_path / "new" / name) for name in documents()]
    assert {name: path.read_text(encoding="utf-8") for name, path in written.items()} == documents()


def test_schemas_export_to_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = sinsok("schemas", "export", "--to", str(tmp_path / "file" / "below"))
    assert answer.code == 1
    assert answer.err.startswith(f"error: {tmp_path}/file/below/json")
