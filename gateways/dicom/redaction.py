"""Takes a patient out of free text: technologists type names and numbers into descriptions."""

import re
from collections.abc import Iterable
from typing import Final

REMOVED: Final = "[removed]"
_SEPARATORS: Final = re.compile(r"[\s^=,;:/\\()\[\]._-]+")
_HAS_LETTERS: Final = re.compile(r"[^\W_]")


def redact(text: str, identifiers: Iterable[str], birth_dates: Iterable[str] = ()) -> str:
    """The text without any word of the identifiers (patient names, ids, accession numbers) and without birth dates.

    Words are compared as a person would: whole or all run together, whatever their case. A word in a script that
    writes without spaces is taken out wherever it stands. ``birth_dates`` are DICOM dates (YYYYMMDD) and found in any
    common order.
    """
    for pattern in _patterns(identifiers, birth_dates):
        text = pattern.sub(REMOVED, text)
    return text


def _patterns(identifiers: Iterable[str], birth_dates: Iterable[str]) -> list[re.Pattern[str]]:
    words = {whole.strip() for whole in identifiers} | {
        word for whole in identifiers for word in _SEPARATORS.split(whole)
    }
    for representation in (part for whole in identifiers for part in whole.split("=")):
        parts = [word for word in _SEPARATORS.split(representation) if word]
        words |= {"".join(parts), "".join(reversed(parts))}  # typed without a space, in either order
    # Longest first: a whole name goes before the words in it.
    found = [_word(word) for word in sorted(filter(_HAS_LETTERS.search, words), key=lambda word: (-len(word), word))]
    for date in birth_dates:
        digits = re.sub(r"\D", "", date)
        if len(digits) == 8:
            year, month, day = digits[:4], digits[4:6], digits[6:]
            orders = ((year, month, day), (day, month, year), (month, day, year))
            found.append(re.compile("|".join(rf"(?<!\d){a}\D?{b}\D?{c}(?!\d)" for a, b, c in orders)))
    return found


def _word(word: str) -> re.Pattern[str]:
    if not word.isascii():
        return re.compile(re.escape(word), re.IGNORECASE)
    return re.compile(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", re.IGNORECASE)
