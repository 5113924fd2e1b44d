"""A study as it stands, and how urgent it is that a person looks."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from gateways.console.alert import Alert, AlertState
from gateways.console.letters import Kind, Tally
from gateways.console.terms import mark
from gateways.console.told import Told, told
from schemas.base import Event, ObjectRef
from schemas.deliveries import DeliveryEvent
from schemas.events import (
    NOT_YET,
    AlertEvent,
    Finding,
    Outcome,
    Priority,
    Reading,
    Series,
    SeriesReceived,
    StudyAssembled,
    StudyTriaged,
)
from schemas.identity import study_key
from schemas.paging import AlertAcknowledged, AlertDismissed, AlertHandedOn, AlertSeen

_ACTS = AlertSeen | AlertAcknowledged | AlertDismissed | AlertHandedOn
_SHORT = 16
"""Hex digits of a digest that stand in an address: enough to tell one content of a study from another."""


class Level(IntEnum):
    """Sorts the worklist. Up to WAITING something is to be done or waited for."""

    STAT = 0
    URGENT = 1
    UNREAD = 2
    """No AI looked, and one should have."""
    FINDING = 3
    """Findings that raised no alert."""
    WAITING = 4
    TAKEN = 5
    DONE = 6


class Entry(NamedTuple):
    """A line of the timeline."""

    at: datetime
    kind: str
    told: Told


class Shown(NamedTuple):
    """A series that pictures can be shown of: as it was read where findings are shown of it, else as it stands."""

    series_uid: str
    manifest: ObjectRef
    label_map: ObjectRef | None
    received: Series | None
    findings: dict[int, Finding]
    """Those of the study that lie in it, by their number there."""

    @property
    def images(self) -> str:
        """Stands for its images in addresses: others have another."""
        return _short(self.manifest)

    @property
    def marks(self) -> str:
        """The same for what a model marked on them."""
        return _short(self.label_map) if self.label_map else "none"


class Clocks(NamedTuple):
    """What time makes of a study."""

    late_after: timedelta
    todo_for: timedelta


@dataclass
class Study:
    """All that is known of one study."""

    site: str
    key: str
    study_uid: str
    first_at: datetime
    last_at: datetime
    series: dict[str, Series] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    senders: set[str] = field(default_factory=set)
    assembled: StudyAssembled | None = None
    result: StudyTriaged | None = None
    readings: dict[str, tuple["_Weight", Reading, ObjectRef | None]] = field(default_factory=dict)
    """Of each series the newest, with the images that it is of."""
    alerts: dict[UUID, Alert] = field(default_factory=dict)
    deliveries: dict[str, tuple[datetime, Told]] = field(default_factory=dict)
    letters: dict[Kind, Tally] = field(default_factory=dict)
    timeline: dict[UUID, Entry] = field(default_factory=dict)

    def snapshot(self) -> "Study":
        """A copy that stays as it is."""
        return replace(
            self,
            series=dict(self.series),
            senders=set(self.senders),
            readings=dict(self.readings),
            alerts={alert_id: alert.snapshot() for alert_id, alert in self.alerts.items()},
            deliveries=dict(self.deliveries),
            letters=dict(self.letters),
            timeline=dict(self.timeline),
        )

    def take(self, event: Event, at: datetime) -> bool:
        """Take in an event that stood on its topic at a moment; False where it is known already."""
        if event.event_id in self.timeline:
            return False
        if isinstance(event, _ACTS):
            # It was done when it was done, however long it took to the topic.
            at = event.time
        line = told(event)
        self.timeline[event.event_id] = Entry(at, type(event).__name__, line)
        self.first_at, self.last_at = min(self.first_at, at), max(self.last_at, at)
        match event:
            case SeriesReceived():
                self._received(event)
            case StudyAssembled() if self.assembled is None or event.revision >= self.assembled.revision:
                # Its series are known from elsewhere, and its evidence is not shown: neither is kept.
                self.assembled = event.model_copy(update={"series": (), "evidence": ()})
            case StudyTriaged():
                self._triaged(event)
            case AlertEvent():
                self.alerts.setdefault(event.alert_id, Alert(event.alert_id)).take(event)
            case DeliveryEvent():
                known = self.deliveries.get(event.destination)
                if known is None or at >= known[0]:
                    self.deliveries[event.destination] = at, line
            case _:
                pass
        return True

    def _received(self, event: SeriesReceived) -> None:
        uid = event.series.series_uid
        self.senders.add(event.sending_ae)
        if event.batch >= self.batches.get(uid, 0):
            self.batches[uid] = event.batch
            self.series[uid] = event.series

    def _triaged(self, event: StudyTriaged) -> None:
        weight = _weight(event)
        if self.result is None or weight > _weight(self.result):
            self.result = event
        for one in event.series:
            known = self.readings.get(one.series_uid)
            if one.reading and not one.reading.refused and (known is None or weight > known[0]):
                self.readings[one.series_uid] = weight, one.reading, one.manifest

    @property
    def known(self) -> bool:
        """Whether it is a study here: its images, a result or an alert were told of, not only what became of them."""
        told_of = self.series or self.assembled or self.result
        return bool(told_of) or any(alert.raised_at is not None for alert in self.alerts.values())

    @property
    def entries(self) -> list[Entry]:
        """The timeline in order; dead letters of a kind are one line, where the first of them was."""
        letters = [Entry(tally.first, "DeadLetter", _dead(kind, tally)) for kind, tally in self.letters.items()]
        return sorted([*self.timeline.values(), *letters], key=lambda entry: entry.at)

    @property
    def alert(self) -> Alert | None:
        """The alert that counts: one that is still open, the most urgent of them; else the newest."""
        known = [alert for alert in self.alerts.values() if alert.raised_at is not None]
        if still := [alert for alert in known if not alert.ended]:
            return min(still, key=lambda alert: alert.priority.rank)
        return max(known, key=lambda alert: (alert.raised_at, str(alert.alert_id)), default=None)

    @property
    def last_image_at(self) -> datetime:
        """When its newest image came, as far as is known."""
        newest = [series.last_image_at for series in self.series.values()]
        if self.result is not None:
            newest.append(self.result.last_image_at)
        return max(newest, default=self.first_at)

    @property
    def title(self) -> str:
        """What kind of study it is, in the words of its largest series; empty where it says nothing."""
        largest = max(self.series.values(), key=lambda one: one.instances, default=None)
        if largest is None:
            return ""
        return " · ".join(dict.fromkeys(filter(None, (largest.modality, largest.body_part, largest.study_description))))

    @property
    def revision(self) -> int:
        """The newest that is known of."""
        return max(self.assembled.revision if self.assembled else 0, self.result.revision if self.result else 0)

    @property
    def awaited(self) -> bool:
        """Whether the newest revision has no result yet."""
        read = self.result.revision if self.result else self._alarm.revision if self._alarm else 0
        return not read or (self.assembled is not None and self.assembled.revision > read)

    @property
    def outdated(self) -> bool:
        """Whether the findings are of an earlier revision, and no AI has looked at the newest."""
        return (self.awaited or self.failed) and bool(self.findings) and self.revision > self.findings_revision

    @property
    def failed(self) -> bool:
        """Whether the newest result says that no AI has looked."""
        return self.result is not None and self.result.outcome is Outcome.FAILED

    @property
    def not_yet(self) -> bool:
        """Whether the AI has not failed but is still to come."""
        return self.awaited or self.result is None or self.result.reason.startswith(NOT_YET)

    @property
    def _alarm(self) -> Alert | None:
        """The alert that is open."""
        alert = self.alert
        return alert if alert is not None and not alert.ended else None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of the result that counts, else of the alert that is open: the largest first."""
        found = self.result.findings if self.result else ()
        if not found and self._alarm:
            found = self._alarm.findings
        return tuple(sorted(found, key=lambda one: -one.volume_ml))

    @property
    def findings_revision(self) -> int:
        """In which the findings were seen."""
        if self.result and self.result.findings:
            return self.result.revision
        return self._alarm.revision if self._alarm else 0

    @property
    def pictures(self) -> list[Shown]:
        """The series that pictures can be shown of, in the order they came."""
        decided = {one.series_uid: one.manifest for one in self.result.series} if self.result else {}
        findings = self.findings
        shown = []
        for uid in dict.fromkeys([*self.series, *decided, *self.readings]):
            received = self.series.get(uid)
            here = {number: one for number, one in enumerate(findings) if one.series_uid == uid}
            newest = received.manifest if received else decided.get(uid)
            _, reading, manifest = self.readings.get(uid, (None, None, None))
            if reading and manifest is None and newest and newest.digest == reading.content:
                manifest = newest
            # Findings are of the images that were read: never on others.
            if reading and manifest and (here or newest is None or newest.digest == manifest.digest):
                shown.append(Shown(uid, manifest, reading.label_map, received, here))
            elif newest:
                shown.append(Shown(uid, newest, None, received, here))
        return shown

    def picture(self, series: str | None = None, finding: int | None = None) -> Shown | None:
        """The series to open with: that of a finding or one that was asked for, else what matters most.

        That is where the largest finding lies, else what was read, else the most images that form a stack.
        """
        pictures = self.pictures
        asked = [one for one in pictures if finding in one.findings] if finding is not None else []
        asked = asked or [one for one in pictures if self.series_key(one) == series]
        return max(asked or pictures, key=self._matters, default=None)

    def _matters(self, one: Shown) -> tuple[bool, int, bool, bool, int]:
        geometry = one.received.geometry if one.received else None
        images = one.received.instances if one.received else 0
        stacked = geometry is not None and geometry.slices > 1
        return bool(one.findings), -min(one.findings, default=0), one.series_uid in self.readings, stacked, images

    def series_key(self, one: Shown) -> str:
        """Names a series in addresses, whatever its images are."""
        return study_key(self.site, one.series_uid)[:_SHORT]

    @property
    def content(self) -> str:
        """Changes with any of its pictures, and with what is marked on them."""
        return " ".join(f"{one.images}-{one.marks}" for one in self.pictures)

    def unread(self, now: datetime, clocks: Clocks) -> bool:
        """Whether no AI has looked at the newest images although one should have: it failed, was away, or is late."""
        return self.failed or (self.awaited and now - self.last_image_at > clocks.late_after)

    def level(self, now: datetime, clocks: Clocks) -> Level:
        """How urgent it is."""
        alert = self.alert
        old = now - self.last_image_at > clocks.todo_for
        if alert is not None and not alert.ended:
            if alert.state is AlertState.ACKNOWLEDGED:
                return Level.DONE if old else Level.TAKEN
            return Level.STAT if alert.priority is Priority.STAT else Level.URGENT
        if old:
            return Level.DONE
        if self.unread(now, clocks):
            return Level.UNREAD
        if self.result is not None and self.result.outcome is Outcome.FINDINGS and alert is None:
            return Level.FINDING
        return Level.WAITING if self.awaited else Level.DONE

    @property
    def since(self) -> datetime:
        """From when its waiting time counts."""
        alert = self.alert
        return alert.raised_at if alert and alert.raised_at and not alert.ended else self.last_image_at


_Weight = tuple[int, bool, datetime]


def _weight(result: StudyTriaged) -> _Weight:
    """A later revision counts over an earlier one, within one the confirmed result, and of two such the later."""
    return result.revision, not result.unconfirmed, result.time


def _short(content: ObjectRef) -> str:
    return content.digest.removeprefix("sha256:")[:_SHORT]


def _dead(kind: Kind, tally: Tally) -> Told:
    values = {"hop": kind.hop, "error": kind.error, "count": tally.count, "until": tally.newest}
    if tally.count == 1:
        return Told(mark("could not be handled by %(hop)s: %(error)s"), values)
    return Told(mark("could not be handled by %(hop)s, %(count)s times until %(until)s: %(error)s"), values)
