"""Studies on their way: what has arrived and is not assembled, assembled and not answered, or not read by any model."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import Field

from gateways.watch.condition import Condition, Key
from gateways.watch.settings import WatchSettings
from schemas.alarms import AlarmKind
from schemas.base import Digest, Record, Site, StudyEvent, Uid, Utc
from schemas.events import Outcome, SeriesReceived, StudyAssembled, StudyTriaged


class Arrived(Record):
    """A series, by its newest content, and since when content of it waits for a final revision."""

    digest: Digest
    since: Utc


class Study(Record):
    """A study as far as it has come. Its events may be taken again, and those of different topics in any order."""

    site: Site
    study_uid: Uid
    received: dict[Uid, Arrived] = Field(default={})
    carried: dict[Uid, Digest] = Field(default={})
    """What the newest final revision carries."""
    final: int = 0
    """The newest final revision; 0: none yet, as below."""
    assembled: int = 0
    assembled_at: Utc | None = None
    answered: int = 0
    """The newest revision that has a result."""
    read: int = 0
    """The newest revision in whose result a model has spoken, or had nothing to speak of."""
    said: str | None = None
    """Why the AI did not look, as the newest failed result has it."""

    def take(self, event: StudyEvent) -> "Study":
        """The study after an event."""
        match event:
            case SeriesReceived():
                return self._receive(event)
            case StudyAssembled():
                return self._assemble(event)
            case StudyTriaged():
                failed = event.outcome is Outcome.FAILED
                newest = failed and event.revision >= self.answered
                return self.model_copy(
                    update={
                        "answered": max(self.answered, event.revision),
                        "read": self.read if failed else max(self.read, event.revision),
                        "said": event.reason if newest else self.said,
                    }
                )
            case _:
                return self

    def _receive(self, event: SeriesReceived) -> "Study":
        uid, digest = event.series.series_uid, event.series.manifest.digest
        known = self.received.get(uid)
        # What waits already goes on waiting, however often more of it comes.
        waits = known is not None and self.carried.get(uid) != known.digest
        since = known.since if known is not None and (waits or known.digest == digest) else event.time
        return self.model_copy(update={"received": self.received | {uid: Arrived(digest=digest, since=since)}})

    def _assemble(self, event: StudyAssembled) -> "Study":
        update: dict[str, object] = {}
        if event.final and event.revision > self.final:
            carried = {series.series_uid: series.manifest.digest for series in event.series}
            update |= {"final": event.revision, "carried": carried}
        if event.revision > self.assembled:
            update |= {"assembled": event.revision, "assembled_at": event.time}
        return self.model_copy(update=update)

    @property
    def waits_since(self) -> datetime | None:
        """Since when something of it waits for a final revision; None where nothing does."""
        return min(
            (one.since for uid, one in self.received.items() if self.carried.get(uid) != one.digest), default=None
        )

    @property
    def unanswered_since(self) -> datetime | None:
        """Since when its newest revision has no result at all; None where it has one."""
        return self.assembled_at if self.assembled > self.answered else None

    @property
    def unread_since(self) -> datetime | None:
        """Since when its newest revision was looked at by no model; None where one has, or needed not."""
        return self.assembled_at if self.assembled > self.read else None

    @property
    def done(self) -> bool:
        """Whether nothing is to come."""
        return self.waits_since is None and self.unread_since is None


class Late(NamedTuple):
    """A study that has waited for too long."""

    study: Study
    since: datetime
    what: str


def late(study: Study, settings: WatchSettings, cap_s: float, now: datetime) -> Late | None:
    """Whether a study waits for its final revision, or for any result, for too long."""
    since, within_s = study.waits_since, cap_s + settings.study_margin_s
    if since is not None and _over(since, within_s, now):
        return Late(study, since, "received and in no final revision")
    since = study.unanswered_since
    if since is not None and _over(since, settings.result_within_s, now):
        return Late(study, since, f"revision {study.assembled} assembled and without a result")
    return None


def unread(study: Study, settings: WatchSettings, now: datetime) -> Late | None:
    """Whether no model has looked at a study for too long."""
    since = study.unread_since
    if since is None or not _over(since, settings.ai_within_s, now):
        return None
    return Late(study, since, study.said if study.said and study.unanswered_since is None else "no result")


def open_alarms(found: Mapping[str, Iterable[Late]]) -> Iterator[Condition]:
    """One alarm for the late studies of a site."""
    for site, studies in found.items():
        if waiting := sorted(studies, key=lambda one: one.since):
            oldest = waiting[0]
            detail = (
                f"{_count(waiting)} of {site} wait too long; the longest, {oldest.study.study_uid}, {oldest.what} since"
                f" {oldest.since:%Y-%m-%d %H:%M:%S} UTC: `sinsok study UID` shows how far it came, `sinsok status` lag"
            )
            yield Condition(Key(site, AlarmKind.STUDY_OPEN, site), oldest.since, detail)


def unread_alarms(found: Mapping[str, Iterable[Late]]) -> Iterator[Condition]:
    """One alarm for the studies of a site at which no AI has looked."""
    for site, studies in found.items():
        if waiting := sorted(studies, key=lambda one: one.since):
            oldest = waiting[0]
            detail = (
                f"no AI has looked at {_count(waiting)} of {site}; the longest, {oldest.study.study_uid}, since"
                f" {oldest.since:%Y-%m-%d %H:%M:%S} UTC: have them read in turn; `sinsok alarms --ai` lists them"
            )
            yield Condition(Key(site, AlarmKind.AI_NEVER_RAN, site), oldest.since, detail)


def _over(since: datetime, within_s: float, now: datetime) -> bool:
    return (now - since).total_seconds() > within_s


def _count(studies: list[Late]) -> str:
    return f"{len(studies)} {'study' if len(studies) == 1 else 'studies'}"
