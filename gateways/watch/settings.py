"""What can be set of the watcher: how long may be silent, behind, open or unread what it looks after."""

from datetime import time
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.base import Site

Seconds = Annotated[float, Field(gt=0)]
"""``inf`` where it may take for ever: what it is about is then not watched."""
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""In the order of ``date.weekday``."""
_LONGEST_TITLE: Final = 16
"""Of an AE title (DICOM PS3.5, 6.2)."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quiet(_Section):
    """Hours in which silence is normal. They may go over midnight; a night belongs to the day on which it begins."""

    begin: time
    end: time
    days: tuple[Day, ...] = DAYS

    @field_validator("begin", "end")
    @classmethod
    def _without_zone(cls, at: time) -> time:
        if at.tzinfo is not None:
            raise ValueError("is a local time, without a zone: 07:30")
        return at


class WatchSettings(_Section):
    """The watcher."""

    look_s: Seconds = Field(default=10.0, description="Between two looks")
    site_silent_after_s: Seconds = Field(default=7200.0, description="Without an image from a whole site")
    sites: dict[Site, Seconds] = Field(default={}, description="The same for single sites")
    scanner_silent_after_s: Seconds | None = Field(
        default=None, description="Without an image from any scanner that was ever seen; None: only those named below"
    )
    scanners: dict[str, Seconds] = Field(default={}, description="The same for single scanners: suwon/CT1")
    quiet: tuple[Quiet, ...] = Field(default=(), description="Hours that do not count as silence, in paging.timezone")
    lag_after_s: Seconds = Field(default=600.0, description="Unhandled by a consumer group for longer: it is behind")
    archive_after_s: Seconds = Field(default=6 * 3600.0, description="The same for the archive")
    audit_after_s: Seconds = Field(default=900.0, description="The same for the audit trail")
    no_reader_after_s: Seconds = Field(default=120.0, description="So long may a consumer group have no member")
    study_margin_s: Seconds = Field(default=300.0, description="Beyond completeness.cap_s, to a final revision")
    result_within_s: Seconds = Field(default=600.0, description="From a revision to any result of it")
    ai_within_s: Seconds = Field(default=900.0, description="From a revision to a result in which a model has spoken")
    unread_kept_h: Annotated[float, Field(gt=0)] = Field(
        default=72.0, description="So long does a study stand on the list; by then people have read it without AI"
    )
    clock_skew_s: Seconds = Field(default=2.0, description="Between the clocks of a process and of the watcher")
    certificate_days: Annotated[float, Field(ge=0)] = Field(default=30.0, description="Before the end of a certificate")
    health_host: str | None = Field(
        default=None,
        description="Where the parts' health is; {part} stands for the name. As health.host where not said",
    )

    @field_validator("scanners")
    @classmethod
    def _site_and_title(cls, scanners: dict[str, float]) -> dict[str, float]:
        for name in scanners:
            site, slash, title = name.partition("/")
            if not site or not slash or not title.strip() or len(title) > _LONGEST_TITLE:
                raise ValueError(f"{name!r} is no site and AE title: suwon/CT1")
        return scanners

    def of_site(self, site: str) -> float:
        """How long a site may be silent, in seconds."""
        return self.sites.get(site, self.site_silent_after_s)

    def of_scanner(self, site: str, title: str) -> float | None:
        """How long a scanner may be silent, in seconds; None where it is not watched."""
        return self.scanners.get(f"{site}/{title}", self.scanner_silent_after_s)
