"""The demonstration: synthetic studies go through the real stack, and what was decided is held against the truth."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gateways import kafka
from schemas.base import Event, ObjectRef, StudyEvent
from schemas.deliveries import ResultArchived, ResultRejected
from schemas.envelope import NotAnEvent, decode
from schemas.events import AlertRaised, Outcome, SeriesReceived, StudyAssembled, StudyTriaged
from schemas.failures import Unavailable
from sinsok.errors import UserError


@dataclass(frozen=True)
class Case:
    """A phantom and what must be decided about it."""

    name: str
    outcome: Outcome
    alert: bool
    reason: str = ""


CASES: Final = (
    Case("iph", Outcome.FINDINGS, alert=True),
    Case("negative", Outcome.NO_FINDINGS, alert=False),
    Case("chest", Outcome.NOT_APPLICABLE, alert=False, reason="wrong body part"),
)

HOPS: Final[tuple[tuple[str, type[StudyEvent]], ...]] = (
    ("receive", SeriesReceived),
    ("assemble", StudyAssembled),
    ("infer", StudyTriaged),
    ("alert", AlertRaised),
)
"""Each hop and the event that ends it."""


@dataclass
class Journey:
    """One study on its way: when its last image was sent, and its events with the time the broker took them."""

    case: Case
    study_uid: str
    sent_at: float
    events: list[tuple[float, StudyEvent]] = field(default_factory=list)
    to_pacs: bool = False
    """Whether its findings have to stand in the PACS at the end."""

    def first(self, kind: type[Event]) -> float | None:
        """Seconds from the last image to the first event of a kind."""
        return next((at - self.sent_at for at, event in self.events if isinstance(event, kind)), None)

    @property
    def results(self) -> list[StudyTriaged]:
        """Its results, oldest first."""
        return [event for _, event in self.events if isinstance(event, StudyTriaged)]

    @property
    def alerts(self) -> list[AlertRaised]:
        """Its alerts, oldest first."""
        return [event for _, event in self.events if isinstance(event, AlertRaised)]

    @property
    def archived(self) -> ResultArchived | None:
        """What the PACS has of the final result."""
        ours = {result.event_id for result in self.results if result.final}
        return next(
            (event for _, event in self.events if isinstance(event, ResultArchived) and event.result in ours), None
        )

    @property
    def rejected(self) -> list[ResultRejected]:
        """What the PACS did not take."""
        return [event for _, event in self.events if isinstance(event, ResultRejected)]

    def manifest(self, series_uid: str) -> ObjectRef:
        """The newest list of a series' images."""
        series = [event.series for _, event in self.events if isinstance(event, SeriesReceived)]
        return next(one.manifest for one in reversed(series) if one.series_uid == series_uid)

    @property
    def ended(self) -> bool:
        """A final result is there, and where it has a finding the alert, and the PACS has answered."""
        if not any(result.final for result in self.results):
            return False
        if not self.case.alert:
            return True
        return bool(self.alerts) and (not self.to_pacs or self.archived is not None or bool(self.rejected))

    def mistakes(self) -> list[str]:
        """Where the decisions differ from the truth; empty where they are right."""
        final = next((result for result in reversed(self.results) if result.final), None)
        if final is None:
            return ["no final result came"]
        found = []
        if final.outcome is not self.case.outcome:
            found.append(f"outcome {final.outcome}, should be {self.case.outcome}: {final.reason}")
        if self.case.reason not in final.reason:
            found.append(f"the reason should be {self.case.reason!r}, is {final.reason!r}")
        if bool(self.alerts) is not self.case.alert:
            found.append("no alert was raised" if self.case.alert else "an alert was raised")
        if len({alert.alert_id for alert in self.alerts}) > 1:
            found.append("more than one alert was raised")
        found += [f"the PACS did not take it: {event.status or ''} {event.reason}" for event in self.rejected]
        return found

    def hops(self) -> list[tuple[str, float]]:
        """What each hop took for the first result, in seconds, in the order of the flow."""
        steps, before = [], 0.0
        for name, kind in HOPS:
            after = self.first(kind)
            if after is not None:
                steps.append((name, after - before))
                before = after
        return steps


def follow(
    bootstrap: str,
    topics: list[str],
    journeys: list[Journey],
    tell: Callable[[Journey, float, StudyEvent], None],
    patience_s: float,
) -> None:
    """Collect the events of the journeys until all have ended, telling of each; events seen before are dropped.

    Raises :class:`UserError` where they have not ended after ``patience_s`` seconds.
    """
    by_uid = {journey.study_uid: journey for journey in journeys}
    seen = {event.event_id for journey in journeys for _, event in journey.events}
    give_up_at = time.monotonic() + patience_s
    for record in _records(bootstrap, topics, give_up_at):
        try:
            event = decode(record.headers, record.value)
        except NotAnEvent:
            continue
        if not isinstance(event, StudyEvent) or event.event_id in seen or event.study_uid not in by_uid:
            continue
        seen.add(event.event_id)
        journey = by_uid[event.study_uid]
        at = record.timestamp_ms / 1000
        journey.events.append((at, event))
        journey.events.sort(key=lambda pair: pair[0])
        tell(journey, at, event)
        if all(journey.ended for journey in journeys):
            return
    late = ", ".join(journey.case.name for journey in journeys if not journey.ended)
    raise UserError(f"after {patience_s:.0f} s there is no end for {late}; see `sinsok status` and .local/logs")


def _records(bootstrap: str, topics: list[str], until: float) -> Iterator[kafka.Record]:
    """Records as they come, up to a moment: the reader waits for ever, so it has a thread to wait in."""
    arrived: queue.SimpleQueue[kafka.Record | Unavailable] = queue.SimpleQueue()

    def pump() -> None:
        try:
            for record in kafka.read(bootstrap, topics, start="beginning", follow=True):
                arrived.put(record)
        except Unavailable as error:
            arrived.put(error)

    threading.Thread(target=pump, daemon=True).start()
    while (left := until - time.monotonic()) > 0:
        try:
            record = arrived.get(timeout=left)
        except queue.Empty:
            return
        if isinstance(record, Unavailable):
            raise record
        yield record
