"""Prometheus metrics of the hops."""

from prometheus_client import Counter, Gauge, Histogram

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
