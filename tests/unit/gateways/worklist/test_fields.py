"""Segments from plain values."""

from datetime import UTC, datetime

import hl7
import pytest

from gateways.worklist.fields import FormattedText, header, message, segment, timestamp


def test_values_nest_by_type_and_empty_ends_are_left_out():
    written = segment("ZZZ", {1: "a", 2: ("b", "", ("c", "d", ""), ""), 4: ["e", ("f", "g")], 5: "", 6: ("", "")})
    assert str(written) == "ZZZ|a|b^^c&d||e~f^g"


@pytest.mark.parametrize("text", ["|", "^", "~", "\\", "&", "\\F\\", "가|나^팬~텀", "a&b\\c", "日本\\"])
def test_what_is_escaped_is_read_back(text):
    parsed = hl7.parse(message([header({3: "X"}), segment("ZZZ", {1: (text, ("x", text))})]))
    assert parsed["ZZZ.F1.R1.C1"] == text
    assert parsed["ZZZ.F1.R1.C2.S2"] == text


def test_line_breaks_are_kept_in_formatted_text_only():
    text = "one\r\ntwo\nthree\u2028four\x0b"
    assert str(segment("ZZZ", {1: text})) == "ZZZ|one two three four "
    assert str(segment("ZZZ", {1: FormattedText(text)})) == "ZZZ|one\\.br\\two\\.br\\three\\.br\\four"


def test_a_header_declares_the_separators():
    assert str(header({3: ("A", "1.2", "ISO"), 9: ("ORU", "R01")})) == "MSH|^~\\&|A^1.2^ISO||||||ORU^R01"


def test_times_carry_their_zone():
    assert timestamp(datetime(2030, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)) == "20300102030405.678+0000"
