"""Who looked at what: a person's sight of a patient's study is an event too."""

from enum import StrEnum
from typing import ClassVar

from schemas.base import StudyEvent
from schemas.paging import Name


class Role(StrEnum):
    """What a person is at a site, as far as the console cares."""

    RADIOLOGIST = "radiologist"
    """Sees studies, and takes, hands on and dismisses alerts."""
    OPERATOR = "operator"
    """Sees how the parts are, and no study."""
    AUDITOR = "auditor"
    """Sees studies and their timelines, and does nothing to them."""
    ADMIN = "admin"
    """Sees all that operators and auditors see."""


class Sight(StrEnum):
    """What of a study was looked at."""

    PAGE = "page"
    """Findings, timeline; with the patient, where the site shows one."""
    PICTURES = "pictures"


class StudyViewed(StudyEvent):
    """A person has looked at a study."""

    TYPE: ClassVar[str] = "sinsok.StudyViewed.v1"

    by: Name
    role: Role
    what: Sight

    def identity(self) -> tuple[object, ...]:
        """Every look is one of its own."""
        return (self.key, self.by, self.what, self.time.isoformat())
