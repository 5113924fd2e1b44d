"""What the documents name exists: rules, alarms, commands, files and headings."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest
import yaml

from schemas.alarms import AlarmKind
from sinsok.cli import cli

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENTS: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES: Final = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
ABOUT_COMMANDS: Final = [name for name in NAMES if not name.startswith("docs/decisions/")]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rules() -> dict[str, str]:
    document = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    return {rule["alert"]: rule["labels"]["severity"] for group in document["groups"] for rule in group["rules"]}


def section(name: str, heading: str) -> str:
    found = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", text_of(name), re.MULTILINE | re.DOTALL)
    assert found is not None, (name, heading)
    return found[1]


def anchors(path: Path) -> set[str]:
    """Of the headings of a document, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_table_of_alerts_has_every_rule_in_its_order() -> None:
    rows = re.findall(r"^\| (\w+) \| (page|ticket) \|", section("docs/operations.md", "What Prometheus says"), re.M)

    assert rows == list(rules().items())


@pytest.mark.parametrize("name", NAMES)
def test_rules_that_are_named_have_the_severity_that_is_said(name: str) -> None:
    for alert, severity in re.findall(r"\b([A-Z]\w+), (page|ticket)\b", text_of(name)):
        assert rules()[alert] == severity, alert


def test_every_kind_of_alarm_is_described() -> None:
    rows = re.findall(r"^\| `(\w+)` \(", section("docs/watching.md", "The alarms"), re.M)

    assert sorted(rows) == sorted(AlarmKind)


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(name)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = (ROOT / name).parent / path if path else ROOT / name
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


@pytest.mark.parametrize("name", ABOUT_COMMANDS)
def test_commands_that_are_named_exist(name: str) -> None:
    for words in commands(text_of(name)):
        command: click.Command = cli
        with click.Context(cli) as context:
            while isinstance(command, click.Group) and words and re.fullmatch("[a-z][a-z-]*", words[0]):
                found = command.get_command(context, words[0])
                assert found is not None, words
                command, words = found, words[1:]
        known = {opt for param in command.params for opt in param.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, (command.name, words)


def commands(text: str) -> Iterator[list[str]]:
    """What stands behind `sinsok` in code, up to what ends a command."""
    fence = re.compile(r"^ *```[a-z]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    lines = [line for block in fence.findall(text) for line in block.splitlines()]
    lines += [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", fence.sub("", text))]
    for line in lines:
        for said in re.findall(r"(?:^|[ $/])sinsok ([a-z][^#&;<>]*)", line):
            yield re.sub(r"[\[\]()]", " ", said.partition(" | ")[0]).split()
