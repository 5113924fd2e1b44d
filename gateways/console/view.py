"""All that the console knows: studies with their results, alerts and deliveries, from what stands on the topics.

It is kept in memory and read anew from Kafka at each start. One thread writes, many read; every answer is a copy.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from threading import RLock
from typing import NamedTuple
from uuid import UUID

from gateways.console.settings import ConsoleSettings
from gateways.console.study import Clocks, Entry, Level, Study
from gateways.console.terms import mark
from gateways.console.told import Told
from gateways.console.worklist import Worklist, page
from schemas.base import Event, StudyEvent
from schemas.events import AlertEvent, AlertRaised, SeriesReceived
from schemas.identity import study_key


class Change(NamedTuple):
    """What to tell those who look: a study has changed, and whether an alert was raised by it."""

    site: str
    key: str
    alert: bool


class Letter(NamedTuple):
    """A dead letter, without what it carried."""

    at: datetime
    site: str | None
    key: str
    hop: str
    topic: str
    error: str
    place: tuple[int, int]


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
        self._letters: dict[tuple[int, int], Letter] = {}
        self.on_change: Callable[[Change], None] = lambda _: None

    def take(self, event: Event, at: datetime) -> None:
        """Take in an event that stood on its topic at a moment. Again, late or out of order makes no difference."""
        if not isinstance(event, StudyEvent) or event.site not in self._worklists:
            return
        with self._lock:
            key = study_key(event.site, event.study_uid)
            study = self._studies.get(key)
            if study is None:
                study = self._studies[key] = Study(event.site, key, event.study_uid, first_at=at, last_at=at)
            if not study.take(event, at):
                return
            if isinstance(event, AlertEvent):
                self._by_alert[event.alert_id] = key
            if isinstance(event, SeriesReceived):
                sender, newest = (event.site, event.sending_ae), event.series.last_image_at
                self._senders[sender] = max(self._senders.get(sender, newest), newest)
            self._place(study)
        self.on_change(Change(study.site, key, isinstance(event, AlertRaised)))

    def bury(self, letter: Letter) -> None:
        """Take in a dead letter."""
        with self._lock:
            if letter.place in self._letters:
                return
            self._letters[letter.place] = letter
            study = self._studies.get(letter.key)
            if study is None:
                return
            study.dead += 1
            values = {"hop": letter.hop, "error": letter.error}
            line = Told(mark("could not be handled by %(hop)s: %(error)s"), values)
            study.timeline[letter.place] = Entry(letter.at, "DeadLetter", line)
        self.on_change(Change(study.site, study.key, alert=False))

    def tick(self) -> None:
        """Let time pass: what waits becomes late, what is old goes."""
        now = self._now()
        with self._lock:
            for study in list(self._studies.values()):
                alert = study.alert
                if now - study.last_at > self._keep and (alert is None or alert.ended):
                    self._forget(study)
                else:
                    self._place(study)
            self._letters = {place: one for place, one in self._letters.items() if now - one.at <= self._keep}

    def study(self, site: str, key: str) -> Study | None:
        """A study of a site as it stands."""
        with self._lock:
            study = self._studies.get(key)
            return study.snapshot() if study is not None and study.site == site else None

    def of_alert(self, alert_id: UUID) -> Study | None:
        """The study that an alert is about."""
        with self._lock:
            key = self._by_alert.get(alert_id)
            return self._studies[key].snapshot() if key is not None else None

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

    def letters(self, sites: Collection[str]) -> Counter[tuple[str, str, str]]:
        """How many dead letters there are by hop, topic and error: of these sites, and of none that is known."""
        with self._lock:
            letters = list(self._letters.values())
        return Counter((one.hop, one.topic, one.error) for one in letters if one.site is None or one.site in sites)

    def _place(self, study: Study) -> None:
        self._worklists[study.site].put(study.key, study.level(self._now(), self.clocks), study.since)

    def _forget(self, study: Study) -> None:
        self._worklists[study.site].drop(study.key)
        for alert_id in study.alerts:
            self._by_alert.pop(alert_id, None)
        del self._studies[study.key]
