"""Pages to deliver, and channels that do as they are told."""

from datetime import timedelta
from typing import Any

from gateways.alerts.channel import Message
from gateways.alerts.ledger import Ledger, State
from gateways.alerts.settings import SAYS, Language
from gateways.alerts.wording import Wording
from schemas.events import AlertWithdrawn, Priority
from schemas.identity import derived_id
from schemas.paging import AlertPaged, PageReason
from tests.unit.streams.examples import STUDY, at, finding

BEGAN = at(0).timestamp()
LINK = "http://127.0.0.1:8080/alerts/{alert_id}"


def paged(alert: int = 1, attempt: int = 1, **changes: Any) -> AlertPaged:
    begin = changes.get("time", at(0))
    event: dict[str, Any] = {
        "time": begin,
        "site": "suwon",
        "study_uid": STUDY,
        "alert_id": derived_id("alert", alert),
        "revision": 1,
        "attempt": attempt,
        "step": 0,
        "chain": "night",
        "recipients": ("kim",),
        "why": PageReason.RAISED,
        "deliver_by": begin + timedelta(seconds=60),
        "answer_by": begin + timedelta(seconds=600),
        "priority": Priority.STAT,
        "findings": (finding(),),
        "reason": "a bleed",
    }
    return AlertPaged(**{**event, **changes})


def withdrawn(alert: int = 1, **changes: Any) -> AlertWithdrawn:
    event: dict[str, Any] = {
        "time": at(30),
        "site": "suwon",
        "study_uid": STUDY,
        "alert_id": derived_id("alert", alert),
        "revision": 2,
        "reason": "a later revision took the finding back",
    }
    return AlertWithdrawn(**{**event, **changes})


def wording(language: Language = "en", **changes: Any) -> Wording:
    given: dict[str, Any] = {"site": "suwon", "recipient": "kim", "says": SAYS, "link": LINK} | changes
    return Wording(language=language, **given)


def states(ledger: Ledger) -> dict[str, State]:
    """Every message by its key."""
    return {key: State(state) for key, state in ledger._rows("SELECT key, state FROM owed ORDER BY id")}


class Obedient:
    """Answers as ``answers`` says, in turn: text, or a failure to raise; then 200 for ever."""

    kind = "webhook"

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[Message] = []
        self.reached = 0

    def send(self, message: Message) -> str:
        self.sent.append(message)
        answer = self.answers.pop(0) if self.answers else "HTTP 200"
        if isinstance(answer, Exception):
            raise answer
        return answer

    def reach(self) -> bool:
        self.reached += 1
        return False
