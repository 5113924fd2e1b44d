"""Results into one site's worklist: what it is told of a study, in the order of the study's results."""

import time

from gateways.delivery.breaker import Breaker
from gateways.delivery.courier import Courier
from gateways.delivery.ledger import Delivery, Ledger, State
from gateways.objects import FileStore
from gateways.pacs.source import study_head
from gateways.worklist.port import Update, Worklist
from schemas.deliveries import WorklistRejected, WorklistUpdated
from schemas.failures import Refused, Unavailable, Unreadable

_TOGETHER = 16


class WorklistCourier(Courier):
    """See the module."""

    def __init__(
        self, destination: str, ledger: Ledger, breaker: Breaker, worklist: Worklist, store: FileStore
    ) -> None:
        super().__init__(destination, ledger, breaker)
        self._worklist = worklist
        self._store = store

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
        if self.ledger.overtaken(delivery):
            return self.end(delivery, State.SUPERSEDED)
        told = self.ledger.told(delivery)
        priority, before = (told.priority, told.result) if told else (None, None)
        if not self._worklist.wants(delivery.result, priority, before):
            return self.end(delivery, State.NOTHING)
        try:
            head = study_head(self._store, delivery.result)
            message = self._worklist.update(Update(delivery.result, head, priority, before))
        except (Refused, Unreadable) as error:
            self._reject(delivery, str(error))
        except Unavailable as error:
            self.ledger.put_off(delivery, time.time(), str(error))
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours over one result must not hold up those behind it
            self.say_fault(delivery, error)
            self._reject(delivery, f"it cannot be told, a fault of ours: {type(error).__name__}")
        else:
            now = delivery.result.priority
            event = WorklistUpdated(**self.event_fields(delivery), priority=now, message=message)
            self.end(delivery, State.DONE, event=event, told=now)
        return self.breaker.answered()

    def _reject(self, delivery: Delivery, reason: str) -> None:
        event = WorklistRejected(**self.event_fields(delivery), reason=reason)
        self.end(delivery, State.REJECTED, reason=reason, event=event)
