"""What the gateways count and measure, as Prometheus metrics. No label names a patient, a study or an instance."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

# --- every process -------------------------------------------------------------------------------------------------

CLOCK_SECONDS: Final = Gauge("sinsok_clock_seconds", "The clock of this process when it was asked, since the epoch")

# --- DICOM in ------------------------------------------------------------------------------------------------------

RECEIVED_INSTANCES: Final = Counter(
    "sinsok_received_instances", "C-STORE requests answered, by site and DIMSE status", ["site", "status"]
)
UNANSWERED_INSTANCES: Final = Counter(
    "sinsok_unanswered_instances", "C-STORE requests whose instance UID allowed no answer, by site", ["site"]
)
RECEIVED_BYTES: Final = Counter("sinsok_received_bytes", "Bytes of data sets stored", ["site"])
STORE_SECONDS: Final = Histogram(
    "sinsok_store_seconds",
    "From a data set in memory to its answer: written, synced and journalled",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
REJECTED_ASSOCIATIONS: Final = Counter(
    "sinsok_rejected_associations", "Associations refused for an AE title, by reason", ["reason"]
)
ABORTED_ASSOCIATIONS: Final = Counter(
    "sinsok_aborted_associations", "Associations that ended without a release, by site", ["site"]
)
OPEN_ASSOCIATIONS: Final = Gauge("sinsok_open_associations", "Associations established with the DICOM gateway")
QUARANTINED: Final = Counter("sinsok_quarantined_instances", "Objects kept aside as not understood", ["site"])
CONFLICTS: Final = Counter(
    "sinsok_conflicting_instances", "Objects kept beside another with the same SOP Instance UID", ["site"]
)
OUTBOX_DEPTH: Final = Gauge("sinsok_outbox_depth", "Events stored and not yet taken by the broker")
REJECTED_EVENTS: Final = Counter("sinsok_rejected_events", "Events kept aside that the broker will never take")
OUTBOX_AGE_SECONDS: Final = Gauge("sinsok_outbox_age_seconds", "Age of the oldest of them; 0 where there is none")

# --- inference -----------------------------------------------------------------------------------------------------

READING_SECONDS: Final = Histogram(
    "sinsok_reading_seconds",
    "Showing a series to a model, by step: load, infer, measure",
    ["model", "step"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
READINGS: Final = Counter(
    "sinsok_readings",
    "Series shown to a model: read, recorded (known already), unavailable, unreadable",
    ["model", "outcome"],
)

# --- topics into ledgers -------------------------------------------------------------------------------------------

UNREAD_SECONDS: Final = Gauge(
    "sinsok_unread_seconds", "Since topics were last read to their ends, by what is on them: alerts, results", ["what"]
)

# --- results out ---------------------------------------------------------------------------------------------------

UNDECODABLE_RESULTS: Final = Counter("sinsok_undecodable_results", "Records of triage.results that are no result")
DELIVERIES: Final = Counter(
    "sinsok_deliveries", "Results whose delivery ended, by destination and how it ended", ["destination", "state"]
)
DELIVERIES_OPEN: Final = Gauge(
    "sinsok_deliveries_open",
    "Results not delivered: waiting, sending, stored, held, rejected",
    ["destination", "state"],
)
DELIVERY_AGE_SECONDS: Final = Gauge(
    "sinsok_delivery_age_seconds", "Age of the oldest result neither delivered nor held, 0 if none", ["destination"]
)
DESTINATION_AWAY: Final = Gauge(
    "sinsok_destination_away", "1 while a PACS or worklist did not answer when it was last asked", ["destination"]
)
DELIVERY_SECONDS: Final = Histogram(
    "sinsok_delivery_seconds",
    "From a result to its proof in the PACS, or its acceptance by the worklist",
    ["destination"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)

# --- alerts out ----------------------------------------------------------------------------------------------------

UNDECODABLE_ALERTS: Final = Counter("sinsok_undecodable_alerts", "Records of the topics of alerts that are no event")
PAGES: Final = Counter(
    "sinsok_pages",
    "Tries of a channel (site/recipient/channel): delivered, refused, unavailable; and, with no channel, pages that"
    " were undelivered or deferred",
    ["channel", "outcome"],
)
PAGE_SECONDS: Final = Histogram(
    "sinsok_page_seconds",
    "From a page to the far side's word that it has it, by kind of channel",
    ["channel"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600),
)
CHANNEL_AWAY: Final = Gauge(
    "sinsok_channel_away", "1 while a recipient's channel did not answer when it was last asked", ["channel"]
)

# --- silence -------------------------------------------------------------------------------------------------------

ALARMS: Final = Gauge("sinsok_alarms", "Alarms that stand; the site sinsok is the whole installation", ["site", "kind"])
WATCHED_AGE_SECONDS: Final = Gauge(
    "sinsok_watched_age_seconds", "Since the watcher last knew all that had happened to studies"
)
UNDECODABLE_STUDIES: Final = Counter(
    "sinsok_undecodable_studies", "Records that the watcher read and that are no event"
)
SILENT_SECONDS: Final = Gauge(
    "sinsok_silent_seconds",
    "Since the newest image, without quiet hours, of a scanner or, where none is named, of the site",
    ["site", "scanner"],
)
STUDIES_OPEN: Final = Gauge(
    "sinsok_studies_open", "Studies that wait too long for a final revision, or for any result", ["site"]
)
STUDIES_UNREAD: Final = Gauge("sinsok_studies_unread", "Studies at which no AI has looked in time", ["site"])
GROUP_BEHIND_SECONDS: Final = Gauge(
    "sinsok_group_behind_seconds", "For how long records have been waiting for a consumer group", ["group"]
)
CLOCK_SKEW_SECONDS: Final = Gauge(
    "sinsok_clock_skew_seconds", "The clock of a process against the watcher's; positive: ahead", ["process"]
)
CERTIFICATE_SECONDS: Final = Gauge(
    "sinsok_certificate_seconds",
    "Until the first certificate of a file ends; negative: it is over, 0: it cannot be read",
    ["file"],
)

# --- the archive ---------------------------------------------------------------------------------------------------

ARCHIVED_RECORDS: Final = Counter("sinsok_archived_records", "Records written to the archive and read back", ["topic"])
ARCHIVE_OPEN_SECONDS: Final = Gauge(
    "sinsok_archive_open_seconds", "Age of the oldest record read and not archived, 0 if none", ["topic"]
)
ARCHIVE_OVERDUE_SECONDS: Final = Gauge(
    "sinsok_archive_overdue_seconds",
    "Since when a record has been old enough to leave the broker and is not archived, 0 if none is",
    ["topic"],
)
ARCHIVE_MISSED_RECORDS: Final = Counter(
    "sinsok_archive_missed_records", "Records that left the broker before they were archived", ["topic"]
)

# --- audit trail ---------------------------------------------------------------------------------------------------

AUDITED: Final = Counter("sinsok_audited_records", "Records on event topics that have their audit record", ["chain"])
CHECKPOINTS: Final = Counter("sinsok_audit_checkpoints", "Signed checkpoints written", ["chain"])
UNSIGNED: Final = Gauge("sinsok_audit_unsigned_records", "Audit records behind the newest checkpoint", ["chain"])

# --- traces --------------------------------------------------------------------------------------------------------

SPANS: Final = Counter("sinsok_spans", "Spans that the collector has taken")
UNDECODABLE_SPANS: Final = Counter("sinsok_undecodable_spans", "Records that the tracer read and that are no event")
