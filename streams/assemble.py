"""Assemble: when has a study arrived? Decided on evidence, revision by revision.

A series worth triaging that forms a stack without gaps, after the association that sent it was released, goes out at
once in a provisional revision. The quiet time of the site makes a revision final; the cap ends a study whose images
never stop. Late images open the study again and the next revision carries them too. Nothing is ever taken away.
"""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from schemas.base import Event, Record, SortedSet, Uid, Utc
from schemas.events import BatchEnd, ClosingReason, DeadlinePassed, Evidence, Series, SeriesReceived, StudyAssembled
from streams.hop import Step, StudyState
from streams.route import route
from streams.site import Sites

REVISIONS_PER_BATCH = 2
"""A batch leads to one provisional revision at the most, and to one final one."""


class Batch(Record):
    """The newest batch of a series, which says all there is of it."""

    number: Annotated[int, Field(ge=1)]
    at: Utc
    end: BatchEnd
    open_associations: int
    series: Series


class OpenStudy(StudyState):
    """A study as far as it has arrived."""

    opened_at: Utc = Field(description="First batch since the last final revision")
    last_batch_at: Utc
    closed: bool = False
    revision: int = Field(description="Number of the newest revision, or where to count from")
    carried: SortedSet[str] = Field(default=frozenset(), description="Series contents that went out already")
    series: dict[Uid, Batch]

    @property
    def open_since(self) -> datetime | None:
        """Since when it waits for its final revision."""
        return None if self.closed else self.opened_at


def assemble(sites: Sites, event: Event, study: OpenStudy | None) -> Step[OpenStudy]:
    """One step of a study: a batch of images that arrived, or a deadline that passed."""
    match event:
        case SeriesReceived():
            return _arrived(sites, event, study)
        case DeadlinePassed() if study is not None and study.deadline == event.deadline:
            return _waited(sites, event, study)
        case _:
            return Step(study)


def _arrived(sites: Sites, event: SeriesReceived, study: OpenStudy | None) -> Step[OpenStudy]:
    uid = event.series.series_uid
    known = study.series.get(uid) if study else None
    if known is not None and event.batch <= known.number and event.time <= known.at:
        return Step(study)  # delivered before
    batch = Batch(
        number=event.batch,
        at=event.time,
        end=event.batch_end,
        open_associations=event.open_associations,
        series=event.series,
    )
    if study is None:
        # Numbers go on above those of a study that was finished and forgotten.
        revision = REVISIONS_PER_BATCH * (event.study_batch - 1)
        study = OpenStudy(
            site=event.site,
            study_uid=event.study_uid,
            opened_at=event.time,
            last_batch_at=event.time,
            revision=revision,
            series={},
        )
    study = study.model_copy(
        update={
            "opened_at": event.time if study.closed else study.opened_at,
            "last_batch_at": max(event.time, study.last_batch_at),
            "closed": False,
            "series": study.series | {uid: batch},
        }
    )
    study = study.model_copy(update={"deadline": min(_quiet_end(sites, study), _cap_end(sites, study))})
    news = batch.series.manifest.digest not in study.carried
    if news and _missing(batch) is None and route(batch.series, sites.of(event.site).routes).route:
        return _revise(study, event.time, ClosingReason.CONTIGUOUS)
    return Step(study)


def _waited(sites: Sites, event: DeadlinePassed, study: OpenStudy) -> Step[OpenStudy]:
    if study.closed:
        return Step(None)
    quiet = _quiet_end(sites, study) <= event.deadline
    step = _revise(study, event.time, ClosingReason.QUIET if quiet else ClosingReason.CAP)
    keep = timedelta(seconds=sites.of(study.site).completeness.keep_s)
    assert step.state is not None
    return Step(step.state.model_copy(update={"closed": True, "deadline": event.deadline + keep}), step.events)


def _revise(study: OpenStudy, at: datetime, reason: ClosingReason) -> Step[OpenStudy]:
    final = reason is not ClosingReason.CONTIGUOUS
    # A provisional revision carries what is complete; the rest is on its way and would be read twice.
    carried = [batch.series for batch in study.series.values() if final or _missing(batch) is None]
    evidence = [_evidence(batch) for batch in study.series.values()]
    if reason is ClosingReason.QUIET:
        waited = (at - study.last_batch_at).total_seconds()
        evidence.append(Evidence(observation=f"no image for {waited:.0f} s", complete=True))
    elif reason is ClosingReason.CAP:
        evidence.append(Evidence(observation="images kept arriving until the longest time allowed", complete=False))
    assembled = StudyAssembled(
        time=at,
        site=study.site,
        study_uid=study.study_uid,
        revision=study.revision + 1,
        final=final,
        reason=reason,
        confidence=sum(one.complete for one in evidence) / len(evidence),
        evidence=tuple(evidence),
        series=tuple(sorted(carried, key=lambda series: series.series_uid)),
        supersedes=study.revision or None,
    )
    contents = frozenset(series.manifest.digest for series in carried)
    state = study.model_copy(update={"revision": assembled.revision, "carried": contents})
    return Step(state, (assembled,))


def _quiet_end(sites: Sites, study: OpenStudy) -> datetime:
    modalities = {batch.series.modality for batch in study.series.values()}
    return study.last_batch_at + timedelta(seconds=sites.of(study.site).completeness.quiet_for(modalities))


def _cap_end(sites: Sites, study: OpenStudy) -> datetime:
    return study.opened_at + timedelta(seconds=sites.of(study.site).completeness.cap_s)


def _evidence(batch: Batch) -> Evidence:
    missing = _missing(batch)
    whole = f"{batch.series.instances} instances, a stack without gaps, association {batch.end}"
    return Evidence(observation=missing or whole, series_uid=batch.series.series_uid, complete=missing is None)


def _missing(batch: Batch) -> str | None:
    """What speaks against a series being complete; None where nothing does."""
    series, geometry = batch.series, batch.series.geometry
    if batch.open_associations:
        return "another association is still sending it"
    if batch.end not in (BatchEnd.RELEASED, BatchEnd.RECOVERED):
        return f"its association ended as {batch.end}"
    if series.expected_instances is not None and series.instances < series.expected_instances:
        return f"{series.instances} instances of {series.expected_instances}"
    if series.missing_objects:
        return f"{series.missing_objects} stored objects are gone"
    if geometry is None:
        return "its instances form no stack"
    if not geometry.contiguous:
        gaps = sum(gap.missing for gap in geometry.gaps)
        return f"{gaps} slices missing between others" if gaps else "its slices form no stack"
    return None
