"""From ``triage.results`` into the ledger: an offset is committed once its result is noted for every destination."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer

from gateways import kafka
from gateways.delivery.ledger import Ledger
from gateways.inbox import Inbox
from gateways.metrics import UNDECODABLE_RESULTS
from schemas.base import Event
from schemas.events import StudyTriaged
from schemas.topics import RESULTS

GROUP: Final = "sinsok-pacs-writer"


def consumer(bootstrap: str) -> Consumer:
    """Reads results, all of them."""
    return kafka.consumer(bootstrap, GROUP, **{"partition.assignment.strategy": "cooperative-sticky"})


class Intake(Inbox):
    """Results, as they come. ``destinations`` are the names of those of each site; ``noted`` wakes who delivers."""

    def __init__(
        self,
        ledger: Ledger,
        connect: Callable[[], Consumer],
        destinations: Mapping[str, Sequence[str]],
        noted: Callable[[str], None],
    ) -> None:
        super().__init__(connect, [RESULTS.name], self.take, what="results", undecodable=UNDECODABLE_RESULTS)
        self._ledger = ledger
        self._destinations = destinations
        self._noted = noted

    def take(self, events: Sequence[Event]) -> None:
        """Note for whom the results among them are, all or nothing."""
        now, owed = time.time(), set()
        with self._ledger.transaction():
            for result in events:
                if not isinstance(result, StudyTriaged):
                    continue
                for destination in self._destinations.get(result.site, ()):
                    if self._ledger.owe(destination, result, now):
                        owed.add(destination)
        for destination in owed:
            self._noted(destination)
