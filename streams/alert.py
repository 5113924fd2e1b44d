"""Alert: does somebody have to look now? One alert for a study, whatever number of revisions say so.

A second page goes out only when it became more urgent; an alert is withdrawn only by a final revision in which a model
looked and the finding is gone. That the AI failed later takes nothing back.
"""

from datetime import timedelta
from uuid import UUID

from schemas.base import Event
from schemas.events import AlertRaised, AlertWithdrawn, DeadlinePassed, Outcome, Priority, StudyTriaged
from schemas.identity import derived_id
from streams.hop import Step, StudyState
from streams.policy import judge
from streams.site import Sites


class StudyAlert(StudyState):
    """Where a study stands with its alert."""

    revision: int
    alert_id: UUID | None = None
    priority: Priority | None = None


def alert(sites: Sites, event: Event, study: StudyAlert | None) -> Step[StudyAlert]:
    """One step of a study: a result, or the end of its remembrance."""
    match event:
        case StudyTriaged():
            return _judged(sites, event, study)
        case DeadlinePassed() if study is not None and study.deadline == event.deadline:
            return Step(None)
        case _:
            return Step(study)


def _judged(sites: Sites, event: StudyTriaged, study: StudyAlert | None) -> Step[StudyAlert]:
    if study is not None and event.revision < study.revision:
        return Step(study)  # overtaken
    site = sites.of(event.site)
    study = StudyAlert(
        site=event.site,
        study_uid=event.study_uid,
        revision=event.revision,
        alert_id=study.alert_id if study else None,
        priority=study.priority if study else None,
        deadline=event.time + timedelta(seconds=site.completeness.keep_s),
    )
    pages = event.outcome is Outcome.FINDINGS and event.priority in site.alerts.page
    if pages and (study.priority is None or event.priority.rank < study.priority.rank):
        return _raise(sites, event, study)
    looked = event.outcome in (Outcome.FINDINGS, Outcome.NO_FINDINGS)
    if study.alert_id and looked and event.final and not pages:
        return _withdraw(event, study, study.alert_id)
    return Step(study)


def _raise(sites: Sites, event: StudyTriaged, study: StudyAlert) -> Step[StudyAlert]:
    assert event.provenance is not None, "findings come from a model"
    raised = AlertRaised(
        time=event.time,
        site=event.site,
        study_uid=event.study_uid,
        alert_id=derived_id("alert", event.key, event.revision, event.priority),
        revision=event.revision,
        priority=event.priority,
        findings=event.findings,
        reason=judge(sites.of(event.site).alerts, event.findings).reason,
        provenance=event.provenance,
        final=event.final,
        replaces=study.alert_id,
        result=event.event_id,
        last_image_at=event.last_image_at,
    )
    events: list[Event] = [raised]
    if study.alert_id is not None:
        events.append(_withdrawal(event, study.alert_id, "a more urgent alert took over", raised.alert_id))
    return Step(study.model_copy(update={"alert_id": raised.alert_id, "priority": raised.priority}), tuple(events))


def _withdraw(event: StudyTriaged, study: StudyAlert, alert_id: UUID) -> Step[StudyAlert]:
    reason = f"revision {event.revision} took the finding back: {event.reason}"
    return Step(
        study.model_copy(update={"alert_id": None, "priority": None}), (_withdrawal(event, alert_id, reason, None),)
    )


def _withdrawal(event: StudyTriaged, alert_id: UUID, reason: str, replaced_by: UUID | None) -> AlertWithdrawn:
    return AlertWithdrawn(
        time=event.time,
        site=event.site,
        study_uid=event.study_uid,
        alert_id=alert_id,
        revision=event.revision,
        reason=reason,
        replaced_by=replaced_by,
    )
