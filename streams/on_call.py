"""Who is paged when, and for how long each may take: a site's on-call chains."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import product
from typing import Annotated, Final, NamedTuple, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, field_validator, model_validator

from schemas.base import Record, SortedSet
from schemas.events import Priority
from schemas.paging import Name

Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]
_HOUR: Final = 3600.0
_DAY: Final = timedelta(days=1)


def _without_zone(at: time) -> time:
    if at.tzinfo is not None:
        raise ValueError("is a local time, without a zone: 07:30")
    return at


LocalTime = Annotated[time, AfterValidator(_without_zone)]


class Weekday(StrEnum):
    """In the order of ``date.weekday``."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class Hours(Record):
    """A span of every day, which may go over midnight; a night belongs to the day on which it begins."""

    begin: LocalTime = time(0)
    end: LocalTime = time(0)
    days: SortedSet[Weekday] = frozenset(Weekday)
    holidays: bool = Field(
        default=True, description="Whether it holds on the site's holidays, whatever day of the week they are"
    )

    def cover(self, local: datetime, holidays: frozenset[date]) -> bool:
        """Whether a local time lies within."""
        if self.begin < self.end:
            return self._on(local.date(), holidays) and self.begin <= local.time() < self.end
        if local.time() >= self.begin:
            return self._on(local.date(), holidays)
        return local.time() < self.end and self._on(local.date() - _DAY, holidays)

    def end_after(self, local: datetime) -> datetime:
        """The next end of the span after a local time, in UTC. When clocks are put back an hour may have two."""
        days, folds = (local.date(), local.date() + _DAY), (0, 1)
        ends = [
            datetime.combine(day, self.end.replace(fold=fold), local.tzinfo).astimezone(UTC)
            for day, fold in product(days, folds)
        ]
        return min(end for end in ends if end > local.astimezone(UTC))

    def _on(self, day: date, holidays: frozenset[date]) -> bool:
        if day in holidays:
            return self.holidays
        return list(Weekday)[day.weekday()] in self.days


class Chain(Hours):
    """Who is paged in these hours: the first step at once, each further one when those before did not answer."""

    name: Name
    steps: Annotated[tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...], Field(min_length=1)]


class _Moment(NamedTuple):
    """A time of a week, and which of its day and the day before are holidays."""

    at: datetime
    holidays: frozenset[date]

    def in_(self, hours: Hours) -> bool:
        return hours.cover(self.at, self.holidays)

    def __str__(self) -> str:
        day = self.at.date()
        off = ", a holiday" if day in self.holidays else ""
        off_before = " after a holiday" if day - _DAY in self.holidays else ""
        return f"on {list(Weekday)[day.weekday()]}{off}{off_before} at {self.at:%H:%M}"


def _moments(spans: Sequence[Hours]) -> Iterator[_Moment]:
    """One moment of each kind: which of the spans hold changes at midnight and at their edges alone."""
    edges = sorted({time(0), *(edge for hours in spans for edge in (hours.begin, hours.end))})
    monday = date(2024, 1, 1)
    # A night belongs to the day before, and each of the two may be a holiday.
    for number, off, off_before, edge in product(range(7), (False, True), (False, True), edges):
        day = monday + number * _DAY
        holidays = frozenset(([day] if off else []) + ([day - _DAY] if off_before else []))
        yield _Moment(datetime.combine(day, edge), holidays)


class OnCall(NamedTuple):
    """A step of a chain at a moment."""

    chain: str
    step: int
    recipients: tuple[str, ...]


class Paging(Record):
    """How a site's alerts reach its people.

    The defaults follow published policies for critical results, which ask for a physician within 60 minutes for what
    threatens life and within 6 to 12 hours for what is urgent (Hanna et al., Jt Comm J Qual Patient Saf 2005;31:68-80;
    ACR Practice Parameter for Communication of Diagnostic Imaging Findings). A stat alert goes to the next person
    every 10 minutes, so that several are asked within the hour.
    """

    timezone: str = "Asia/Seoul"
    holidays: SortedSet[date] = frozenset()
    chains: tuple[Chain, ...] = Field(
        default=(), description="The first whose hours cover the moment; none at all: nobody is paged"
    )
    deliver_within_s: dict[Priority, Seconds] = Field(default={Priority.STAT: 60.0, Priority.URGENT: 600.0})
    answer_within_s: dict[Priority, Seconds] = Field(default={Priority.STAT: 600.0, Priority.URGENT: 2 * _HOUR})
    quiet: tuple[Hours, ...] = Field(default=(), description="When only critical alerts disturb anybody")
    critical: SortedSet[Priority] = Field(
        default=frozenset({Priority.STAT}), description="Never deferred, by quiet hours or by a budget"
    )
    pages_per_shift: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Pages that are not critical, for each chain and day; more go to the digest"
    )

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"there is no time zone {name!r}; for example Asia/Seoul") from None
        return name

    @model_validator(mode="after")
    def _covers_every_hour(self) -> Self:
        if not self.chains:
            return self
        names = [chain.name for chain in self.chains]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two chains are called {twice[0]}: who is asked next is found by the name")
        asked = set()
        for moment in _moments(self.chains):
            chain = next((chain for chain in self.chains if moment.in_(chain)), None)
            if chain is None:
                raise ValueError(f"nobody is on call {moment}: add a chain without hours at the end")
            asked.add(chain.name)
        if never := [name for name in names if name not in asked]:
            raise ValueError(f"chain {never[0]} is never asked: those before it hold in all its hours; move it up")
        return self

    @model_validator(mode="after")
    def _quiet_hours_end(self) -> Self:
        waiting = [priority for priority in Priority if priority not in self.critical]
        # A holiday is no end: a site may have none for months.
        common = (moment for moment in _moments(self.quiet) if not moment.holidays)
        if self.quiet and waiting and all(any(map(moment.in_, self.quiet)) for moment in common):
            raise ValueError(
                f"quiet: {', '.join(waiting)} alerts would never page: these hours never end; shorten them"
            )
        return self

    def on_call(self, at: datetime, chain: str = "", step: int = 0) -> OnCall | None:
        """Who is asked at a moment; None where the site has no chains.

        ``step`` counts from 0 within ``chain``. Behind its last step a chain begins anew, and so does the one that has
        taken over since: at a hand-over the new shift is asked from its beginning.
        """
        now = next((one for one in self.chains if one.cover(self._local(at), self.holidays)), None)
        if now is None:
            return None
        place = step % len(now.steps) if now.name == chain else 0
        return OnCall(now.name, place, now.steps[place])

    def quiet_until(self, at: datetime, priority: Priority) -> datetime | None:
        """Until when an alert of this priority disturbs nobody; None where it may go out."""
        if priority in self.critical:
            return None
        local = self._local(at)
        ends = [hours.end_after(local) for hours in self.quiet if hours.cover(local, self.holidays)]
        return max(ends, default=None)

    def deliver_by(self, at: datetime, priority: Priority) -> datetime:
        """When a page has to have arrived: never after it has to be answered."""
        return min(at + timedelta(seconds=_of(self.deliver_within_s, priority)), self.answer_by(at, priority))

    def answer_by(self, at: datetime, priority: Priority) -> datetime:
        """When a page has to be answered."""
        return at + timedelta(seconds=_of(self.answer_within_s, priority))

    def _local(self, at: datetime) -> datetime:
        return at.astimezone(ZoneInfo(self.timezone))


def _of(seconds: Mapping[Priority, float], priority: Priority) -> float:
    """For a priority that is not named: the longest that is."""
    return seconds.get(priority, max(seconds.values(), default=_HOUR))
