"""Prometheus metrics of the hops, and what is counted of the events they send."""

import time

from prometheus_client import Counter, Gauge, Histogram

from schemas.base import Event
from schemas.events import AlertRaised, AlertWithdrawn, StudyAssembled, StudyTriaged

EVENTS = Counter("sinsok_hop_events", "Events a hop took to their end", ["hop", "type"])
SECONDS = Histogram(
    "sinsok_hop_seconds",
    "Time a hop spent on an event, waits for ports included",
    ["hop"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
)
DEAD_LETTERS = Counter("sinsok_dead_letters", "Messages sent to dead.letters", ["hop", "topic", "error"])
RETRIES = Counter("sinsok_retries", "Attempts beyond the first", ["hop", "error"])
LAG = Gauge("sinsok_lag", "Events not yet committed in the partitions of this process", ["hop", "topic"])
ROWS = Gauge("sinsok_table_rows", "Studies a hop remembers in this process", ["hop"])
OVERDUE = Gauge("sinsok_overdue_seconds", "Age of the oldest passed deadline still unanswered", ["hop"])
OLDEST_OPEN = Gauge("sinsok_oldest_open_study_seconds", "Age of the oldest study that is not final yet", ["hop"])
ASSEMBLED = Counter("sinsok_assembled_studies", "Revisions handed on", ["site", "final", "reason"])
RESULTS = Counter("sinsok_results", "Results", ["site", "final", "outcome", "priority"])
REFUSED = Counter("sinsok_refused_series", "Series no model was shown, by the kind of reason", ["site", "reason"])
ALERTS = Counter("sinsok_alerts", "Alerts raised", ["site", "priority"])
WITHDRAWN = Counter("sinsok_withdrawn_alerts", "Alerts withdrawn", ["site"])
IMAGE_TO_ALERT = Histogram(
    "sinsok_last_image_to_alert_seconds",
    "From the last image stored to the alert at the broker",
    ["site"],
    buckets=(1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 900, 3600),
)


def count(event: Event) -> None:
    """Count an event that was sent."""
    match event:
        case StudyAssembled():
            ASSEMBLED.labels(event.site, event.final, event.reason).inc()
        case StudyTriaged():
            RESULTS.labels(event.site, event.final, event.outcome, event.priority).inc()
            for decision in event.series:
                refusal = decision.reason if decision.model is None else decision.reading and decision.reading.refused
                if refusal:
                    # A reason is a kind and, after the colon, its particulars: only the kind is a label.
                    REFUSED.labels(event.site, refusal.partition(":")[0]).inc()
        case AlertRaised():
            ALERTS.labels(event.site, event.priority).inc()
            IMAGE_TO_ALERT.labels(event.site).observe(max(0.0, time.time() - event.last_image_at.timestamp()))
        case AlertWithdrawn():
            WITHDRAWN.labels(event.site).inc()
        case _:
            pass
