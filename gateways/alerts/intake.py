"""From the topics of alerts into the ledger: an offset is committed once what its record asks for is noted."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import structlog
from confluent_kafka import Consumer

from gateways import kafka
from gateways.alerts.budget import Budget
from gateways.alerts.ledger import Ledger
from gateways.inbox import Inbox
from gateways.metrics import PAGES, UNDECODABLE_ALERTS
from schemas.base import Event, utc
from schemas.events import AlertWithdrawn
from schemas.identity import study_key, trace_id
from schemas.paging import AlertAcknowledged, AlertClosed, AlertDismissed, AlertHandedOn, AlertPaged, PageReason
from schemas.topics import alerts

GROUP: Final = "sinsok-notifier"

log = structlog.get_logger()


def consumer(bootstrap: str) -> Consumer:
    """Reads alerts, all of them.

    A cluster has one notifier. Its membership is static, so that after a crash it need not wait for its own session
    to time out: a page has a minute.
    """
    settings: dict[str, str | int] = {"group.instance.id": GROUP, "topic.metadata.refresh.interval.ms": 10_000}
    return kafka.consumer(bootstrap, GROUP, **settings)


class Intake(Inbox):
    """Pages and what ends them, as they come.

    ``recipients`` are the names of those of each site, ``budgets`` what may disturb them; ``noted`` wakes who delivers.
    """

    def __init__(
        self,
        ledger: Ledger,
        connect: Callable[[], Consumer],
        recipients: Mapping[str, Collection[str]],
        budgets: Mapping[str, Budget],
        noted: Callable[[str, str], None],
    ) -> None:
        topics = [alerts(site).name for site in recipients]
        super().__init__(
            connect,
            topics,
            lambda events: self.take(events, time.time()),
            what="alerts",
            undecodable=UNDECODABLE_ALERTS,
            may_lack=True,
        )
        self._ledger = ledger
        self._recipients = recipients
        self._budgets = budgets
        self._noted = noted

    def take(self, events: Sequence[Event], now: float) -> None:
        """Note what events ask for, all or nothing."""
        owed: set[tuple[str, str]] = set()
        with self._ledger.transaction():
            for event in events:
                match event:
                    case AlertPaged():
                        owed |= {(event.site, recipient) for recipient in self._page(event, now)}
                    case AlertWithdrawn():
                        owed |= {(event.site, recipient) for recipient in self._ledger.withdraw(event, now)}
                    case AlertAcknowledged() | AlertDismissed() | AlertClosed():
                        self._ledger.end_alert(event, now)
                    case AlertHandedOn():
                        owed |= {(event.site, recipient) for recipient in self._ledger.hand_on(event)}
        for site, recipient in owed:
            self._noted(site, recipient)

    def _page(self, page: AlertPaged, now: float) -> Sequence[str]:
        """The recipients who are to be told."""
        if self._ledger.knows(page):
            return ()
        budget = self._budgets.get(page.site)
        shift = budget.shift(page) if budget else None
        # An alert is held back once, when it is new: afterwards it has waited enough.
        new = page.why is PageReason.RAISED and not self._ledger.has_ended(page)
        if new and budget and shift and self._ledger.pages_of(page.site, shift) >= budget.limit:
            until = budget.next_digest(utc(now))
            self._ledger.defer(page, now, until.timestamp(), f"more than {budget.limit} pages for {shift}")
            PAGES.labels("", "deferred").inc()
            self._log(page, "page held back for the digest", until=until.isoformat())
            return ()
        known = self._recipients.get(page.site, ())
        for recipient in page.recipients:
            if recipient in known:
                self._ledger.owe(page, recipient, now, shift)
            else:
                self._ledger.refuse(page, recipient, now, "no such recipient is configured")
                PAGES.labels("", "undelivered").inc()
                self._log(page, "page for a recipient who is not configured", recipient=recipient)
        return page.recipients

    def _log(self, page: AlertPaged, what: str, **details: object) -> None:
        trace = trace_id(study_key(page.site, page.study_uid))
        log.warning(what, alert=page.key, trace_id=trace, attempt=page.attempt, site=page.site, **details)
