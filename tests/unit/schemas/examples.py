"""One event of each type, made by the hops themselves from a head CT with a bleed that is gone in its next revision."""

import asyncio
from typing import Final

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
from streams.alert import alert
from streams.assemble import assemble
from streams.infer import infer
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
    alerts = (raised.events[0], waited, final, gone, withdrawn.events[0])
    return (batch, quarantined, provisional, bleed, *alerts, *_deliveries(bleed))


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
        WorklistUpdated(**worklist, priority=result.priority, message="1"),
        WorklistRejected(**worklist, reason="AR: unknown order"),
    )


JOURNEY: Final = _journey()
"""In the order it happens; the first of each type is also in :data:`EXAMPLES`."""

EXAMPLES: Final[dict[str, Event]] = {event.TYPE: event for event in reversed(JOURNEY)}
