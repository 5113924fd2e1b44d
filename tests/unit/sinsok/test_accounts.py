"""``sinsok accounts``: people who sign in to the console."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from sinsok.commands.accounts import accounts_of, command
from sinsok.commands.demo import _invite
from sinsok.errors import UserError
from sinsok.settings import load


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SINSOK_HOME", str(tmp_path))
    return tmp_path


def test_a_password_comes_from_standard_input_and_nothing_shows_it(home: Path) -> None:
    words = ["add", "dr.kim", "--role", "radiologist", "--role", "operator", "--site", "suwon"]
    added = CliRunner().invoke(command, words, input="correct horse battery\n", catch_exceptions=False)
    assert (added.exit_code, added.output) == (0, "dr.kim may sign in\n")
    assert "correct horse" not in (home / "console" / "accounts.json").read_text()
    listed = CliRunner().invoke(command, ["list"], catch_exceptions=False)
    assert listed.output == "dr.kim              radiologist, operator at suwon\n"
    CliRunner().invoke(command, ["remove", "dr.kim"], catch_exceptions=False)
    assert CliRunner().invoke(command, ["list"]).output == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "dr.kim", "--role", "auditor", "--site", "seoul"], "there is no site seoul"),
        (["remove", "dr.kim"], "there is no account dr.kim"),
    ],
)
def test_what_cannot_be_done_is_said(home: Path, words: list[str], said: str) -> None:
    refused = CliRunner().invoke(command, words, input="correct horse battery\n")
    assert isinstance(refused.exception, UserError)
    assert said in str(refused.exception)


def test_the_demo_invites_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        _invite(load())
    (line,) = capsys.readouterr().out.splitlines()
    password = line.split("password ")[1].split()[0]
    user = accounts_of(load()).check("demo", password)
    assert user is not None
    assert set(user.rights) == set(load().sites)


@pytest.mark.parametrize(
    ("name", "value"),
    [("SINSOK_CONSOLE__HOST", "0.0.0.0"), ("SINSOK_CONSOLE__BASE_URL", "https://sinsok.example")],
    ids=["on every address", "behind a proxy"],
)
def test_the_demo_invites_nobody_to_a_console_that_others_reach(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    _invite(load())
    assert accounts_of(load()).all() == {}
