"""What the readings of its series say of a study: the outcome, how urgent it is, and why.

A series that could not be read makes the study ``failed``, and one a model refused to judge was not looked at: neither
is ever ``no_findings``. Where nothing was found, the reason says what may have hidden it. Silence must not look like
health.
"""

from collections.abc import Sequence

from schemas.events import (
    Finding,
    Outcome,
    Priority,
    Provenance,
    Reading,
    SeriesDecision,
    StudyAssembled,
    StudyTriaged,
)
from streams.policy import AlertPolicy, judge


def conclude(
    policy: AlertPolicy,
    study: StudyAssembled,
    decisions: Sequence[SeriesDecision],
    *,
    unconfirmed: bool = False,
    remarks: Sequence[str] = (),
) -> StudyTriaged:
    """The result of a study. ``remarks`` end its reason; one that is ``unconfirmed`` is never final."""
    spoken = [one.reading for one in decisions if one.reading is not None]
    readings = [reading for reading in spoken if reading.refused is None]
    refused = sorted({f"{_name(reading)}: {reading.refused}" for reading in spoken if reading.refused is not None})
    failures = sorted({one.reason for one in decisions if one.model and one.reading is None})
    findings = tuple(finding for reading in readings for finding in reading.findings)
    verdict = judge(policy, findings)
    if findings:
        outcome, reasons = Outcome.FINDINGS, [verdict.reason, *failures, *refused]
    elif failures:
        outcome, reasons = Outcome.FAILED, failures
    elif readings:
        seen = sorted({_name(reading) for reading in readings})
        cautions = sorted({f"caution: {caution}" for reading in readings for caution in reading.cautions})
        outcome, reasons = Outcome.NO_FINDINGS, [f"{', '.join(seen)} reported nothing", *cautions, *refused]
    else:
        turned_away = {one.reason for one in decisions if one.reading is None}
        outcome, reasons = Outcome.NOT_APPLICABLE, sorted({*turned_away, *refused}) or ["the study has no series"]
    driving = max(readings, key=_total_volume_ml, default=None)
    return _triaged(
        study,
        decisions,
        outcome,
        "; ".join([*reasons, *remarks]),
        final=study.final and not unconfirmed,
        unconfirmed=unconfirmed,
        priority=verdict.priority,
        findings=findings,
        provenance=driving.provenance if driving else None,
    )


def unread(study: StudyAssembled, why: str, reason: str, *, final: bool, unconfirmed: bool) -> StudyTriaged:
    """The result of a study that no model has looked at: ``why`` for each series, ``reason`` for all."""
    decisions = [
        SeriesDecision(series_uid=one.series_uid, model=None, reason=why, manifest=one.manifest) for one in study.series
    ]
    return _triaged(study, decisions, Outcome.FAILED, reason, final=final, unconfirmed=unconfirmed)


def _name(reading: Reading) -> str:
    return f"{reading.provenance.model}@{reading.provenance.version}"


def _total_volume_ml(reading: Reading) -> float:
    return sum(finding.volume_ml for finding in reading.findings)


def _triaged(
    study: StudyAssembled,
    decisions: Sequence[SeriesDecision],
    outcome: Outcome,
    reason: str,
    *,
    final: bool,
    unconfirmed: bool,
    priority: Priority = Priority.ROUTINE,
    findings: tuple[Finding, ...] = (),
    provenance: Provenance | None = None,
) -> StudyTriaged:
    answered = [decision.reading.completed_at for decision in decisions if decision.reading is not None]
    return StudyTriaged(
        time=max([study.time, *answered]),
        site=study.site,
        study_uid=study.study_uid,
        revision=study.revision,
        final=final,
        unconfirmed=unconfirmed,
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
