"""How many pages that are not critical may disturb a shift, and when those beyond that are told instead."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.events import Priority
from schemas.paging import AlertPaged, PageReason


@dataclass(frozen=True)
class Budget:
    """The budget of a site: for each on-call chain and day."""

    limit: int
    critical: frozenset[Priority]
    """These are never deferred, and do not count."""
    timezone: str
    digest_at: Sequence[time]

    def shift(self, page: AlertPaged) -> str | None:
        """The chain and day whose budget a page counts against; None where it counts against none.

        What a person has handed on counts against none.
        """
        if page.priority in self.critical or page.why is PageReason.ESCALATED:
            return None
        return f"{page.chain} {page.time.astimezone(ZoneInfo(self.timezone)).date()}"

    def next_digest(self, after: datetime) -> datetime:
        """When the next digest goes out."""
        local = after.astimezone(ZoneInfo(self.timezone))
        days = (local.date(), local.date() + timedelta(days=1))
        times = (datetime.combine(day, at, local.tzinfo) for day in days for at in self.digest_at)
        return min(at for at in times if at > local).astimezone(UTC)
