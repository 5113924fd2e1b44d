"""`sinsok replay` asked wrongly: one clear line, and nothing written."""

from pathlib import Path

import pytest

from tests.unit.sinsok.commandline import sinsok


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of its own, where nothing runs."""
    monkeypatch.setenv("SINSOK_HOME", str(tmp_path))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--resume", "nothing"], "there is no run 'nothing': runs are none yet"),
        (["--resume", "../elsewhere"], "there is no run '../elsewhere'"),
        (["--resume", "nothing", "--workers", "2"], "--resume goes on as the run began: without --workers"),
        (["--run", "../elsewhere"], "replay: run: String should match pattern"),
        (["--site", "jeju"], "there is no site 'jeju'"),
        (["--from", "yesterday"], "--from yesterday: give a time"),
        (["--from", "2026-03-02", "--to", "2026-03-01"], "does not lie before the end"),
        (["--model", "quick"], "names no model version"),
        (["--model", "nobody@1"], "no route asks a model nobody"),
        (["--policy", "nowhere.toml"], "there is no such file"),
        (["--speed", "fast"], "times the pace of then"),
        (["--topics", "triage.nothing"], "there is no topic 'triage.nothing'"),
    ],
)
def test_what_is_asked_wrongly(home: Path, arguments: list[str], complaint: str) -> None:
    answer = sinsok("replay", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.err.splitlines()) == 1
    assert complaint in answer.err
    assert list(home.iterdir()) == []


def test_a_policy_that_is_none(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    policy = tmp_path_factory.mktemp("policy") / "tried.toml"
    policy.write_text("[alerts]\npages = []\n", encoding="utf-8")
    answer = sinsok("replay", "--policy", str(policy))
    assert answer.code == 2
    assert f"{policy}: " in answer.err
    assert list(home.iterdir()) == []


def test_a_broker_that_is_away(home: Path) -> None:
    answer = sinsok("replay", "--run", "one")
    assert answer.code == 1
    assert "Kafka" in answer.err
    assert len(answer.err.splitlines()) == 1
