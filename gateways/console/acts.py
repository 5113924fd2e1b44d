"""What people do, as events: on disk before they are told that it is done, and in Kafka as soon as it is there."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, TypedDict
from uuid import UUID

from gateways.console.alert import Alert, AlertState
from gateways.console.study import Study
from gateways.console.terms import mark
from gateways.console.view import View
from gateways.outbox.database import OutboxDatabase
from schemas.audit import Role, Sight, StudyViewed
from schemas.base import Event
from schemas.envelope import decode, encode
from schemas.events import AlertEvent
from schemas.paging import AlertAcknowledged, AlertDismissed, AlertHandedOn, AlertSeen
from schemas.topics import topic_of

_LOOK: Final = timedelta(minutes=1)


class NotPossible(Exception):
    """The alert has moved on; the text is a sentence of the catalogue that says why."""


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
        self._looks: dict[tuple[str, str, Sight], datetime] = {}

    def recall(self) -> None:
        """Put into the view what still waits for the broker since before a restart."""
        for row in self._database.outbox(100_000):
            self._show(decode(row.message.headers, row.message.value))

    def seen(self, study: Study, alert: Alert, by: str) -> None:
        """A person has opened an alert that waits for somebody. The second time says nothing new."""
        if not alert.ended and by not in alert.seen:
            self._post(AlertSeen(**self._about(study, alert), by=by))

    def acknowledge(self, study: Study, alert: Alert, by: str) -> None:
        """A person takes an alert. Raises :class:`NotPossible`."""
        _refuse_ended(alert)
        if alert.taken_by is not None and alert.taken_by != by:
            raise NotPossible(mark("Somebody else has taken this alert already."))
        if by not in alert.acknowledged:
            self._post(AlertAcknowledged(**self._about(study, alert), by=by))

    def hand_on(self, study: Study, alert: Alert, by: str) -> None:
        """A person asks for the next one. Raises :class:`NotPossible`."""
        _refuse_ended(alert)
        if not alert.pages:
            raise NotPossible(mark("Nobody has been paged about this alert yet, so there is nobody it could go on to."))
        if (by, alert.attempt) not in alert.handed_on:
            self._post(AlertHandedOn(**self._about(study, alert), by=by, attempt=alert.attempt))

    def dismiss(self, study: Study, alert: Alert, by: str, reason: str) -> None:
        """A person says that it is no finding. Raises :class:`NotPossible`."""
        _refuse_ended(alert)
        self._post(AlertDismissed(**self._about(study, alert), by=by, reason=reason))

    def viewed(self, study: Study, by: str, role: Role, what: Sight) -> None:
        """A person looks at a study. What they look at within a minute is one look."""
        now, look = self._now(), (by, study.key, what)
        with self._lock:
            self._looks = {one: at for one, at in self._looks.items() if now - at < _LOOK}
            if look in self._looks:
                return
            self._looks[look] = now
        about = {"time": now, "site": study.site, "study_uid": study.study_uid}
        self._post(StudyViewed.model_validate(about | {"by": by, "role": role, "what": what}))

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
