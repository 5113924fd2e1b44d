"""Results into one site's worklist: what it is told of a study, in the order of the study's results."""

import sqlite3
import time
from typing import Final

from gateways.delivery.breaker import Breaker
from gateways.delivery.courier import Courier
from gateways.delivery.ledger import Delivery, Ledger, State
from gateways.objects import FileStore
from gateways.pacs.source import study_head
from gateways.worklist.port import Update, Updated, Worklist
from schemas.deliveries import WorklistRejected, WorklistUpdated
from schemas.failures import Busy, Refused, Unavailable, Unreadable

_TOGETHER: Final = 16
_BUSY_AT_MOST_S: Final = 86_400.0
"""Nobody works on a record for a day: it was left open, and a person has to look."""


class WorklistCourier(Courier):
    """See the module."""

    def __init__(
        self, destination: str, ledger: Ledger, breaker: Breaker, worklist: Worklist, store: FileStore
    ) -> None:
        super().__init__(destination, ledger, breaker)
        self._worklist = worklist
        self._store = store
        self._busy_since: dict[int, float] = {}

    def work(self, now: float) -> bool:
        """Tell what is due."""
        due = self.ledger.due(self.destination, now, _TOGETHER if self.breaker.closed else 1)
        for delivery in due:
            if self.stopping:
                break
            self._deliver(delivery)
        return bool(due)

    def rest(self) -> None:
        """Let go of the connection."""
        self._worklist.close()

    def _deliver(self, delivery: Delivery) -> None:
        begun = delivery.state is State.SENDING
        if not begun and self.ledger.overtaken(delivery):
            return self.end(delivery, State.SUPERSEDED)
        told = self.ledger.told(delivery)
        priority, before = (told.priority, told.result) if told else (None, None)
        if not self._worklist.wants(delivery.result, priority, before):
            return self.end(delivery, State.NOTHING)
        try:
            head = study_head(self._store, delivery.result)
            if not begun:
                self._worklist.reach()
                # Some of it may be there from now on, answered or not: no other may take its place untold.
                self.ledger.fix(delivery, (), None)
            updated = self._worklist.update(Update(delivery.result, head, priority, before))
        except Unavailable as error:
            self.ledger.put_off(delivery, time.time(), str(error))
            raise
        except (Busy, Refused, Unreadable) as error:
            updated = Updated(failure=error)
        except sqlite3.Error:  # of this machine, not of the result: it stays owed
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours over one result must not hold up those behind it
            self.say_fault(delivery, error)
            updated = Updated(failure=Refused(f"it cannot be told, a fault of ours: {type(error).__name__}"))
        self._settle(delivery, updated)
        return self.breaker.answered()

    def _settle(self, delivery: Delivery, updated: Updated) -> None:
        """Note what was taken and what was not: what is told may have to be taken back."""
        failure, priority = updated.failure, updated.priority
        message = " ".join(updated.accepted)
        if isinstance(failure, Busy):
            now = time.time()
            if now - self._busy_since.setdefault(delivery.id, now) < _BUSY_AT_MOST_S:
                return self.ledger.put_off(delivery, now + self.breaker.longest_s, str(failure))
        self._busy_since.pop(delivery.id, None)
        if failure is not None:
            reason = str(failure)
            rejected = WorklistRejected(
                **self.event_fields(delivery), reason=reason, priority=priority, message=message or None
            )
            return self.end(delivery, State.REJECTED, reason=reason, event=rejected, told=priority)
        if priority is None or not message:
            return self.end(delivery, State.NOTHING, told=priority)
        event = WorklistUpdated(**self.event_fields(delivery), priority=priority, message=message)
        return self.end(delivery, State.DONE, event=event, told=priority)
