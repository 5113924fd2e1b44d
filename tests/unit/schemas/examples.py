"""One event of each type, made by the hops themselves from a head CT with a bleed that is gone in its next revision."""

import asyncio
from typing import Final

from schemas.alarms import AlarmCleared, AlarmKind, AlarmRaised
from schemas.audit import (
    INSTALLATION,
    AuditExported,
    LetterDiscarded,
    LetterRequeued,
    Origin,
    RecordsDropped,
    ReplayFinished,
    ReplayStarted,
    Role,
    SegmentArchived,
    Sight,
    StudyViewed,
)
from schemas.base import Event
from schemas.deliveries import (
    ObjectKind,
    Proof,
    ResultArchived,
    ResultHeld,
    ResultRejected,
    WorklistRejected,
    WorklistUpdated,
    WrittenObject,
)
from schemas.events import (
    AlertRaised,
    AlertWithdrawn,
    DeadlinePassed,
    InstanceQuarantined,
    StudyAssembled,
    StudyTriaged,
)
from schemas.paging import (
    AlertAcknowledged,
    AlertDelivered,
    AlertDismissed,
    AlertHandedOn,
    AlertPaged,
    AlertSeen,
    AlertUndelivered,
)
from schemas.steps import PortAnswer, StepTaken
from streams.alert import alert
from streams.assemble import assemble
from streams.escalate import escalate
from streams.infer import infer
from streams.on_call import Chain, Hours, Paging
from streams.site import SiteRules, Sites
from tests.unit.streams.examples import SITES, FakeInference, at, finding, received, series, stored


def _journey() -> tuple[Event, ...]:
    batch = received(series(expected_instances=36))
    opened = assemble(SITES, batch, None)
    assert opened.state is not None
    assert opened.state.deadline is not None
    waited = DeadlinePassed(
        time=at(30.5), site="suwon", study_uid=batch.study_uid, hop="assemble", deadline=opened.state.deadline
    )
    closed = assemble(SITES, waited, opened.state)
    provisional, final = opened.events[0], closed.events[0]
    assert isinstance(provisional, StudyAssembled)
    assert isinstance(final, StudyAssembled)
    bleed = asyncio.run(infer(SITES, FakeInference(finding()), provisional))[0]
    gone = asyncio.run(infer(SITES, FakeInference(), final))[0]
    assert isinstance(bleed, StudyTriaged)
    raised = alert(SITES, bleed, None)
    withdrawn = alert(SITES, gone, raised.state)
    quarantined = InstanceQuarantined(
        time=at(1), site="suwon", reason="no DICOM", sending_ae="CT1", called_ae="SUWON_AI", stored=stored("noise")
    )
    assert isinstance(raised.events[0], AlertRaised)
    assert isinstance(withdrawn.events[0], AlertWithdrawn)
    life = _life(raised.events[0])
    alerts = (raised.events[0], waited, *life, final, gone, withdrawn.events[0])
    return (batch, quarantined, provisional, bleed, *alerts, *_deliveries(bleed), *_record(provisional, bleed))


def _life(raised: AlertRaised) -> tuple[Event, ...]:
    """An alert that waits for the end of quiet hours, is handed on, taken, dismissed, and dismissed once more."""
    chain = Chain(name="always", steps=(("first",), ("second", "third")))
    paging = Paging(chains=(chain,), quiet=(Hours(begin="12:00", end="12:01"),), critical=frozenset())
    sites = Sites({raised.site: SiteRules(paging=paging)})
    deferred = escalate(sites, raised, None)
    assert deferred.state is not None
    assert deferred.state.deadline is not None
    about = raised.model_dump(include={"site", "study_uid", "alert_id", "revision"})
    over = DeadlinePassed(
        time=at(61),
        site=raised.site,
        study_uid=raised.study_uid,
        alert_id=raised.alert_id,
        hop="escalate",
        deadline=deferred.state.deadline,
    )
    heard = (
        over,
        AlertDelivered(**about, time=at(62), attempt=2, recipient="first", channel="mail", answer="250 2.0.0 accepted"),
        AlertHandedOn(**about, time=at(63), by="dr.first", attempt=2),
        AlertUndelivered(**about, time=at(64), attempt=3, recipient="second", reason="mail: 550 no such user"),
        AlertSeen(**about, time=at(65), by="dr.third"),
        AlertAcknowledged(**about, time=at(66), by="dr.third"),
        AlertDismissed(**about, time=at(67), by="dr.third", reason="calcification"),
        AlertDismissed(**about, time=at(68), by="dr.first", reason="not a finding"),
    )
    life, state = [*deferred.events], deferred.state
    for event in heard:
        step = escalate(sites, event, state)
        assert step.state is not None
        life += [event, *step.events]
        state = step.state
    assert [event.attempt for event in life if isinstance(event, AlertPaged)] == [2, 3]
    return tuple(life)


