"""Events in words, for a terminal: one line of what happened, and the lines of why."""

from collections.abc import Iterable

from gateways.text import printable as printable
from schemas.alarms import AlarmCleared, AlarmRaised
from schemas.audit import (
    AuditExported,
    LetterDiscarded,
    LetterRequeued,
    RecordsDropped,
    ReplayFinished,
    ReplayStarted,
    SegmentArchived,
    StudyViewed,
)
from schemas.base import Event
from schemas.deliveries import (
    ResultArchived,
    ResultHeld,
    ResultRejected,
    WorklistRejected,
    WorklistUpdated,
)
from schemas.events import (
    AlertRaised,
    AlertWithdrawn,
    DeadlinePassed,
    Finding,
    InstanceQuarantined,
    Series,
    SeriesDecision,
    SeriesReceived,
    StudyAssembled,
    StudyTriaged,
)
from schemas.paging import (
    AlertAcknowledged,
    AlertClosed,
    AlertDeferred,
    AlertDelivered,
    AlertDismissed,
    AlertEscalated,
    AlertHandedOn,
    AlertPaged,
    AlertRefused,
    AlertSeen,
    AlertUndelivered,
)
from schemas.steps import Handled, StepTaken
from streams.dead_letters import Obituary


def kind(what: Event | Obituary) -> str:
    """``StudyTriaged``; ``DeadLetter`` for what could not be handled."""
    return type(what).__name__ if isinstance(what, Event) else "DeadLetter"


def summary(what: Event | Obituary) -> str:
    """What happened, in one line."""
    match what:
        case SeriesReceived():
            return (
                f"{what.series.modality or 'series'}, {what.series.instances} instances,"
                f" batch {what.batch} {what.batch_end}, from {what.sending_ae}"
            )
        case InstanceQuarantined():
            return f"kept aside, from {what.sending_ae}: {what.reason}"
        case DeadlinePassed():
            return f"{what.hop} had waited until {what.deadline:%H:%M:%S}"
        case StudyAssembled():
            return f"{_revision(what)}, {len(what.series)} series, closed because {what.reason}"
        case StudyTriaged():
            return f"{_revision(what)}, {what.outcome}, {what.priority}: {what.reason}"
        case AlertRaised():
            return f"{what.priority}: {what.reason}"
        case AlertWithdrawn():
            return f"{what.reason}"
        case AlertPaged():
            people = ", ".join(what.recipients)
            return f"page {what.attempt}, {what.why}, to {people} ({what.chain}); answer by {what.answer_by:%H:%M:%S}"
        case AlertDeferred():
            return f"page {what.attempt} waits until {what.until:%Y-%m-%d %H:%M:%S}: {what.reason}"
        case AlertDelivered():
            return f"page {what.attempt} reached {what.recipient} by {what.channel}: {what.answer}"
        case AlertUndelivered():
            failed = "did not reach" if what.tried else "was not tried for"
            return f"page {what.attempt} {failed} {what.recipient}: {what.reason}"
        case AlertSeen():
            return f"by {what.by}"
        case AlertAcknowledged():
            return f"{what.by} has taken it"
        case AlertDismissed():
            return f"by {what.by}: {what.reason}"
        case AlertHandedOn():
            return f"{what.by} asks for the next after page {what.attempt}"
        case AlertEscalated():
            return f"page {what.attempt} goes to step {what.step + 1}: {what.why}"
        case AlertClosed():
            return what.reason + (f" by {what.by}" if what.by else "")
        case AlertRefused():
            return f"{what.asked.removeprefix('sinsok.')} of {what.by}: {what.reason}"
        case ResultArchived():
            kinds = ", ".join(one.kind.replace("_", " ") for one in what.objects)
            return f"revision {what.revision} in {what.destination}: {kinds}; proof: {what.proof}"
        case ResultHeld():
            return f"revision {what.revision} held before {what.destination}: {what.reason}"
        case ResultRejected():
            status = f"{what.status} " if what.status else ""
            return f"revision {what.revision} rejected by {what.destination}: {status}{what.reason}"
        case WorklistRejected():
            partly = f" in part, which has it as {what.priority}" if what.priority else ""
            return f"revision {what.revision} rejected by {what.destination}{partly}: {what.reason}"
        case WorklistUpdated():
            return f"revision {what.revision}: {what.destination} has it as {what.priority}"
        case StudyViewed():
            return f"by {what.by}, {what.role}: {what.what}"
        case StepTaken():
            return _step(what)
        case ReplayStarted():
            against = f", with {', '.join(what.differs)}" if what.differs else ""
            return f"{what.by} began replay {what.run}{against}"
        case ReplayFinished():
            return f"replay {what.run}: {what.same} studies as they were, {what.different} not"
        case LetterRequeued():
            return f"{what.by} sent letter {_letter(what)} back to {what.to}, attempt {what.attempt}"
        case LetterDiscarded():
            return f"{what.by} discarded letter {_letter(what)}: {what.reason}"
        case SegmentArchived():
            first = what.first
            return f"{first.topic}/{first.partition}: {what.records} records, {first.offset} to {what.last_offset}"
        case RecordsDropped():
            return f"{what.before.topic}/{what.before.partition}: the broker keeps {what.before.offset} and later"
        case AuditExported():
            return f"{what.by}: {what.what}, {what.records} records"
        case AlarmRaised():
            return f"{what.kind} {what.subject}: {what.detail}"
        case AlarmCleared():
            return f"{what.kind} {what.subject}: over, since {what.since:%Y-%m-%d %H:%M:%S} UTC"
        case Obituary():
            return f"{what.hop} gave up after {what.attempts} attempts: {what.error}: {what.message}"
        case _:
            return ""


