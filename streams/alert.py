"""Alert: does somebody have to look now? One alert for a study, whatever number of revisions and readings say so.

A second page goes out only when it became more urgent; an alert is withdrawn only by a final revision in which a model
looked at the series that it is about, and the finding is gone. That the AI failed later takes nothing back.

A study may be read twice, and the two results of a revision come in any order. A confirmed one counts over an
unconfirmed one. An unconfirmed finding pages at once where the site's rules say so; else it waits for the confirmation,
and pages all the same when none comes in time. Of images that were confirmed before, an unconfirmed result says nothing
new: what the second reading took back stays taken back.
"""

from datetime import datetime, timedelta
from uuid import UUID

from schemas.base import Digest, Event, Uid
from schemas.events import (
    AlertRaised,
    AlertWithdrawn,
    DeadlinePassed,
    Finding,
    KeyPicture,
    Outcome,
    Priority,
    StudyTriaged,
)
from schemas.identity import derived_id
from streams.hop import Step, StudyState
from streams.policy import judge
from streams.site import SiteRules, Sites


class StudyAlert(StudyState):
    """Where a study stands with its alert."""

    revision: int
    alert_id: UUID | None = None
    priority: Priority | None = None
    alerted: tuple[Uid, ...] = ()
    """The series with the findings that the alert is about, and those of the alerts that it took over."""
    confirmed_revision: int = 0
    """The newest revision with a confirmed result."""
    confirmed: tuple[Digest, ...] = ()
    """Contents of series whose readings were confirmed."""
    waiting: StudyTriaged | None = None
    """An unconfirmed result that pages when the deadline passes and no confirmation came."""


def alert(sites: Sites, event: Event, study: StudyAlert | None) -> Step[StudyAlert]:
    """One step of a study: a result, the end of a wait for a confirmation, or the end of its remembrance."""
    match event:
        case StudyTriaged() if study is None or not _overtaken(event, study):
            rules = sites.of(event.site)
            study = _with(study, event, rules)
            return _hint(rules, event, study) if event.unconfirmed else _word(rules, event, study)
        case DeadlinePassed() if study is not None and study.deadline == event.deadline:
            return _unanswered(sites.of(event.site), event, study)
        case _:
            return Step(study)


def _overtaken(event: StudyTriaged, study: StudyAlert) -> bool:
    return event.revision < study.revision or (event.unconfirmed and event.revision <= study.confirmed_revision)


def _with(study: StudyAlert | None, event: StudyTriaged, rules: SiteRules) -> StudyAlert:
    """The row after a result, before anything is decided. A wait that has begun keeps its deadline."""
    if study is None:
        study = StudyAlert(site=event.site, study_uid=event.study_uid, revision=event.revision)
    kept = event.time + timedelta(seconds=rules.completeness.keep_s)
    deadline = study.deadline if study.waiting else kept
    return study.model_copy(update={"revision": event.revision, "deadline": deadline})


def _word(rules: SiteRules, event: StudyTriaged, study: StudyAlert) -> Step[StudyAlert]:
    """A confirmed result, or one that needs no confirmation."""
    if _looked(event):
        read = {series.reading.content for series in event.series if series.reading and not series.reading.refused}
        study = study.model_copy(
            update={
                "confirmed_revision": event.revision,
                "confirmed": tuple(sorted({*study.confirmed, *read})),
            }
        )
        if _answers(event, study):
            study = _rested(rules, event, study)
    pages = event.outcome is Outcome.FINDINGS and event.priority in rules.alerts.page
    if pages and _outranks(event.priority, study.priority):
        reason = judge(rules.alerts, event.findings).reason
        return _raise(event, event, study, event.priority, reason)
    if study.alert_id is None:
        return Step(study)
    if pages:
        return Step(study.model_copy(update={"alerted": _alerted(study, event)}))
    # A row of an older version does not know its series: its alert stands.
    if _looked(event) and event.final and study.alerted and set(study.alerted) <= _read(event):
        return _withdraw(event, study, study.alert_id)
    return Step(study)


def _hint(rules: SiteRules, event: StudyTriaged, study: StudyAlert) -> Step[StudyAlert]:
    """An unconfirmed result: what in it is new pages now, waits, or does neither. It withdraws nothing."""
    new = _new_findings(event, study)
    in_full, at_once = judge(rules.alerts, new), judge(rules.alerts, new, unconfirmed=True)
    step = Step(study)
    if at_once.priority in rules.alerts.page and _outranks(at_once.priority, study.priority):
        step = _raise(event, event, study, at_once.priority, f"{at_once.reason}; not confirmed yet")
    after = step.state
    assert after is not None
    if in_full.priority not in rules.alerts.page or not _outranks(in_full.priority, after.priority):
        return step
    until = after.deadline if after.waiting else event.time + timedelta(seconds=rules.alerts.confirm_within_s)
    waiting = event if _answers(event, after) else after.waiting
    return Step(after.model_copy(update={"waiting": waiting, "deadline": until}), step.events)


