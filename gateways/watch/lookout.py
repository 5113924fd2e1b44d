"""One look at everything, and what is to be said after it."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gateways import kafka, metrics
from gateways.watch.alarms import alarms, key_of
from gateways.watch.certificates import CertificateFile, ending
from gateways.watch.certificates import look as look_at
from gateways.watch.clocks import Clocks, skewed
from gateways.watch.condition import Condition, Key, Standing, settle
from gateways.watch.gauges import Family
from gateways.watch.groups import Groups
from gateways.watch.lag import Lag, Watched
from gateways.watch.ledger import Ledger
from gateways.watch.progress import Progress
from gateways.watch.settings import WatchSettings
from gateways.watch.silence import silences, too_long
from gateways.watch.studies import Late, late, open_alarms, unread, unread_alarms
from schemas.alarms import AlarmKind
from schemas.audit import INSTALLATION
from schemas.envelope import encode
from schemas.topics import ALARMS

_SELDOM_S: Final = 60.0
"""Between two looks at clocks and certificates, or one of the others where that is longer."""
_OF_TOPICS: Final = (AlarmKind.SITE_SILENT, AlarmKind.SCANNER_SILENT, AlarmKind.STUDY_OPEN, AlarmKind.AI_NEVER_RAN)
_OF_GROUPS: Final = (AlarmKind.LAG, AlarmKind.ARCHIVE_BEHIND, AlarmKind.AUDIT_BEHIND)


@dataclass(frozen=True)
class Surroundings:
    """What is watched, as the whole configuration has it."""

    cap_s: Mapping[str, float]
    """The longest wait for a final revision, of every site."""
    zone: ZoneInfo
    groups: Mapping[str, Watched]
    clocks: Mapping[str, str]
    """Health addresses of the processes by name."""
    certificates: Sequence[CertificateFile]


@dataclass
class _Found:
    conditions: list[Condition] = field(default_factory=list)
    judged: set[AlarmKind] = field(default_factory=set)
    unknown: set[Key] = field(default_factory=set)

    def add(self, kinds: Iterable[AlarmKind], conditions: Iterable[Condition], unknown: Iterable[Key] = ()) -> None:
        self.judged |= set(kinds)
        self.conditions += conditions
        self.unknown |= set(unknown)


class Lookout:
    """Looks when it is told to. ``now`` is the clock."""

    def __init__(
        self,
        ledger: Ledger,
        settings: WatchSettings,
        around: Surroundings,
        bootstrap: str,
        now: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._around = around
        self._bootstrap = bootstrap
        self._now = now
        self._groups = Groups(bootstrap)
        self._own = Progress()
        self._lag = Lag(around.groups, settings.no_reader_after_s)
        self._clocks = Clocks(around.clocks)
        self._seldom_at = float("-inf")
        self.known_until: datetime | None = None
        """All that happened to studies until then is known; None where no look could tell yet."""

    def look(self) -> None:
        """Look at everything that can be seen now, and note what to say.

        Raises :class:`schemas.failures.Unavailable` where the broker does not answer: what it need not be asked for is
        judged all the same.
        """
        found = _Found()
        if time.monotonic() - self._seldom_at >= max(_SELDOM_S, self._settings.look_s):
            self._seldom_at = time.monotonic()
            self._look_seldom(found)
        try:
            self._adopt()
            self._look_at_broker(found)
        finally:
            self._settle(found)

    def close(self) -> None:
        """End."""
        self._clocks.close()

    def _look_seldom(self, found: _Found) -> None:
        now = self._now()
        clocks = self._clocks.look()
        told = [clock for clock in clocks.values() if clock is not None]
        silent = {Key(INSTALLATION, AlarmKind.CLOCK_SKEW, name) for name, clock in clocks.items() if clock is None}
        found.add([AlarmKind.CLOCK_SKEW], skewed(told, self._settings.clock_skew_s, now), silent)
        files = [look_at(file) for file in self._around.certificates]
        found.add([AlarmKind.CERTIFICATE], ending(files, self._settings.certificate_days, now))
        _CLOCK_SKEW.show({(clock.process,): clock.ahead_s for clock in told})
        _CERTIFICATE.show(
            {(str(one.file.path),): (one.until - now).total_seconds() if one.until else 0.0 for one in files}
        )

    def _adopt(self) -> None:
        """What an earlier ledger had raised stands here too, or nobody would ever say that it is over."""
        if self._ledger.adopted:
            return
        raised = alarms(kafka.read(self._bootstrap, [ALARMS.name])).standing
        standing = {key_of(event): Standing(event.since, event.detail, event.time) for event in raised}
        with self._ledger.transaction():
            self._ledger.stand(standing | self._ledger.standing())
            self._ledger.adopt()

    def _look_at_broker(self, found: _Found) -> None:
        now = self._now()  # before it answers: what comes meanwhile is of the next look
        own = self._ledger.reader
        groups = self._groups.look([own, *self._around.groups])
        judgement = self._lag.judge(groups, now)
        found.add(_OF_GROUPS, judgement.conditions, judgement.unknown)
        _BEHIND.show({(name,): seconds for name, seconds in self._lag.behind_s.items()})
        if groups[own].members and groups[own].ends:
            self._own.look(groups[own], now, float("inf"))
        if (until := self._own.done_until) is not None and until != self.known_until:
            self.known_until = until
            self._look_at_studies(found, until)

    def _look_at_studies(self, found: _Found, now: datetime) -> None:
        settings, sites = self._settings, self._around.cap_s
        silent = list(silences(self._ledger.heard(), sites, settings, self._ledger.began_at, now, self._around.zone))
        opened: dict[str, list[Late]] = {site: [] for site in sites}
        neglected: dict[str, list[Late]] = {site: [] for site in sites}
        self._ledger.forget(now - timedelta(hours=settings.unread_kept_h))
        for study in self._ledger.under_way():
            if study.site not in sites:
                continue
            if (one := late(study, settings, sites[study.site], now)) is not None:
                opened[study.site].append(one)
            if (one := unread(study, settings, now)) is not None:
                neglected[study.site].append(one)
        found.add(_OF_TOPICS, [*too_long(silent), *open_alarms(opened), *unread_alarms(neglected)])
        _SILENT.show({(one.site, one.scanner): one.seconds for one in silent})
        _OPEN.show({(site,): len(studies) for site, studies in opened.items()})
        _UNREAD.show({(site,): len(studies) for site, studies in neglected.items()})

    def _settle(self, found: _Found) -> None:
        now = self._now()
        with self._ledger.transaction():
            before = self._ledger.standing()
            settled = settle(before, found.conditions, found.judged, found.unknown, now)
            if settled.standing != before:
                self._ledger.stand(settled.standing)
            for event in settled.events:
                self._ledger.post(ALARMS.name, encode(event), now.timestamp())
        _ALARMS.show(self._counts(settled.standing))

    def _counts(self, standing: Mapping[Key, Standing]) -> dict[tuple[str, ...], float]:
        """Alarms by site and kind, 0 too: Prometheus asks for every one of them."""
        raised = Counter((key.site, key.kind) for key, one in standing.items() if one.raised_at is not None)
        every = {(site, kind) for site in (INSTALLATION, *self._around.cap_s) for kind in AlarmKind}
        return {(site, str(kind)): raised[site, kind] for site, kind in every | raised.keys()}


_ALARMS: Final = Family(metrics.ALARMS)
_SILENT: Final = Family(metrics.SILENT_SECONDS)
_OPEN: Final = Family(metrics.STUDIES_OPEN)
_UNREAD: Final = Family(metrics.STUDIES_UNREAD)
_BEHIND: Final = Family(metrics.GROUP_BEHIND_SECONDS)
_CLOCK_SKEW: Final = Family(metrics.CLOCK_SKEW_SECONDS)
_CERTIFICATE: Final = Family(metrics.CERTIFICATE_SECONDS)
