"""All that the console knows: studies with their results, alerts and deliveries, from what stands on the topics.

It is kept in memory and read anew from Kafka at each start. One thread writes, many read; every answer is a copy.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from threading import RLock
from typing import Final, NamedTuple
from uuid import UUID

from gateways.console.letters import Kind, Letter, Tally, count
from gateways.console.settings import ConsoleSettings
from gateways.console.study import Clocks, Level, Study
from gateways.console.worklist import Worklist, page
from gateways.letters.box import Box
from gateways.watch.alarms import Alarms
from schemas.alarms import AlarmEvent, AlarmRaised
from schemas.base import Event, StudyEvent
from schemas.events import AlertEvent, AlertRaised, SeriesReceived
from schemas.identity import study_key

_UNKNOWN_FOR: Final = timedelta(hours=1)
"""So long what is told of a study that nobody has told of yet waits for it: topics are read side by side."""
_LETTERS: Final = 500
"""So many of the newest dead letters can be looked at; all are counted."""
_UNKNOWN: Final = 50_000
"""So many such studies at the most; the longest waiting go."""


class Change(NamedTuple):
    """What to tell those who look: a study has changed, and whether an alert was raised by it."""

    site: str
    key: str
    alert: bool


class Listed(NamedTuple):
    """A page of the worklist."""

    studies: list[tuple[Study, Level]]
    total: int
    counts: dict[Level, int]


class View:
    """The read model. ``now`` is the clock; ``sites`` are those of the configuration, in its order."""

    def __init__(self, settings: ConsoleSettings, sites: Iterable[str], now: Callable[[], datetime]) -> None:
        self.clocks = Clocks(timedelta(minutes=settings.late_minutes), timedelta(hours=settings.todo_hours))
        self._keep = timedelta(days=settings.keep_days)
        self._now = now
        self._lock = RLock()
        self._studies: dict[str, Study] = {}
        self._by_alert: dict[UUID, str] = {}
        self._worklists = {site: Worklist() for site in sites}
        self._senders: dict[tuple[str, str], datetime] = {}
        self._unknown: dict[str, datetime] = {}
        self._letters: dict[tuple[str | None, Kind], Tally] = {}
        self._buried: dict[int, int] = {}
        self._alarms = Alarms()
        self.box = Box(newest=_LETTERS)
        self.on_change: Callable[[Change], None] = lambda _: None

    def take(self, event: Event, at: datetime) -> None:
        """Take in an event that stood on its topic at a moment. Again, late or out of order makes no difference."""
        if isinstance(event, AlarmEvent):
            with self._lock:
                self._alarms.take(event)
            return
        if not isinstance(event, StudyEvent) or event.site not in self._worklists:
            return
        with self._lock:
            key = study_key(event.site, event.study_uid)
            study = self._study(key, event.site, event.study_uid, at)
            if not study.take(event, at):
                return
            if isinstance(event, AlertEvent):
                self._by_alert[event.alert_id] = key
            if isinstance(event, SeriesReceived):
                sender, newest = (event.site, event.sending_ae), event.series.last_image_at
                self._senders[sender] = max(self._senders.get(sender, newest), newest)
            if not study.known:
                return
            self._unknown.pop(key, None)
            self._place(study)
        self.on_change(Change(study.site, key, isinstance(event, AlertRaised)))

    def bury(self, letter: Letter) -> None:
        """Take in a dead letter; those of a partition come in their order."""
        partition, offset = letter.place
        with self._lock:
            if offset <= self._buried.get(partition, -1):
                return
            self._buried[partition] = offset
            one = Tally(1, letter.at, letter.at)
            count(self._letters, (letter.site, letter.kind), one)
            if letter.site not in self._worklists:
                return
            study = self._study(letter.key, letter.site, "", letter.at)
            count(study.letters, letter.kind, one)
            known = study.known
        if known:
            self.on_change(Change(study.site, study.key, alert=False))

    def tick(self) -> None:
        """Let time pass: what waits becomes late, what is old goes."""
        now = self._now()
        with self._lock:
            self._alarms.forget(now - self._keep)
            for study in list(self._studies.values()):
                alert = study.alert
                if study.key in self._unknown:
                    if now - self._unknown[study.key] > _UNKNOWN_FOR:
                        self._forget(study)
                elif now - study.last_at > self._keep and (alert is None or alert.ended):
                    self._forget(study)
                else:
                    self._place(study)
            self._letters = {kind: one for kind, one in self._letters.items() if now - one.newest <= self._keep}

    def study(self, site: str, key: str) -> Study | None:
        """A study of a site as it stands."""
        with self._lock:
            study = self._studies.get(key)
            return study.snapshot() if study is not None and study.known and study.site == site else None

    def of_alert(self, alert_id: UUID) -> Study | None:
        """The study that an alert is about."""
        with self._lock:
            key = self._by_alert.get(alert_id)
            study = self._studies[key] if key is not None else None
            return study.snapshot() if study is not None and study.known else None

    def worklist(self, sites: Collection[str], through: Level, start: int, size: int) -> Listed:
        """Studies of these sites down to a level, most urgent first, and how many there are of each level."""
        now = self._now()
        with self._lock:
            lists = [self._worklists[site] for site in sites]
            keys = page(lists, through, start, size)
            found = [
                (study, study.level(now, self.clocks)) for key in keys for study in [self._studies[key].snapshot()]
            ]
            up_to = {level: sum(one.count(level) for one in lists) for level in Level}
        counts = {level: up_to[level] - (up_to[Level(level - 1)] if level else 0) for level in Level}
        return Listed(found, up_to[through], counts)

    def senders(self, sites: Collection[str]) -> list[tuple[str, str, datetime]]:
        """When each scanner of these sites sent its newest image, the longest silent first."""
        with self._lock:
            known = [(site, ae, at) for (site, ae), at in self._senders.items() if site in sites]
        return sorted(known, key=lambda one: one[2])

    def alarms(self) -> list[AlarmRaised]:
        """What is wrong with the installation, the longest first."""
        with self._lock:
            return self._alarms.standing

    def letters(self, sites: Collection[str]) -> dict[Kind, Tally]:
        """Dead letters of a kind: of these sites, and of none that is known; the most first."""
        found: dict[Kind, Tally] = {}
        with self._lock:
            for (site, kind), tally in self._letters.items():
                if site is None or site in sites:
                    count(found, kind, tally)
        return dict(sorted(found.items(), key=lambda one: -one[1].count))

    def _study(self, key: str, site: str, study_uid: str, at: datetime) -> Study:
        """A study, or what waits for one to be told of: of a page or a delivery alone nobody makes a study."""
        study = self._studies.get(key)
        if study is None:
            study = self._studies[key] = Study(site, key, study_uid, first_at=at, last_at=at)
            self._unknown[key] = self._now()
            if len(self._unknown) > _UNKNOWN:
                self._forget(self._studies[next(iter(self._unknown))])
        study.study_uid = study.study_uid or study_uid
        return study

    def _place(self, study: Study) -> None:
        self._worklists[study.site].put(study.key, study.level(self._now(), self.clocks), study.since)

    def _forget(self, study: Study) -> None:
        self._worklists[study.site].drop(study.key)
        self._unknown.pop(study.key, None)
        for alert_id in study.alerts:
            self._by_alert.pop(alert_id, None)
        del self._studies[study.key]
