"""Silence is an alarm: what is wrong with the installation, as events that begin and end."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from schemas.base import Event, Utc


class AlarmKind(StrEnum):
    """What may be wrong."""

    SITE_SILENT = "site_silent"
    SCANNER_SILENT = "scanner_silent"
    LAG = "lag"
    """A process is behind what is on its topics."""
    STUDY_OPEN = "study_open"
    """A study has waited too long for its end."""
    AI_NEVER_RAN = "ai_never_ran"
    """A study was assembled, and no model has looked at it since."""
    CLOCK_SKEW = "clock_skew"
    CERTIFICATE = "certificate"
    """It is over, or soon will be."""
    ARCHIVE_BEHIND = "archive_behind"
    """Records have waited for the archive for too long."""
    AUDIT_BEHIND = "audit_behind"


class AlarmEvent(Event):
    """An event of an alarm's life."""

    kind: AlarmKind
    subject: str = Field(
        description="What it is about: a site, suwon/CT1, a consumer group, a process, the path of a file"
    )
    since: Utc

    @property
    def key(self) -> str:
        """The site; :data:`schemas.audit.INSTALLATION` where it is about all of them."""
        return self.site


class AlarmRaised(AlarmEvent):
    """Something is wrong, and a person has to look."""

    TYPE: ClassVar[str] = "sinsok.AlarmRaised.v1"

    detail: str = Field(description="One line: what, since when, what to do")

    def identity(self) -> tuple[object, ...]:
        """An alarm is raised once for each time it begins."""
        return (self.site, self.kind, self.subject, self.since.isoformat())


class AlarmCleared(AlarmEvent):
    """It is over."""

    TYPE: ClassVar[str] = "sinsok.AlarmCleared.v1"

    def identity(self) -> tuple[object, ...]:
        """An alarm ends once."""
        return (self.site, self.kind, self.subject, self.since.isoformat())
