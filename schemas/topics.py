"""Every topic: its name, what it carries and how the broker keeps it. Partition counts are fixed up front."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

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
    DeliveryEvent,
    ResultArchived,
    ResultHeld,
    ResultRejected,
    WorklistRejected,
    WorklistUpdated,
)
from schemas.events import (
    AlertEvent,
    AlertRaised,
    AlertWithdrawn,
    DeadlinePassed,
    InstanceQuarantined,
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
from schemas.steps import StepTaken

PARTITIONS: Final = 12


@dataclass(frozen=True)
class Topic:
    """A topic as it must be on the broker.

    Its records stand there for at least ``retention_days``; then the archiver drops what it has in the archive. The
    broker itself never does: what is not archived yet, or not read yet, would be lost.
    """

    name: str
    carries: tuple[type[Event], ...]
    purpose: str
    retention_days: int = 90
    partitions: int = PARTITIONS
    config: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """Topic configuration for the broker."""
        return {
            "retention.ms": "-1",
            "max.message.bytes": str(MAX_EVENT_BYTES),
        } | self.config


MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
MAX_ROW_BYTES: Final = 1024 * 1024
"""Of a study's state. Kafka refuses a record that is larger than a segment of its topic."""

DICOM_SERIES: Final = Topic("dicom.series", (SeriesReceived, InstanceQuarantined), "What the DICOM gateways stored")
DEADLINES: Final = Topic("triage.deadlines", (DeadlinePassed,), "Time, as events")
STUDIES: Final = Topic("triage.studies", (StudyAssembled,), "Revisions of studies, provisional and final")
RESULTS: Final = Topic("triage.results", (StudyTriaged,), "What the AI found, or why it did not look")
DEAD_LETTERS: Final = Topic(
    "dead.letters",
    (),
    "Original bytes of what could not be handled, the reason in headers",
    retention_days=365,
    config={"max.message.bytes": str(MAX_EVENT_BYTES + 64 * 1024)},  # room for the headers that say why
)
DELIVERY_EVENTS: Final[tuple[type[DeliveryEvent], ...]] = (
    ResultArchived,
    ResultRejected,
    ResultHeld,
    WorklistUpdated,
    WorklistRejected,
)
DELIVERIES: Final = Topic(
    "pacs.deliveries", DELIVERY_EVENTS, "What became of results in PACS and worklists", retention_days=365
)
STEPS: Final = Topic("triage.steps", (StepTaken,), "What each hop did with each event, and what it hung on")
ACTS: Final[tuple[type[Event], ...]] = (
    StudyViewed,
    ReplayStarted,
    ReplayFinished,
    LetterRequeued,
    LetterDiscarded,
    SegmentArchived,
    RecordsDropped,
    AuditExported,
)
AUDIT_ACTS: Final = Topic(
    "audit.acts", ACTS, "Who looked at which study, and what was done to the record", retention_days=3 * 365
)
AUDIT_TRAIL: Final = Topic(
    "audit.trail", (), "Every decision and every human act, each record naming its predecessor", retention_days=3 * 365
)
ALARMS: Final = Topic("operations.alarms", (AlarmRaised, AlarmCleared), "What is wrong with the installation")
ALERT_EVENTS: Final[tuple[type[AlertEvent], ...]] = (
    AlertRaised,
    AlertWithdrawn,
    AlertPaged,
    AlertDeferred,
    AlertDelivered,
    AlertUndelivered,
    AlertSeen,
    AlertAcknowledged,
    AlertDismissed,
    AlertHandedOn,
    AlertEscalated,
    AlertClosed,
    AlertRefused,
)


_COMMON: Final = (DICOM_SERIES, DEADLINES, STUDIES, RESULTS, STEPS, DELIVERIES, ALARMS, AUDIT_ACTS)
"""The topics that carry events of all sites."""


def alerts(site: str) -> Topic:
    """The notification topic of a site."""
    return Topic(f"alerts.{site}", ALERT_EVENTS, f"Alerts of {site}, and what becomes of them", retention_days=365)


def changelog(app_id: str, table: str) -> Topic:
    """The compacted topic behind a Faust table. Small segments keep recovery fast: finished studies leave it soon."""
    return Topic(
        f"{app_id}-{table}-changelog",
        (),
        f"State of {app_id}",
        config={
            "cleanup.policy": "compact",
            "retention.ms": "-1",
            "segment.ms": "600000",
            # The newest segment is never compacted: a small one leaves little to read at a start.
            "segment.bytes": str(MAX_ROW_BYTES),
            "min.cleanable.dirty.ratio": "0.01",
            "max.compaction.lag.ms": "600000",
            "delete.retention.ms": "60000",
        },
    )


def all_topics(sites: Iterable[str]) -> tuple[Topic, ...]:
    """Every event topic of an installation with these sites."""
    return (*_COMMON, DEAD_LETTERS, AUDIT_TRAIL, *(alerts(site) for site in sorted(sites)))


def topic_of(event: Event) -> str:
    """The name of the topic an event belongs on."""
    if isinstance(event, AlertEvent):
        return alerts(event.site).name
    for topic in _COMMON:
        if isinstance(event, topic.carries):
            return topic.name
    raise TypeError(f"{type(event).__name__} belongs on no topic")
