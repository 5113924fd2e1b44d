"""English and Korean: nothing is left in one language, and nothing of the catalogue says anything else."""

import re
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import gateways.console
from gateways.console.alert import AlertState
from gateways.console.imagery import _WORDS
from gateways.console.terms import TERMS
from gateways.console.told import told
from gateways.console.words import _FOLDER, Words, language_of
from schemas.alarms import AlarmKind
from schemas.audit import Role
from schemas.events import Outcome, Priority, Side
from schemas.paging import PageReason
from schemas.topics import ALARMS, AUDIT_ACTS, STEPS
from tests.unit.gateways.console.house import START, at
from tests.unit.schemas.examples import EXAMPLES

ROOT = Path(gateways.console.__file__).parent
# English words that a Korean sentence may keep: names of things, and units.
KEPT = re.compile(r"%\(\w+\)\d*[sd]|AI|PACS|Kafka|AE|HU|mm|ml")


def sentences() -> set[str]:
    found = extract_from_dir(
        str(ROOT),
        method_map=[("**.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")],
        keywords={"mark": None, "gettext": None},
    )
    return {str(message) for _, _, message, _, _ in found}


def korean() -> dict[str, str]:
    with (_FOLDER / "ko" / "LC_MESSAGES" / "console.po").open("rb") as file:
        return {str(message.id): str(message.string) for message in read_po(file, locale="ko") if message.id}


def test_every_sentence_has_a_korean_one_and_no_other_is_kept() -> None:
    assert sentences() == korean().keys()


def test_korean_sentences_name_the_same_values_and_are_korean() -> None:
    for english, text in korean().items():
        assert sorted(re.findall(r"%\(\w+\)\d*[sd]", english)) == sorted(re.findall(r"%\(\w+\)\d*[sd]", text)), english
        assert not re.search(r"[A-Za-z]", KEPT.sub("", text)), text


def test_what_enumerations_say_is_in_the_catalogue() -> None:
    said = {*AlertState, *Priority, *PageReason, *Side, *Role, *(outcome.replace("_", " ") for outcome in Outcome)}
    said |= {kind.replace("_", " ") for kind in AlarmKind}
    assert {str(word) for word in said} <= set(TERMS)


ELSEWHERE = {event.TYPE for topic in (AUDIT_ACTS, STEPS, ALARMS) for event in topic.carries}
"""A study's page does not tell them."""


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ELSEWHERE])
def test_every_event_can_be_told(name: str, language: str) -> None:
    words = Words(language, ZoneInfo("Asia/Seoul"), lambda: START)  # type: ignore[arg-type]
    text = words.told(told(EXAMPLES[name]))
    assert text
    assert "%(" not in text
    assert "Term" not in text


def test_the_viewer_is_given_a_word_for_each_of_its_own() -> None:
    script = (ROOT / "static" / "viewer.js").read_text(encoding="utf-8")
    block = re.search(r"const WORDS = \{\n(.*?)\n\};", script, re.DOTALL)
    assert block is not None
    assert dict(re.findall(r'(\w+): "(.*)",', block[1])) == _WORDS


def test_durations_and_times() -> None:
    words, korean = (Words(language, ZoneInfo("Asia/Seoul"), lambda: at(0)) for language in ("en", "ko"))
    spans = [2.5, 40, 99, 12 * 60, 3 * 3600 + 300, 5 * 86400]
    assert [words.span(seconds) for seconds in spans] == ["2.5 s", "40 s", "99 s", "12 min", "3 h 05 min", "5 d"]
    assert korean.span(3 * 3600 + 300) == "3시간 05분"
    assert words.at(START) == "2026-03-01 12:00:00"
    assert words.ago(START - timedelta(minutes=40)) == "40 min"
    assert words.ago(START + timedelta(seconds=3)) == "0.0 s", "clocks differ"


@pytest.mark.parametrize(
    ("said", "language"),
    [((None, "ko", "en"), "ko"), (("en", "ko"), "en"), ((None, None, "fr,ko;q=0.5"), "ko"), (("xx", None, "de"), "en")],
)
def test_the_first_language_that_is_known_counts(said: tuple[str | None, ...], language: str) -> None:
    assert language_of(*said) == language
