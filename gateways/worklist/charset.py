"""Messages in the character set of a site (HL7 v2.5.1, MSH-18, table 0211)."""

from typing import Final, Literal

Charset = Literal["utf-8", "euc-kr", "cp949"]

NAMES: Final[dict[Charset, str]] = {"utf-8": "UNICODE UTF-8", "euc-kr": "KS X 1001", "cp949": "KS X 1001"}
"""What stands in MSH-18."""

_MISSING: Final = "□"


def encode(text: str, charset: Charset) -> bytes:
    """The bytes of a message. A character that the set does not have becomes a white square, which it has."""
    if charset == "utf-8":
        return text.encode("utf-8", errors="replace")
    return b"".join(_character(one, charset) for one in text)


def _character(character: str, charset: Charset) -> bytes:
    try:
        encoded = character.encode(charset)
    except UnicodeEncodeError:
        return _MISSING.encode(charset)
    # Python spells a syllable that KS X 1001 lacks as eight bytes of letters, which receivers show as four characters.
    return encoded if len(encoded) <= 2 else _MISSING.encode(charset)
