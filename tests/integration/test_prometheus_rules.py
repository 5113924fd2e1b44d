"""The rules, as Prometheus itself reads them."""

import subprocess
from pathlib import Path

import pytest

from sinsok.stack.part import CHECKOUT

pytestmark = [pytest.mark.integration, pytest.mark.record]

PROMTOOL = CHECKOUT / ".local" / "prometheus" / "promtool"
FOLDER = CHECKOUT / "deploy" / "prometheus"


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROMTOOL), *map(str, arguments)], cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("what", [("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool_accepts(what: tuple[str, ...]) -> None:
    said = promtool(*what)
    assert said.returncode == 0, said.stdout + said.stderr


def test_a_rule_that_says_something_else_is_noticed(tmp_path: Path) -> None:
    rules = (FOLDER / "rules.yml").read_text(encoding="utf-8")
    changed = rules.replace('sinsok_alarms{kind="site_silent"} > 0', 'sinsok_alarms{kind="site_silent"} > 1')
    assert changed != rules
    (tmp_path / "rules.yml").write_text(changed, encoding="utf-8")
    (tmp_path / "rules_test.yml").write_bytes((FOLDER / "rules_test.yml").read_bytes())
    assert promtool("test", "rules", tmp_path / "rules_test.yml").returncode != 0
