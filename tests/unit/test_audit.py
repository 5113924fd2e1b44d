"""The audit of what is locked: a known vulnerability fails it, and what was not checked is never called good."""

import json
import subprocess
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import pytest

from sinsok.stack.part import CHECKOUT

GOOD = {"name": "numpy", "version": "2.4.0", "vulns": []}
BAD = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.0"]}]}
UNASKED = {"name": "scipy", "skip_reason": "not found"}


@pytest.fixture
def audit() -> ModuleType:
    spec = spec_from_file_location("audit", CHECKOUT / "deploy" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def answer(said: str) -> None:
        def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
            return subprocess.CompletedProcess(command, 0, said, "cannot connect")

        monkeypatch.setattr(subprocess, "run", run)

    return answer


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([GOOD], 0, "0 known vulnerabilities"),
        ([GOOD, BAD], 1, "pillow 1.0: PYSEC-1, mended in 2.0"),
        ([GOOD, UNASKED], 0, "not checked: scipy"),
        ([UNASKED], 0, "nothing was checked"),
    ],
)
def test_what_is_known_is_said(
    audit: ModuleType,
    answers: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    packages: list[dict[str, Any]],
    code: int,
    said: str,
) -> None:
    answers(json.dumps({"dependencies": packages}))
    assert audit.main() == code
    assert said in capsys.readouterr().out


def test_no_answer_is_said(
    audit: ModuleType, answers: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    answers("")
    assert audit.main() == 0
    assert "nobody could be asked: cannot connect" in capsys.readouterr().out
