"""Dead-man's switches: a site, or a scanner, of which nothing was heard for longer than it is usually silent."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gateways.watch.condition import Condition, Key
from gateways.watch.settings import DAYS, Quiet, WatchSettings
from schemas.alarms import AlarmKind

Scanner = tuple[str, str]
"""Site and AE title."""


class Silence(NamedTuple):
    """How long nothing was heard."""

    site: str
    scanner: str
    """Its AE title; empty where it is the site as a whole."""
    since: datetime
    heard: bool
    """False: never, and ``since`` is when watching began."""
    seconds: float
    """Without the hours in which silence is normal."""
    limit_s: float


def silences(
    heard: Mapping[Scanner, datetime],
    sites: Iterable[str],
    settings: WatchSettings,
    began: datetime,
    now: datetime,
    zone: ZoneInfo,
) -> Iterator[Silence]:
    """Of every site and every scanner that is watched. ``heard``: each one's newest image; ``began``: the watch."""
    names = list(sites)
    for site in names:
        newest = max((at for (where, _), at in heard.items() if where == site), default=None)
        yield _silence(site, "", newest, settings.of_site(site), settings.quiet, began, now, zone)
    configured = {tuple(name.split("/", 1)) for name in settings.scanners}
    for site, scanner in sorted({*heard, *configured}):
        limit_s = settings.of_scanner(site, scanner)
        if limit_s is not None and site in names:
            newest = heard.get((site, scanner))
            yield _silence(site, scanner, newest, limit_s, settings.quiet, began, now, zone)


def too_long(found: Iterable[Silence]) -> Iterator[Condition]:
    """Those that are alarms."""
    for one in found:
        if one.seconds <= one.limit_s:
            continue
        kind = AlarmKind.SCANNER_SILENT if one.scanner else AlarmKind.SITE_SILENT
        subject = f"{one.site}/{one.scanner}" if one.scanner else one.site
        heard = "no image since" if one.heard else "never an image; watched since"
        what = "the scanner, its network and its list of destinations" if one.scanner else "the site's network"
        detail = f"{subject}: {heard} {one.since:%Y-%m-%d %H:%M:%S} UTC: look at {what}, and at /readyz of the gateway"
        yield Condition(Key(one.site, kind, subject), one.since, detail, renews=True)


def expected_s(since: datetime, now: datetime, quiet: Iterable[Quiet], zone: ZoneInfo) -> float:
    """The seconds between two moments in which something could be expected: not those of quiet hours."""
    begin, end = since.astimezone(UTC), now.astimezone(UTC)
    silent, last = timedelta(), begin
    for span_begin, span_end in sorted(_spans(begin, end, quiet, zone)):
        span_begin, span_end = max(span_begin, last), min(span_end, end)
        if span_begin < span_end:
            silent += span_end - span_begin
            last = span_end
    return max(0.0, (end - begin - silent).total_seconds())


def _spans(
    begin: datetime, end: datetime, quiet: Iterable[Quiet], zone: ZoneInfo
) -> Iterator[tuple[datetime, datetime]]:
    first = begin.astimezone(zone).date() - timedelta(days=1)  # whose night may go on into the first day
    days = [first + timedelta(days=number) for number in range((end.astimezone(zone).date() - first).days + 1)]
    for hours in quiet:
        night = timedelta(days=1 if hours.end <= hours.begin else 0)
        for day in days:
            if DAYS[day.weekday()] in hours.days:
                yield (
                    datetime.combine(day, hours.begin, zone).astimezone(UTC),
                    datetime.combine(day + night, hours.end, zone).astimezone(UTC),
                )


def _silence(
    site: str,
    scanner: str,
    newest: datetime | None,
    limit_s: float,
    quiet: Iterable[Quiet],
    began: datetime,
    now: datetime,
    zone: ZoneInfo,
) -> Silence:
    since = newest or began
    return Silence(site, scanner, since, newest is not None, expected_s(since, now, quiet, zone), limit_s)
