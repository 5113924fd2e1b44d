"""Results to deliver."""

from typing import Any

from schemas.events import Outcome, Priority, SeriesDecision, StudyTriaged
from schemas.identity import derived_id
from tests.unit.streams.examples import PROVENANCE, STUDY, at, finding, stored

PACS = "suwon/pacs"


def triaged(revision: int = 1, *, unconfirmed: bool = False, study: str = STUDY, **changes: Any) -> StudyTriaged:
    findings = changes.pop("findings", (finding(),))
    event: dict[str, Any] = {
        "time": at(10.0 * revision),
        "site": "suwon",
        "study_uid": study,
        "revision": revision,
        "final": not unconfirmed,
        "unconfirmed": unconfirmed,
        "outcome": Outcome.FINDINGS if findings else Outcome.NO_FINDINGS,
        "reason": "a bleed" if findings else "nothing seen",
        "priority": Priority.STAT if findings else Priority.ROUTINE,
        "findings": findings,
        "provenance": PROVENANCE,
        "series": (SeriesDecision(series_uid="2.25.10", model="ich@1", reason="head", manifest=stored("manifest")),),
        "supersedes": revision - 1 or None,
        "assembled": derived_id(study, revision),
        "last_image_at": at(0),
    }
    return StudyTriaged(**{**event, **changes})
