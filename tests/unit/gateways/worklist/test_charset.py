"""The character sets of MSH-18."""

import pytest

from gateways.worklist.charset import NAMES, encode
from tests.unit.gateways.worklist.examples import OUTSIDE_KS_X_1001


def test_korean_is_intact_in_each():
    for charset in NAMES:
        assert encode("팬텀^가나 PHANTOM", charset).decode(charset) == "팬텀^가나 PHANTOM"


def test_what_ks_x_1001_lacks_becomes_a_square():
    assert encode(f"가{OUTSIDE_KS_X_1001}나 é 😀", "euc-kr").decode("euc-kr") == "가□나 □ □"


def test_cp949_has_every_syllable():
    assert encode(f"{OUTSIDE_KS_X_1001} 😀", "cp949").decode("cp949") == f"{OUTSIDE_KS_X_1001} □"


@pytest.mark.parametrize("charset", ["euc-kr", "cp949"])
def test_no_byte_of_a_character_is_a_separator_or_an_end(charset):
    syllables = "".join(map(chr, range(0xAC00, 0xD7A4)))
    assert not set(encode(syllables, charset)) & set(b"|^~\\&\r\x0b\x1c")


def test_half_a_character_does_not_stop_a_message():
    assert encode("\ud800", "utf-8") == b"?"
