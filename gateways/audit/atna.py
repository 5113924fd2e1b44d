"""Events as DICOM audit messages (PS3.15, A.5), as an audit record repository of IHE ATNA takes them.

The standard wants the patient in most of them. Events name none, so neither do these: a study is named by its Study
Instance UID, from which the repository's other sources lead to the patient.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from gateways.audit.account import author
from schemas.alarms import AlarmCleared, AlarmEvent, AlarmKind, AlarmRaised
from schemas.audit import (
    AuditExported,
    LetterDiscarded,
    LetterRequeued,
    ReplayFinished,
    ReplayStarted,
    SegmentArchived,
    StudyViewed,
)
from schemas.base import Event, StudyEvent
from schemas.deliveries import ResultArchived, ResultHeld, ResultRejected, WorklistRejected, WorklistUpdated
from schemas.events import AlertEvent, InstanceQuarantined, SeriesReceived, StudyAssembled, StudyTriaged


@dataclass(frozen=True)
class Coded:
    """A coded value; those of DICOM's own terminology stand in PS3.16, annex D."""

    code: str
    meaning: str
    system: str = "DCM"


@dataclass(frozen=True)
class Participant:
    """Who took part. ``address`` is a host name or an IP address."""

    user: str
    requestor: bool = False
    role: Coded | None = None


@dataclass(frozen=True)
class Message:
    """What differs between the messages of A.5.3."""

    event: Coded
    action: str
    participants: tuple[Participant, ...]
    outcome: str = "0"
    type: Coded | None = None
    description: str | None = None
    log: bool = False
    """Whether it is about the audit log itself."""


APPLICATION_ACTIVITY: Final = Coded("110100", "Application Activity")
AUDIT_LOG_USED: Final = Coded("110101", "Audit Log Used")
INSTANCES_ACCESSED: Final = Coded("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED: Final = Coded("110104", "DICOM Instances Transferred")
DATA_EXPORT: Final = Coded("110106", "Export")
ORDER_RECORD: Final = Coded("110109", "Order Record")
PROCEDURE_RECORD: Final = Coded("110111", "Procedure Record")
SECURITY_ALERT: Final = Coded("110113", "Security Alert")
_STARTED: Final = Coded("110120", "Application Start")
_STOPPED: Final = Coded("110121", "Application Stop")
_NODE_AUTHENTICATION: Final = Coded("110126", "Node Authentication")
_RESTRICTED_FUNCTION: Final = Coded("110132", "Use of Restricted Function")
_RECORDING_STOPPED: Final = Coded("110133", "Audit Recording Stopped")
_RECORDING_STARTED: Final = Coded("110134", "Audit Recording Started")
_APPLICATION: Final = Coded("110150", "Application")
_LAUNCHER: Final = Coded("110151", "Application Launcher")
_DESTINATION: Final = Coded("110152", "Destination Role ID")
_SOURCE: Final = Coded("110153", "Source Role ID")
_MEDIA: Final = Coded("110154", "Destination Media")
_STUDY_UID: Final = Coded("110180", "Study Instance UID")
_URI: Final = Coded("12", "URI", "RFC-3881")
_SERIOUS: Final = "8"
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ALARMS: Final = {
    (AlarmKind.AUDIT_BEHIND, True): _RECORDING_STOPPED,
    (AlarmKind.AUDIT_BEHIND, False): _RECORDING_STARTED,
    (AlarmKind.CERTIFICATE, True): _NODE_AUTHENTICATION,
}


def message_of(event: Event) -> Message | None:
    """The message of A.5.3 that fits an event; None where none does, as for a hop's step."""
    return next((make(event) for kinds, make in _MESSAGES if isinstance(event, kinds)), None)


def xml_of(event: Event, message: Message, source: str) -> bytes:
    """The message as XML in UTF-8. ``source`` names this installation (AuditSourceID)."""
    root = Element("AuditMessage")
    identification = SubElement(
        root,
        "EventIdentification",
        EventActionCode=message.action,
        EventDateTime=event.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        EventOutcomeIndicator=message.outcome,
    )
    _coded(identification, "EventID", message.event)
    if message.type is not None:
        _coded(identification, "EventTypeCode", message.type)
    if message.description is not None:
        SubElement(identification, "EventOutcomeDescription").text = _clean(message.description)
    for one in message.participants:
        participant = SubElement(
            root, "ActiveParticipant", UserID=_clean(one.user), UserIsRequestor=str(one.requestor).lower()
        )
        if one.role is not None:
            _coded(participant, "RoleIDCode", one.role)
    identified = SubElement(root, "AuditSourceIdentification", AuditEnterpriseSiteID=event.site, AuditSourceID=source)
    SubElement(identified, "AuditSourceTypeCode", {"csd-code": "4"})  # application server
    if isinstance(event, StudyEvent):
        _study(root, event)
    if message.log:
        log = _object(root, _URI, "sinsok:audit.trail", role="13")
        SubElement(log, "ParticipantObjectName").text = "Security Audit Log"
    xml: bytes = tostring(root, "utf-8", xml_declaration=True)
    return xml


def _study(root: Element, event: StudyEvent) -> None:
    study = _object(root, _STUDY_UID, _clean(event.study_uid), role="3")
    SubElement(study, "ParticipantObjectName").text = "DICOM study"
    if isinstance(event, SeriesReceived):
        series = event.series
        described = SubElement(study, "ParticipantObjectDescription")
        sop_class = SubElement(described, "SOPClass", NumberOfInstances=str(series.instances))
        if len(series.sop_classes) == 1:  # of several it is not known how many each has
            sop_class.set("UID", _clean(series.sop_classes[0]))


def _object(root: Element, kind: Coded, identifier: str, *, role: str) -> Element:
    found = SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=identifier,
        ParticipantObjectTypeCode="2",
        ParticipantObjectTypeCodeRole=role,
    )
    _coded(found, "ParticipantObjectIDTypeCode", kind)
    return found


