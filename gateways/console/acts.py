"""What people do, as events: on disk before they are told that it is done, and in Kafka as soon as it is there."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, TypedDict
from uuid import UUID

import structlog

from gateways.console.alert import Alert, AlertState
from gateways.console.study import Study
from gateways.console.terms import mark
from gateways.console.view import View
from gateways.outbox.database import OutboxDatabase
from schemas.audit import RecordAct, Role, Sight, StudyViewed
from schemas.base import Event, StudyEvent
from schemas.envelope import NotAnEvent, decode, encode
from schemas.events import AlertEvent
from schemas.paging import AlertAcknowledged, AlertDismissed, AlertHandedOn, AlertSeen
from schemas.topics import topic_of

log = structlog.get_logger()
_LOOK: Final = timedelta(minutes=1)
_OPEN: Final = 10_000
"""Of so many pages it is remembered who has opened them."""


class NotPossible(Exception):
    """The alert has moved on; the text is a sentence of the catalogue that says why."""


class _Look:
    """What a person looks at, and when that was last written down. Its lock is held while it is being written."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.stored_at: datetime | None = None

    def is_fresh(self, now: datetime) -> bool:
        """Whether another look is the same one."""
        return self.stored_at is not None and now - self.stored_at < _LOOK

    def is_wanted(self, now: datetime) -> bool:
        """Whether somebody may still ask for it, or is about to write it down."""
        return self.stored_at is None or self.is_fresh(now) or self.lock.locked()


class _About(TypedDict):
    time: datetime
    site: str
    study_uid: str
    alert_id: UUID
    revision: int


class Acts:
    """Writes events into the outbox, and into the view at once: the person sees what they did, broker or not."""

    def __init__(self, database: OutboxDatabase, view: View, now: Callable[[], datetime]) -> None:
        self._database = database
        self._view = view
        self._now = now
        self._lock = Lock()
        self._looks: dict[tuple[str, str, Sight], _Look] = {}
        self._open: dict[tuple[str, str, Sight], None] = {}

    def recall(self) -> None:
        """Put into the view what still waits for the broker since before a restart."""
        for row in self._database.outbox(100_000):
            try:
                self._show(decode(row.message.headers, row.message.value))
            except NotAnEvent as error:
                # Of another version: the broker takes it all the same.
                log.warning("what was done before cannot be shown yet", row=row.id, topic=row.topic, error=str(error))

    def seen(self, study: Study, alert: Alert, by: str) -> None:
        """A person has opened an alert that waits for somebody. The second time says nothing new."""
        if not alert.ended and by not in alert.seen:
            self._post(AlertSeen(**self._about(study, alert), by=by))

    def acknowledge(self, study: Study, alert: Alert, by: str) -> None:
        """A person takes an alert. Raises :class:`NotPossible`."""
        _refuse_ended(alert)
        _refuse_taken(alert, by)
        if alert.taken_by is None:
            self._post(AlertAcknowledged(**self._about(study, alert), by=by))

    def hand_on(self, study: Study, alert: Alert, by: str) -> None:
        """A person asks for the next one, also who has taken it. Raises :class:`NotPossible`."""
        _refuse_ended(alert)
        _refuse_taken(alert, by)
        if not alert.attempt:
            raise NotPossible(mark("Nobody has been paged about this alert yet, so there is nobody it could go on to."))
        if (by, alert.attempt) not in alert.handed_on:
            self._post(AlertHandedOn(**self._about(study, alert), by=by, attempt=alert.attempt))

    def dismiss(self, study: Study, alert: Alert, by: str, reason: str) -> None:
        """A person says that it is no finding. Raises :class:`NotPossible`."""
        _refuse_ended(alert)
        self._post(AlertDismissed(**self._about(study, alert), by=by, reason=reason))

    def done(self, act: RecordAct) -> None:
        """Something was done to the record itself."""
        self._post(act)

    def viewed(self, study: Study | StudyEvent, by: str, role: Role, what: Sight) -> None:
        """A person looks at a study. What they look at within a minute is one look.

        When this returns it is on disk, whoever else looks at the same moment: nothing is shown before.
        """
        now = self._now()
        with self._lock:
            self._looks = {name: one for name, one in self._looks.items() if one.is_wanted(now)}
            look = self._looks.setdefault((by, study.key, what), _Look())
        with look.lock:
            if look.is_fresh(now):
                return
            about = {"time": now, "site": study.site, "study_uid": study.study_uid}
            self._post(StudyViewed.model_validate(about | {"by": by, "role": role, "what": what}))
            look.stored_at = now
        with self._lock:
            self._open.pop((by, study.key, what), None)
            self._open[by, study.key, what] = None
            if len(self._open) > _OPEN:
                del self._open[next(iter(self._open))]

    def still_viewed(self, study: Study, by: str, role: Role, what: Sight) -> None:
        """A page asks for what has changed: no look, where the person has opened it. Else nobody would know of it."""
        if (by, study.key, what) not in self._open:
            self.viewed(study, by, role, what)

    def _about(self, study: Study, alert: Alert) -> _About:
        revision = study.result.revision if study.result else 1
        return {
            "time": self._now(),
            "site": study.site,
            "study_uid": study.study_uid,
            "alert_id": alert.alert_id,
            "revision": revision,
        }

    def _post(self, event: Event) -> None:
        with self._database.transaction():
            self._database.post(topic_of(event), encode(event), event.time.timestamp())
        self._show(event)

    def _show(self, event: Event) -> None:
        if isinstance(event, AlertEvent):  # who looked is for auditors, and on no page
            self._view.take(event, event.time)
        elif isinstance(event, RecordAct):
            self._view.box.note(event)


def _refuse_taken(alert: Alert, by: str) -> None:
    if alert.taken_by is not None and alert.taken_by != by:
        raise NotPossible(mark("Somebody else has taken this alert already."))


def _refuse_ended(alert: Alert) -> None:
    match alert.state:
        case AlertState.WITHDRAWN:
            raise NotPossible(mark("This alert was withdrawn: there is nothing left to do. The reason stands below."))
        case AlertState.DISMISSED:
            raise NotPossible(mark("This alert was dismissed as not a finding: there is nothing left to do."))
        case AlertState.CLOSED:
            raise NotPossible(mark("This alert is closed: there is nothing left to do."))
        case _:
            pass
