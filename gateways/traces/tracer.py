"""The tracer as a whole: from the topics to the collector, an offset after its spans."""

from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import Consumer

from gateways.inbox import Inbox
from gateways.metrics import SPANS, UNDECODABLE_SPANS
from gateways.traces.collector import Collector
from gateways.traces.memory import Memory
from gateways.traces.settings import TracesSettings
from gateways.traces.spans import spans
from schemas.base import Event, StudyEvent
from schemas.topics import DEADLINES, DELIVERIES, DICOM_SERIES, RESULTS, STUDIES, alerts

log = structlog.get_logger()


class Tracer:
    """Sends the spans of what stands on the topics. ``source`` makes a Kafka consumer; nobody need be there.

    While the collector is away nothing is committed: the same events are read again until it takes their spans.
    """

    def __init__(self, settings: TracesSettings, sites: Sequence[str], source: Callable[[], Consumer]) -> None:
        self._settings = settings
        self._memory = Memory()
        topics = (DICOM_SERIES, DEADLINES, STUDIES, RESULTS, DELIVERIES, *(alerts(site) for site in sites))
        self._inbox = Inbox(
            source,
            [topic.name for topic in topics],
            self._take,
            what="traces",
            undecodable=UNDECODABLE_SPANS,
            may_lack=True,
        )

    def start(self) -> None:
        """Begin to read and to send."""
        assert self._settings.endpoint is not None
        self._collector = Collector(self._settings, self._settings.endpoint)
        self._inbox.start()
        log.info("tracer runs")

    def stop(self) -> None:
        """End; what the collector has not taken is read again at the next start."""
        self._collector.close()
        self._inbox.stop()
        log.info("tracer stopped")

    def deaths(self) -> list[str]:
        """What only a restart mends, one line each; empty while it can go on by itself."""
        self._inbox.measure()  # every probe comes by here
        return [] if self._inbox.alive else ["the intake thread has died: restart the tracer"]

    def health(self) -> list[str]:
        """What is wrong beside :meth:`deaths`, one line each; empty while all is well."""
        return self._inbox.complaints()

    def _take(self, events: Sequence[Event]) -> None:
        # Topics are read side by side: within what came together, causes go before effects.
        studies = sorted((one for one in events if isinstance(one, StudyEvent)), key=lambda event: event.time)
        made = [span for event in studies for span in spans(event, self._memory)]
        self._collector.send(made)
        SPANS.inc(len(made))
