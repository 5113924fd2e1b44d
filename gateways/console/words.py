"""English and Korean: catalogues (gettext, read from their .po at the start), times and durations."""

import io
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from babel.dates import format_datetime, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from gateways.console.reasons import sentence_of
from gateways.console.settings import Language
from gateways.console.terms import Term, mark
from gateways.console.told import Told

LANGUAGES: Final[dict[Language, str]] = {"en": "English", "ko": "한국어"}
_FOLDER: Final = Path(__file__).parent / "locale"
_FINDINGS: Final = {
    "SCT:1386000": mark("Intracranial haemorrhage"),
    "SCT:274100004": mark("Intraparenchymal haemorrhage"),
    "99SINSOK:EAH": mark("Extra-axial haemorrhage"),
    "99SINSOK:IVH": mark("Intraventricular haemorrhage"),
    "99SINSOK:EDEMA": mark("Perilesional oedema"),
}
"""Findings that have a Korean name here; others are called as their model calls them."""


_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
CAUTIONS: Final = (
    mark("%(a)s images of another plane, size or kind were left out"),
    mark("%(a)s images stand where another one stands: the first acquisition was used"),
    mark("the images say that their numbers are not Hounsfield units"),
    mark("slices are shifted sideways by up to %(a)s mm against each other"),
    mark("%(a)s of %(b)s slices are missing: nothing was measured there"),
    mark("slice spacing is uneven, up to %(a)s mm off its place"),
    mark("slices %(a)s to %(b)s mm apart: thick ones stand on several planes"),
    mark("%(a)s smaller findings, %(b)s ml together, are not listed"),
    mark("the model locates nothing: place and key slice are those of the whole series"),
    mark("the brain reads %(a)s HU at its median, usual is %(b)s to %(c)s"),
    mark("the brain is cut off at the top: some %(a)s mm or more of it were not scanned"),
    mark("the brain is cut off at the bottom: only %(a)s mm of it were scanned"),
    mark("the posterior fossa may be cut off: the scan reaches %(a)s mm below the closed skull"),
    mark("the head is cut off at the edge of the field of view"),
    mark("metal: its streaks may hide blood or look like it (%(a)s ml of the brain are dark with them)"),
    mark("streaks or noise: %(a)s ml inside the skull are darker than any brain"),
    mark("contrast: vessels may look like blood (%(a)s ml inside the brain read %(b)s to %(c)s HU)"),
)
"""What gateways/imaging cautions of, with its numbers in their order; a test holds this against it."""


@lru_cache
def catalogue(language: Language) -> NullTranslations:
    """The sentences of a language. English is what stands in the pages."""
    if language == "en":
        return NullTranslations()
    compiled = io.BytesIO()
    with (_FOLDER / language / "LC_MESSAGES" / "console.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled, domain="messages")


class Words:
    """How a page speaks: in one language, with the times of one zone."""

    def __init__(self, language: Language, zone: ZoneInfo, now: Callable[[], datetime]) -> None:
        self.language = language
        self._zone = zone
        self._now = now
        self._catalogue = catalogue(language)

    def gettext(self, text: str) -> str:
        """A sentence or a word of the catalogue."""
        return str(self._catalogue.gettext(text))

    def told(self, told: Told) -> str:
        """What an event says."""
        return self.gettext(told.sentence) % {name: self._value(name, value) for name, value in told.values.items()}

    def reason(self, text: str) -> str:
        """What another part gave as a reason, where it is a sentence of ours; else as it came."""
        found = sentence_of(text) if self.language != "en" else None
        return self.told(found) if found else text

    def finding(self, code: str, meaning: str) -> str:
        """The name of a kind of finding."""
        return self.gettext(_FINDINGS[code]) if self.language != "en" and code in _FINDINGS else meaning

    def caution(self, text: str) -> str:
        """What is to know of images before trusting them; as it was written where the catalogue does not have it."""
        numbers = dict(zip("abcdef", _NUMBER.findall(text), strict=False))
        names = iter(numbers)
        sentence = _NUMBER.sub(lambda _: f"%({next(names)})s", text.replace("%", "%%"), count=len(numbers))
        return self.gettext(sentence) % numbers

    def at(self, moment: datetime) -> str:
        """Date and time, to the second."""
        return format_datetime(moment, "yyyy-MM-dd HH:mm:ss", tzinfo=self._zone, locale=self.language)

    def clock(self, moment: datetime) -> str:
        """The time of day, to the second."""
        return format_time(moment, "HH:mm:ss", tzinfo=self._zone, locale=self.language)

    def day(self, moment: datetime) -> str:
        """The date."""
        return format_datetime(moment, "yyyy-MM-dd", tzinfo=self._zone, locale=self.language)

    def ago(self, moment: datetime) -> str:
        """How long ago: ``40 s``, ``12 min``, ``3 h 05 min``, ``4 d``."""
        return self.span(max(0.0, (self._now() - moment).total_seconds()))

    def span(self, seconds: float) -> str:
        """A duration, in the two units that matter."""
        if seconds < 100:
            return self.gettext("%(count)s s") % {"count": f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"}
        minutes = int(seconds // 60)
        if minutes < 60:
            return self.gettext("%(count)s min") % {"count": minutes}
        hours, minutes = divmod(minutes, 60)
        if hours < 48:
            return self.gettext("%(hours)s h %(minutes)02d min") % {"hours": hours, "minutes": minutes}
        return self.gettext("%(count)s d") % {"count": hours // 24}

    def _value(self, name: str, value: object) -> object:
        if isinstance(value, Term):
            return self.gettext(value)
        if name == "reason":
            return self.reason(str(value))
        return self.at(value) if isinstance(value, datetime) else value


def language_of(*wanted: str | None) -> Language:
    """The first language that is one of ours, of what a person chose, their account and their browser say."""
    for said in wanted:
        for part in (said or "").lower().split(","):
            for language in LANGUAGES:
                if part.strip().startswith(language):
                    return language
    return "en"