def details(what: Event | Obituary) -> list[str]:
    """Why, line by line; empty where the summary says it all."""
    match what:
        case SeriesReceived():
            return list(_series(what.series))
        case StudyAssembled():
            return [
                f"{'for' if one.complete else 'against'}: {one.observation}"
                + (f" (series {one.series_uid})" if one.series_uid else "")
                for one in what.evidence
            ]
        case StudyTriaged():
            return [line for decision in what.series for line in _decision(decision)]
        case AlertRaised():
            replaced = [f"replaces alert {what.replaces}"] if what.replaces else []
            return [f"alert {what.alert_id}", *replaced, *_findings(what.findings)]
        case ResultArchived():
            return [f"{one.kind.replace('_', ' ')} {one.sop_instance_uid}" for one in what.objects]
        case AlertWithdrawn():
            replaced = [f"replaced by alert {what.replaced_by}"] if what.replaced_by else []
            return [f"alert {what.alert_id}", *replaced]
        case Obituary():
            return [f"was record {what.offset} of {what.topic}, partition {what.partition}"]
        case _:
            return []


def _step(what: StepTaken) -> str:
    sent = f"{len(what.sent)} events sent" if what.sent else "nothing to say"
    changed = ", its state changed" if what.before != what.after else ""
    how = "" if what.handled is Handled.DECIDED else f"{what.handled}: "
    return f"{what.hop}, {what.origin.topic}/{what.origin.partition}/{what.origin.offset}: {how}{sent}{changed}"


def _letter(what: LetterRequeued | LetterDiscarded) -> str:
    return f"{what.letter.partition}/{what.letter.offset}"


def _revision(what: StudyAssembled | StudyTriaged) -> str:
    unconfirmed = ", unconfirmed" if isinstance(what, StudyTriaged) and what.unconfirmed else ""
    return f"revision {what.revision} ({'final' if what.final else 'provisional'}{unconfirmed})"


def _series(series: Series) -> Iterable[str]:
    described = ", ".join(text for text in (series.body_part, series.series_description, series.kernel) if text)
    yield f"series {series.series_uid}" + (f": {described}" if described else "")
    geometry = series.geometry
    if geometry is None:
        yield "no stack of slices"
        return
    gaps = sum(gap.missing for gap in geometry.gaps)
    whole = "without gaps" if geometry.contiguous else f"{gaps} missing" if gaps else "no regular stack"
    yield f"{geometry.slices} slices every {geometry.spacing_mm:g} mm, {whole}"
    if series.conflicts:
        yield f"{series.conflicts} objects with a UID of another and other bytes"
    if series.missing_objects:
        yield f"{series.missing_objects} stored objects are gone"


def _decision(decision: SeriesDecision) -> Iterable[str]:
    yield f"series {decision.series_uid}"
    yield f"  {f'to {decision.model}' if decision.model else 'to no model'}: {decision.reason}"
    if decision.reading is None:
        return
    provenance = decision.reading.provenance
    took = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in decision.reading.seconds.items())
    yield f"  read by {provenance.model} {provenance.version} on {provenance.device}" + (f": {took}" if took else "")
    for caution in decision.reading.cautions:
        yield f"  caution: {caution}"
    for line in _findings(decision.reading.findings):
        yield f"  {line}"


def _findings(findings: Iterable[Finding]) -> Iterable[str]:
    for finding in findings:
        x, y, z = finding.centroid_mm
        frame = f", frame {finding.key_frame}" if finding.key_frame else ""
        yield (
            f"{finding.code.meaning}: {finding.volume_ml:.1f} ml, probability {finding.probability:.2f},"
            f" around ({x:.0f}, {y:.0f}, {z:.0f}) mm"
        )
        yield f"  most of it in instance {finding.key_instance_uid}{frame}"
