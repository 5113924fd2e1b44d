"""A study as it stands, and how urgent it is that a person looks."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from gateways.console.alert import Alert, AlertState
from gateways.console.told import Told, told
from schemas.base import Event, ObjectRef
from schemas.deliveries import DeliveryEvent
from schemas.events import AlertEvent, Finding, Outcome, Priority, Series, SeriesReceived, StudyAssembled, StudyTriaged

NOT_YET = "AI did not run yet"
"""How the reason of a result begins that is given while the models are away."""


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
    """A series that pictures can be shown of, as it was read where it was."""

    series_uid: str
    manifest: ObjectRef
    label_map: ObjectRef | None


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
    alerts: dict[UUID, Alert] = field(default_factory=dict)
    deliveries: dict[str, tuple[datetime, Told]] = field(default_factory=dict)
    dead: int = 0
    timeline: dict[object, Entry] = field(default_factory=dict)

    def snapshot(self) -> "Study":
        """A copy that stays as it is."""
        return replace(
            self,
            series=dict(self.series),
            senders=set(self.senders),
            alerts={alert_id: alert.snapshot() for alert_id, alert in self.alerts.items()},
            deliveries=dict(self.deliveries),
            timeline=dict(self.timeline),
        )

    def take(self, event: Event, at: datetime) -> bool:
        """Take in an event that stood on its topic at a moment; False where it is known already."""
        if event.event_id in self.timeline:
            return False
        line = told(event)
        self.timeline[event.event_id] = Entry(at, type(event).__name__, line)
        self.first_at, self.last_at = min(self.first_at, at), max(self.last_at, at)
        match event:
            case SeriesReceived():
                self._received(event)
            case StudyAssembled() if self.assembled is None or event.revision >= self.assembled.revision:
                # Its series are known from elsewhere, and its evidence is not shown: neither is kept.
                self.assembled = event.model_copy(update={"series": (), "evidence": ()})
            case StudyTriaged() if self.result is None or _weight(event) > _weight(self.result):
                self.result = event
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

    @property
    def entries(self) -> list[Entry]:
        """The timeline in order."""
        return sorted(self.timeline.values(), key=lambda entry: entry.at)

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
    def not_yet(self) -> bool:
        """Whether the AI has not failed but is still to come."""
        return self.result is None or self.result.reason.startswith(NOT_YET)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of the result that counts, the largest first."""
        found = self.result.findings if self.result else ()
        return tuple(sorted(found, key=lambda one: -one.volume_ml))

    @property
    def pictures(self) -> list[Shown]:
        """The series that pictures can be shown of, in the order they came."""
        read = {one.series_uid: one for one in self.result.series} if self.result else {}
        shown = []
        for uid in dict.fromkeys([*self.series, *read]):
            decision, received = read.get(uid), self.series.get(uid)
            manifest = (decision.manifest if decision else None) or (received.manifest if received else None)
            label_map = decision.reading.label_map if decision and decision.reading else None
            if manifest is not None:
                shown.append(Shown(uid, manifest, label_map))
        return shown

    def unread(self, now: datetime, clocks: Clocks) -> bool:
        """Whether no AI has looked although one should have: it failed, was away, or is late."""
        if self.result is None:
            return now - self.last_image_at > clocks.late_after
        return self.result.outcome is Outcome.FAILED

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
        if self.result is None:
            return Level.WAITING
        return Level.FINDING if self.result.outcome is Outcome.FINDINGS and alert is None else Level.DONE

    @property
    def since(self) -> datetime:
        """From when its waiting time counts."""
        alert = self.alert
        return alert.raised_at if alert and alert.raised_at and not alert.ended else self.last_image_at


def _weight(result: StudyTriaged) -> tuple[int, bool, datetime]:
    """A later revision counts over an earlier one, within one the confirmed result, and of two such the later."""
    return result.revision, not result.unconfirmed, result.time
