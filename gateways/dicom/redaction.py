"""Takes a patient out of free text: technologists type names and numbers into descriptions."""

import re
from collections.abc import Iterable
from itertools import permutations
from typing import Final

REMOVED: Final = "[removed]"
_HOLE: Final = "\0"  # until the end: the word "removed" may have a name in it
_SEPARATORS: Final = re.compile(r"[\s^=,;:/\\()\[\]._-]+")
_HAS_LETTERS: Final = re.compile(r"[^\W_]")
_DIGITS: Final = re.compile(r"\d+")
_LONG_NAME: Final = 4
_LONG_NUMBER: Final = 5
_MOST_PARTS: Final = 4  # of a name that are tried run together in every order


def redact(text: str, identifiers: Iterable[str], birth_dates: Iterable[str] = ()) -> str:
    """The text without any word of the identifiers (patient names, ids, accession numbers) and without birth dates.

    Words are compared as a person would: whole or run together in any order, whatever their case. A long one is taken
    out wherever it stands, also inside another word: a name of four letters or more, a number of five digits or more
    (without the letters and leading zeros around it, too), and a word in a script that writes without spaces. A short
    one must stand alone: half of all words have a DO or an AN in them. ``birth_dates`` are DICOM dates (YYYYMMDD) and
    found in any common order.
    """
    for pattern in _patterns(identifiers, birth_dates):
        text = pattern.sub(_HOLE, text)
    return text.replace(_HOLE, REMOVED)


def _patterns(identifiers: Iterable[str], birth_dates: Iterable[str]) -> list[re.Pattern[str]]:
    words = {whole.strip() for whole in identifiers} | {
        word for whole in identifiers for word in _SEPARATORS.split(whole)
    }
    for representation in (part for whole in identifiers for part in whole.split("=")):
        parts = [word for word in _SEPARATORS.split(representation) if word]
        words |= {"".join(parts), "".join(reversed(parts))}  # typed without a space, in either order
        some = parts[:_MOST_PARTS]
        words |= {"".join(order) for count in range(2, len(some) + 1) for order in permutations(some, count)}
    runs = {run for word in words for run in _DIGITS.findall(word)}
    words |= {run for run in runs | {run.lstrip("0") for run in runs} if len(run) >= _LONG_NUMBER}
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
    if not word.isascii() or len(word) >= (_LONG_NAME if word.isalpha() else _LONG_NUMBER):
        return re.compile(re.escape(word), re.IGNORECASE)
    return re.compile(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", re.IGNORECASE)