def _unanswered(rules: SiteRules, event: DeadlinePassed, study: StudyAlert) -> Step[StudyAlert]:
    """The deadline is over: of the wait for a confirmation, or of the remembrance."""
    waiting = study.waiting
    if waiting is None:
        return Step(None)
    study = _rested(rules, event, study)
    verdict = judge(rules.alerts, _new_findings(waiting, study))
    if verdict.priority not in rules.alerts.page or not _outranks(verdict.priority, study.priority):
        return Step(study)
    reason = f"{verdict.reason}; not confirmed within {rules.alerts.confirm_within_s:g} s"
    return _raise(event, waiting, study, verdict.priority, reason)


def _answers(event: StudyTriaged, study: StudyAlert) -> bool:
    """Whether all series of the findings that wait were read again; a wait for others goes on."""
    return study.waiting is None or _series_of(study.waiting.findings) <= _read(event)


def _rested(rules: SiteRules, event: Event, study: StudyAlert) -> StudyAlert:
    """The row without a wait."""
    kept = event.time + timedelta(seconds=rules.completeness.keep_s)
    return study.model_copy(update={"waiting": None, "deadline": kept})


def _looked(event: StudyTriaged) -> bool:
    return event.outcome in (Outcome.FINDINGS, Outcome.NO_FINDINGS)


def _read(event: StudyTriaged) -> set[Uid]:
    """The series at which a model looked."""
    return {one.series_uid for one in event.series if one.reading is not None and one.reading.refused is None}


def _series_of(findings: tuple[Finding, ...]) -> set[Uid]:
    return {finding.series_uid for finding in findings}


def _alerted(study: StudyAlert, result: StudyTriaged) -> tuple[Uid, ...]:
    """The series that have to be read again before the alert may be withdrawn, with those of a result added."""
    return tuple(sorted({*study.alerted, *_series_of(result.findings)}))


def _new_findings(event: StudyTriaged, study: StudyAlert) -> tuple[Finding, ...]:
    """The findings in images of which no confirmed reading has been heard."""
    known = {
        series.series_uid for series in event.series if series.reading and series.reading.content in study.confirmed
    }
    return tuple(finding for finding in event.findings if finding.series_uid not in known)


def _outranks(priority: Priority, other: Priority | None) -> bool:
    return other is None or priority.rank < other.rank


def _raise(event: Event, result: StudyTriaged, study: StudyAlert, priority: Priority, reason: str) -> Step[StudyAlert]:
    """An alert about a result, raised by an event: the result itself, or the end of the wait for another."""
    assert result.provenance is not None, "findings come from a model"
    raised = AlertRaised(
        time=event.time,
        site=result.site,
        study_uid=result.study_uid,
        alert_id=derived_id("alert", result.key, result.revision, priority),
        revision=result.revision,
        priority=priority,
        findings=result.findings,
        reason=reason,
        provenance=result.provenance,
        final=result.final,
        replaces=study.alert_id,
        result=result.event_id,
        picture=_picture(result),
        last_image_at=result.last_image_at,
    )
    events: list[Event] = [raised]
    if study.alert_id is not None:
        taken_over = "a more urgent alert took over"
        events.append(_withdrawal(result, raised.time, study.alert_id, taken_over, raised.alert_id))
    raising = {"alert_id": raised.alert_id, "priority": priority, "alerted": _alerted(study, result)}
    return Step(study.model_copy(update=raising), tuple(events))


def _picture(result: StudyTriaged) -> KeyPicture | None:
    """Of the series with the first finding."""
    for series in result.series:
        reading = series.reading
        if series.series_uid == result.findings[0].series_uid and series.manifest and reading and reading.label_map:
            return KeyPicture(
                series_uid=series.series_uid,
                manifest=series.manifest,
                label_map=reading.label_map,
                provenance=reading.provenance,
            )
    return None


def _withdraw(event: StudyTriaged, study: StudyAlert, alert_id: UUID) -> Step[StudyAlert]:
    reason = f"revision {event.revision} took the finding back: {event.reason}"
    return Step(
        study.model_copy(update={"alert_id": None, "priority": None, "alerted": ()}),
        (_withdrawal(event, event.time, alert_id, reason, None),),
    )


def _withdrawal(
    event: StudyTriaged, at: datetime, alert_id: UUID, reason: str, replaced_by: UUID | None
) -> AlertWithdrawn:
    return AlertWithdrawn(
        time=at,
        site=event.site,
        study_uid=event.study_uid,
        alert_id=alert_id,
        revision=event.revision,
        reason=reason,
        replaced_by=replaced_by,
    )
