"""Bytes for people: as far as they can be read, and with nothing in them that steers what shows them."""

import pytest

from gateways.kafka import Record
from gateways.letters.contents import Kind, contents, plain
from tests.letters import letter
from tests.unit.schemas.examples import EXAMPLES


def of(value: bytes | None) -> Record:
    return Record("dead.letters", 0, 0, 0, None, [], value)


def test_an_event_says_its_fields() -> None:
    found = contents(letter(EXAMPLES["sinsok.StudyTriaged.v1"]))
    assert (found.kind, found.name, found.cut) == (Kind.EVENT, "StudyTriaged", False)
    assert '  "site": "suwon",' in found.lines


@pytest.mark.parametrize(
    ("value", "kind", "lines"),
    [
        (b'{"a":[1,"\xed\x95\x9c"]}', Kind.JSON, ("{", '  "a": [', "    1,", '    "한"', "  ]", "}")),
        (b"plain\r\nwords", Kind.TEXT, ("plain", "words")),
        (b"\x00A\xff", Kind.BYTES, ("00000000  00 41 ff" + " " * 39 + "  .A.",)),
        (b"", Kind.NOTHING, ()),
        (None, Kind.NOTHING, ()),
        (b'"' + b"\\ud800" + b'"', Kind.JSON, ('"\\ud800"',)),
    ],
)
def test_what_is_no_event_is_read_as_far_as_it_can_be(value: bytes | None, kind: Kind, lines: tuple[str, ...]) -> None:
    found = contents(of(value))
    assert (found.kind, found.name, found.lines) == (kind, "", lines)


@pytest.mark.parametrize("value", [b"[" * 100_000, b"1" * 5000, b'{"a":'])
def test_json_that_cannot_be_read_is_text(value: bytes) -> None:
    assert contents(of(value)).kind is Kind.TEXT


def test_what_is_long_is_cut() -> None:
    assert len(contents(of(b"\xff" * 10_000)).lines) == 256
    for value in (b"\xff" * 10_000, b"x" * 200_000):
        assert contents(of(value)).cut


def test_nothing_steers_a_terminal_or_a_page() -> None:
    hostile = "a\x1b[2J\x07\u202eb\u2028c"
    found = contents(of(hostile.encode()))
    assert found.lines == ("a\\x1b[2J\\x07\\u202eb", "c")
    assert plain(hostile.encode() + b"\xff\n") == "a\\x1b[2J\\x07\\u202eb\\u2028c\\xff\\n"
    assert plain(None) == ""
    for line in found.lines:
        line.encode()
