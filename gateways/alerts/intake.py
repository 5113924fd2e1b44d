"""From the topics of alerts into the ledger: an offset is committed once what its record asks for is noted."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Event, Thread
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from gateways.alerts.budget import Budget
from gateways.alerts.ledger import Ledger
from gateways.kafka import quiet
from gateways.metrics import PAGES, UNDECODABLE_ALERTS
from schemas.base import Event as AnyEvent
from schemas.base import utc
from schemas.envelope import NotAnEvent, decode
from schemas.events import AlertWithdrawn
from schemas.identity import study_key, trace_id
from schemas.paging import AlertAcknowledged, AlertClosed, AlertDismissed, AlertPaged
from schemas.topics import MAX_EVENT_BYTES, alerts

GROUP: Final = "sinsok-notifier"
_GROUP_OF: Final = 100
_LOG_EVERY_S: Final = 30.0
_PAUSE_S: Final = 2.0

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


class Intake:
    """The one thread that reads.

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
        self._ledger = ledger
        self._connect = connect
        self._recipients = recipients
        self._budgets = budgets
        self._noted = noted
        self._stop = Event()
        self._logged_at = -_LOG_EVERY_S
        self._thread = Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in hand, and end."""
        self._stop.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether alerts are being taken, or waited for."""
        return self._thread.is_alive()

    def take(self, events: Sequence[AnyEvent], now: float) -> None:
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

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except Exception as error:  # noqa: BLE001 - the edge of this thread: whatever fails, alerts wait in the topic
                self._say("alerts not taken yet", error=str(error))
                self._stop.wait(_PAUSE_S)

    def _read(self) -> None:
        source = self._connect()
        try:
            source.subscribe([alerts(site).name for site in self._recipients])
            while not self._stop.is_set():
                first = source.poll(0.5)
                if first is not None:
                    # What else is there already comes with it; asked for at first, so many would be waited for.
                    messages = [first, *source.consume(_GROUP_OF, timeout=0)]
                    records = [message for message in messages if _is_record(message)]
                    if records:
                        self.take([event for record in records if (event := _event(record))], time.time())
                        source.commit(asynchronous=False)
        finally:
            source.close()

    def _log(self, page: AlertPaged, what: str, **details: object) -> None:
        trace = trace_id(study_key(page.site, page.study_uid))
        log.warning(what, alert=page.key, trace_id=trace, attempt=page.attempt, site=page.site, **details)

    def _say(self, what: str, **details: object) -> None:
        if time.monotonic() - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = time.monotonic()
            log.warning(what, **details)


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.code() in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART) or error.retriable():
        return False
    raise KafkaException(error)


def _event(record: Message) -> AnyEvent | None:
    """None for what is no event. The hop *escalate* reads the same topic and makes a dead letter of it."""
    headers: Any = record.headers() or []
    try:
        return decode([(name, value or b"") for name, value in headers], record.value())
    except NotAnEvent as error:
        UNDECODABLE_ALERTS.inc()
        log.error(
            "record is no event, passed over",
            topic=record.topic(),
            partition=record.partition(),
            offset=record.offset(),
            error=str(error),
        )
        return None
