"""The alarms that stand, from what is on their topic."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from gateways.kafka import Record
from gateways.watch.condition import Key
from schemas.alarms import AlarmCleared, AlarmEvent, AlarmRaised
from schemas.envelope import NotAnEvent, decode
from schemas.identity import derived_id


class Alarms:
    """What was raised and whether it is over. Again, late or out of order makes no difference."""

    def __init__(self) -> None:
        self._raised: dict[UUID, AlarmRaised] = {}
        self._cleared: dict[UUID, datetime] = {}

    def take(self, event: AlarmEvent) -> None:
        """Take in an event. Of one that was said again the newest words count."""
        match event:
            case AlarmRaised():
                known = self._raised.get(event.event_id)
                if known is None or known.time <= event.time:
                    self._raised[event.event_id] = event
            case AlarmCleared():
                self._cleared[derived_id(AlarmRaised.TYPE, *event.identity())] = event.time

    @property
    def standing(self) -> list[AlarmRaised]:
        """What is wrong now, the longest first."""
        return [event for event, over_at in self.all if over_at is None]

    @property
    def all(self) -> list[tuple[AlarmRaised, datetime | None]]:
        """Every alarm, the oldest first, and when it was over; None while it stands."""
        known = sorted(self._raised.items(), key=lambda one: (one[1].since, one[1].subject))
        return [(event, self._cleared.get(event_id)) for event_id, event in known]

    def forget(self, before: datetime) -> None:
        """Drop what was over by then."""
        for event_id in [event_id for event_id, at in self._cleared.items() if at < before]:
            del self._cleared[event_id]
            self._raised.pop(event_id, None)


def alarms(records: Iterable[Record]) -> Alarms:
    """The alarms of some records. What is no event of theirs is passed over: only the watcher writes there."""
    found = Alarms()
    for record in records:
        with suppress(NotAnEvent):
            event = decode(record.headers, record.value)
            if isinstance(event, AlarmEvent):
                found.take(event)
    return found


def key_of(event: AlarmEvent) -> Key:
    """What it is about."""
    return Key(event.site, event.kind, event.subject)