def _deliveries(result: StudyTriaged) -> tuple[Event, ...]:
    about = {
        "time": at(40),
        "site": result.site,
        "study_uid": result.study_uid,
        "revision": result.revision,
        "unconfirmed": result.unconfirmed,
        "result": result.event_id,
    }
    pacs, worklist = about | {"destination": "suwon/pacs"}, about | {"destination": "suwon/hl7"}
    report = WrittenObject(
        kind=ObjectKind.REPORT,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid="2.25.7",
        series_uid="2.25.8",
    )
    return (
        ResultHeld(**pacs, reason="PatientID differs"),
        ResultRejected(**pacs, status="0xA900", reason="data set does not match SOP class"),
        ResultArchived(**pacs, objects=(report,), proof=Proof.COMMITMENT, transaction_uid="2.25.9", replaces=None),
        StudyViewed(
            time=at(41),
            site=result.site,
            study_uid=result.study_uid,
            by="dr.third",
            role=Role.RADIOLOGIST,
            what=Sight.PAGE,
        ),
        WorklistUpdated(**worklist, priority=result.priority, message="1"),
        WorklistRejected(**worklist, reason="AR: unknown order", priority=result.priority, message="1"),
    )


def _record(study: StudyAssembled, result: StudyTriaged) -> tuple[Event, ...]:
    """What is said of the record, and of the installation."""
    origin, letter = (
        Origin(topic="triage.studies", partition=7, offset=3),
        Origin(topic="dead.letters", partition=7, offset=0),
    )
    model = stored("model")
    act = {"time": at(50), "site": INSTALLATION, "by": "operator"}
    alarm = {"site": "suwon", "kind": AlarmKind.SCANNER_SILENT, "subject": "suwon/CT1", "since": at(45)}
    return (
        StepTaken(
            time=study.time,
            site=study.site,
            study_uid=study.study_uid,
            hop="infer",
            origin=origin,
            event=study.event_id,
            sent=(result.event_id,),
            rules=stored("rules"),
            answers=(PortAnswer(asked="identify ich_hyperdensity@1", answer=model.digest, device="cpu"),),
        ),
        ReplayStarted(**act, run="r1", begin=at(0), end=None, differs=("model ich_hyperdensity@2",)),
        ReplayFinished(**act, run="r1", same=499, different=1, report=stored("report").digest),
        LetterRequeued(**act, letter=letter, attempt=1, to="triage.studies"),
        LetterDiscarded(**act, letter=letter, reason="a test of the scanner's vendor"),
        SegmentArchived(**act | {"by": "archiver"}, first=origin, last_offset=9, records=7, segment=stored("segment")),
        RecordsDropped(**act | {"by": "archiver"}, before=origin),
        AuditExported(**act, what=f"bundle of study {study.key}", records=12),
        AlarmRaised(**alarm, time=at(60), detail="no image since 12:00:45 UTC"),
        AlarmCleared(**alarm, time=at(61)),
    )


JOURNEY: Final = _journey()
"""In the order it happens; the first of each type is also in :data:`EXAMPLES`."""

EXAMPLES: Final[dict[str, Event]] = {event.TYPE: event for event in reversed(JOURNEY)}