def _clean(text: str) -> str:
    """Text without what XML 1.0 cannot hold: names and UIDs come from outside."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _coded(parent: Element, name: str, coded: Coded) -> None:
    SubElement(parent, name, {"csd-code": coded.code, "codeSystemName": coded.system, "originalText": coded.meaning})


def _received(event: SeriesReceived | InstanceQuarantined) -> Message:
    kept = isinstance(event, SeriesReceived)
    ends = (
        Participant(event.sending_ae, requestor=True, role=_SOURCE),
        Participant(event.called_ae, role=_DESTINATION),
    )
    reason = None if isinstance(event, SeriesReceived) else event.reason
    return Message(INSTANCES_TRANSFERRED, "C", ends, outcome="0" if kept else _SERIOUS, description=reason)


def _delivered(event: ResultArchived | ResultHeld | ResultRejected) -> Message:
    ends = (
        Participant(author(event), requestor=True, role=_SOURCE),
        Participant(event.destination, role=_DESTINATION),
    )
    if isinstance(event, ResultArchived):
        return Message(INSTANCES_TRANSFERRED, "C", ends)
    return Message(INSTANCES_TRANSFERRED, "C", ends, outcome=_SERIOUS, description=event.reason)


def _listed(event: WorklistUpdated | WorklistRejected) -> Message:
    ends = (Participant(author(event), requestor=True), Participant(event.destination, role=_DESTINATION))
    if isinstance(event, WorklistUpdated):
        return Message(ORDER_RECORD, "U", ends)
    return Message(ORDER_RECORD, "U", ends, outcome=_SERIOUS, description=event.reason)


def _by(event: Event) -> tuple[Participant, ...]:
    return (Participant(author(event), requestor=True),)


def _replay(event: ReplayStarted | ReplayFinished) -> Message:
    kind = _STARTED if isinstance(event, ReplayStarted) else _STOPPED
    participants = (Participant("replay", role=_APPLICATION), Participant(event.by, requestor=True, role=_LAUNCHER))
    return Message(APPLICATION_ACTIVITY, "E", participants, type=kind)


def _archived(event: SegmentArchived) -> Message:
    ends = (Participant(event.by, requestor=True, role=_SOURCE), Participant("archive", role=_MEDIA))
    return Message(DATA_EXPORT, "R", ends, log=event.first.topic == "audit.trail")


def _alarm(event: AlarmEvent) -> Message | None:
    kind = _ALARMS.get((event.kind, isinstance(event, AlarmRaised)))
    outcome = _SERIOUS if isinstance(event, AlarmRaised) else "0"
    return None if kind is None else Message(SECURITY_ALERT, "E", _by(event), outcome=outcome, type=kind)


_Maker = Callable[..., Message | None]
_MESSAGES: Final[Sequence[tuple[tuple[type[Event], ...], _Maker]]] = (
    ((SeriesReceived, InstanceQuarantined), _received),
    ((ResultArchived, ResultHeld, ResultRejected), _delivered),
    ((WorklistUpdated, WorklistRejected), _listed),
    ((StudyViewed,), lambda event: Message(INSTANCES_ACCESSED, "R", _by(event))),
    ((StudyAssembled,), lambda event: Message(PROCEDURE_RECORD, "C", _by(event))),
    ((StudyTriaged, AlertEvent), lambda event: Message(PROCEDURE_RECORD, "U", _by(event))),
    ((ReplayStarted, ReplayFinished), _replay),
    (
        (LetterRequeued, LetterDiscarded),
        lambda event: Message(SECURITY_ALERT, "E", _by(event), type=_RESTRICTED_FUNCTION),
    ),
    ((SegmentArchived,), _archived),
    ((AuditExported,), lambda event: Message(AUDIT_LOG_USED, "R", _by(event), log=True)),
    ((AlarmRaised, AlarmCleared), _alarm),
)
"""The first that fits an event makes its message."""
