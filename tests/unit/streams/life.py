"""The life of one alert, heard event by event; its row goes through JSON each time, as it would over a restart."""

from datetime import datetime
from typing import Any
from uuid import UUID

from schemas.base import Event
from schemas.events import AlertEvent, AlertRaised, DeadlinePassed
from schemas.paging import AlertPaged
from streams.escalate import OpenAlert, escalate
from streams.on_call import Chain, Paging
from streams.site import Completeness, SiteRules, Sites
from tests.unit.streams.examples import PROVENANCE, STUDY, at, finding

KEEP_S = 24 * 3600.0
CHAIN = Chain(name="always", steps=(("first",), ("second", "third"), ("fourth",)))


def sites(**paging: Any) -> Sites:
    rules = SiteRules(completeness=Completeness(keep_s=KEEP_S), paging=Paging(**{"chains": (CHAIN,), **paging}))
    return Sites({"suwon": rules})


def raised(number: int = 1, **changes: Any) -> AlertRaised:
    alert: dict[str, Any] = {
        "time": at(0),
        "site": "suwon",
        "study_uid": STUDY,
        "alert_id": UUID(int=number),
        "revision": 1,
        "priority": "stat",
        "findings": (finding(),),
        "reason": "Intracranial hemorrhage, 20.0 ml",
        "provenance": PROVENANCE,
        "final": False,
        "result": UUID(int=100 + number),
        "last_image_at": at(0),
    }
    return AlertRaised(**{**alert, **changes})


class Life:
    """What an alert's row is, and what was sent about it."""

    def __init__(self, rules: Sites, alert: AlertRaised) -> None:
        self.rules = rules
        self.alert = alert
        self.row: OpenAlert | None = None
        self.sent: list[Event] = []

    def hear(self, event: Event) -> tuple[Event, ...]:
        step = escalate(self.rules, event, self.row)
        assert step == escalate(self.rules, event, self.row), "it decides as it did"
        self.row = step.state and OpenAlert.model_validate_json(step.state.model_dump_json())
        assert self.row == step.state
        self.sent += step.events
        return step.events

    def about(self, kind: type[AlertEvent], after: float, **said: Any) -> AlertEvent:
        """An event of this alert, some seconds after the start."""
        alert = self.alert
        about = {"site": alert.site, "study_uid": alert.study_uid, "alert_id": alert.alert_id, "revision": 1}
        return kind(**{**about, "time": at(after), **said})

    def tell(self, kind: type[AlertEvent], after: float, **said: Any) -> tuple[Event, ...]:
        return self.hear(self.about(kind, after, **said))

    def passed(self, time: datetime | None = None) -> DeadlinePassed:
        """The end of the wait as the clock says it."""
        assert self.row is not None
        assert self.row.deadline is not None
        return DeadlinePassed(
            time=time or self.row.deadline,
            site=self.row.site,
            study_uid=self.row.study_uid,
            alert_id=self.row.of_alert,
            hop="escalate",
            deadline=self.row.deadline,
        )

    def wait(self) -> tuple[Event, ...]:
        """Nothing happens until the deadline passes."""
        return self.hear(self.passed())

    @property
    def page(self) -> AlertPaged:
        return [event for event in self.sent if isinstance(event, AlertPaged)][-1]


def kinds(events: tuple[Event, ...] | list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]
