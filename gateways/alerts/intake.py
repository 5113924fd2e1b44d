"""From the topics of alerts into the ledger: an offset is committed once what its record asks for is noted."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import structlog
from confluent_kafka import Consumer

from gateways.alerts.budget import Budget
from gateways.alerts.ledger import Ledger
from gateways.inbox import Inbox
from gateways.kafka import quiet
from gateways.metrics import PAGES, UNDECODABLE_ALERTS
from schemas.base import Event, utc
from schemas.events import AlertWithdrawn
from schemas.identity import study_key, trace_id
from schemas.paging import AlertAcknowledged, AlertClosed, AlertDismissed, AlertPaged
from schemas.topics import MAX_EVENT_BYTES, alerts

GROUP: Final = "sinsok-notifier"

log = structlog.get_logger()


def consumer(bootstrap: str) -> Consumer:
    """Reads alerts from where it stood, at first from the beginning: none is left out.

    A cluster has one notifier. Its membership is static, so that after a crash it need not wait for its own session
    to time out: a page has a minute.
    """
    return Consumer(
        quiet(bootstrap)
        | {
            "group.id": GROUP,
            "group.instance.id": GROUP,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": MAX_EVENT_BYTES,
            "session.timeout.ms": 10_000,
            "topic.metadata.refresh.interval.ms": 10_000,
        }
    )


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
        for site, recipient in owed:
            self._noted(site, recipient)

    def _page(self, page: AlertPaged, now: float) -> Sequence[str]:
        """The recipients who are to be told."""
        if self._ledger.knows(page):
            return ()
        budget = self._budgets.get(page.site)
        shift = budget.shift(page) if budget else None
        # An alert is held back once: afterwards it has waited enough.
        if budget and shift and self._is_spent(budget, page, shift) and not self._ledger.was_deferred(page):
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

    def _is_spent(self, budget: Budget, page: AlertPaged, shift: str) -> bool:
        return budget.limit is not None and self._ledger.pages_of(page.site, shift) >= budget.limit

    def _log(self, page: AlertPaged, what: str, **details: object) -> None:
        trace = trace_id(study_key(page.site, page.study_uid))
        log.warning(what, alert=page.key, trace_id=trace, attempt=page.attempt, site=page.site, **details)
