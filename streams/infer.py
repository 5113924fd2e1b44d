"""Infer: what do the models see in a study? Every series is either shown to a model or has its reason why not.

A series that could not be read makes the study ``failed``, never ``no_findings``: silence must not look like health.
"""

from schemas.base import Event
from schemas.events import (
    Finding,
    Outcome,
    Priority,
    Provenance,
    Reading,
    Series,
    SeriesDecision,
    StudyAssembled,
    StudyTriaged,
)
from schemas.failures import Unavailable, Unreadable
from streams.policy import judge
from streams.ports import Inference
from streams.route import route
from streams.site import Sites


async def infer(sites: Sites, inference: Inference, event: Event) -> tuple[StudyTriaged, ...]:
    """Read every series of the study that a route takes, and judge what was found.

    Raises :class:`schemas.failures.Unavailable` where the model server or the store is away.
    """
    if not isinstance(event, StudyAssembled):
        return ()
    decisions = [await _decide(sites, inference, event, series) for series in event.series]
    return (_conclude(sites, event, decisions),)


def waiting(event: Event, error: Unavailable) -> tuple[StudyTriaged, ...]:
    """What to tell everybody while the models are away: the AI did not run. The true result supersedes it."""
    return _unread(event, "not read yet", f"AI did not run yet: {error}")


def failed(event: Event) -> tuple[StudyTriaged, ...]:
    """What to tell everybody when a fault of ours keeps a study from being read."""
    return _unread(event, "not read", "AI failed on this study; the operator finds it in the dead letters")


def _unread(event: Event, why: str, reason: str) -> tuple[StudyTriaged, ...]:
    if not isinstance(event, StudyAssembled):
        return ()
    decisions = [SeriesDecision(series_uid=one.series_uid, model=None, reason=why) for one in event.series]
    return (_triaged(event, decisions, Outcome.FAILED, reason, Priority.ROUTINE, (), None),)


async def _decide(sites: Sites, inference: Inference, study: StudyAssembled, series: Series) -> SeriesDecision:
    routing = route(series, sites.of(study.site).routes)
    if routing.route is None:
        return SeriesDecision(series_uid=series.series_uid, model=None, reason=routing.reason)
    name = f"{routing.route.model}@{routing.route.version}"
    try:
        model = await inference.identify(routing.route.model, routing.route.version)
        reading = await inference.read(study.site, study.study_uid, series, model)
    except Unreadable as error:
        return SeriesDecision(series_uid=series.series_uid, model=name, reason=f"not read: {error}")
    return SeriesDecision(series_uid=series.series_uid, model=name, reason=routing.reason, reading=reading)


def _conclude(sites: Sites, study: StudyAssembled, decisions: list[SeriesDecision]) -> StudyTriaged:
    readings = [decision.reading for decision in decisions if decision.reading is not None]
    failures = [decision.reason for decision in decisions if decision.model and decision.reading is None]
    findings = tuple(finding for reading in readings for finding in reading.findings)
    verdict = judge(sites.of(study.site).alerts, findings)
    if findings:
        outcome, reason = Outcome.FINDINGS, verdict.reason
    elif failures:
        outcome, reason = Outcome.FAILED, "; ".join(sorted(set(failures)))
    elif readings:
        seen = sorted({f"{reading.provenance.model}@{reading.provenance.version}" for reading in readings})
        outcome, reason = Outcome.NO_FINDINGS, f"{', '.join(seen)} reported nothing"
    else:
        refusals = sorted({decision.reason for decision in decisions})
        outcome, reason = Outcome.NOT_APPLICABLE, "; ".join(refusals) or "the study has no series"
    driving = max(readings, key=_total_volume_ml, default=None)
    return _triaged(
        study, decisions, outcome, reason, verdict.priority, findings, driving.provenance if driving else None
    )


def _total_volume_ml(reading: Reading) -> float:
    return sum(finding.volume_ml for finding in reading.findings)


def _triaged(
    study: StudyAssembled,
    decisions: list[SeriesDecision],
    outcome: Outcome,
    reason: str,
    priority: Priority,
    findings: tuple[Finding, ...],
    provenance: Provenance | None,
) -> StudyTriaged:
    answered = [decision.reading.completed_at for decision in decisions if decision.reading is not None]
    return StudyTriaged(
        time=max([study.time, *answered]),
        site=study.site,
        study_uid=study.study_uid,
        revision=study.revision,
        final=study.final,
        outcome=outcome,
        reason=reason,
        priority=priority,
        findings=findings,
        provenance=provenance,
        series=tuple(decisions),
        supersedes=study.supersedes,
        assembled=study.event_id,
        last_image_at=max((series.last_image_at for series in study.series), default=study.time),
    )
