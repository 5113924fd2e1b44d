"""From the topics of studies into the ledger: an offset is committed once what its record tells is noted."""

from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import Consumer

from gateways import kafka
from gateways.inbox import Inbox
from gateways.metrics import UNDECODABLE_STUDIES
from gateways.watch.ledger import Ledger
from gateways.watch.studies import Study
from schemas.base import Event
from schemas.events import SeriesReceived, StudyAssembled, StudyTriaged
from schemas.topics import DICOM_SERIES, RESULTS, STUDIES

TOPICS: Final = (DICOM_SERIES.name, STUDIES.name, RESULTS.name)


def consumer(bootstrap: str, ledger: Ledger) -> Consumer:
    """Reads what happens to studies, all of it.

    A ledger has one reader. Its membership is static, so that after a crash it need not wait for its own session to
    time out.
    """
    return kafka.consumer(bootstrap, ledger.reader, **{"group.instance.id": ledger.reader})


class Intake(Inbox):
    """What happens to studies, as it comes."""

    def __init__(self, ledger: Ledger, connect: Callable[[], Consumer]) -> None:
        super().__init__(connect, TOPICS, self.take, what="studies", undecodable=UNDECODABLE_STUDIES)
        self._ledger = ledger

    def take(self, events: Sequence[Event]) -> None:
        """Note what events tell, all or nothing."""
        with self._ledger.transaction():
            for event in events:
                if isinstance(event, SeriesReceived):
                    self._ledger.hear(event.site, event.sending_ae, event.series.last_image_at)
                if isinstance(event, SeriesReceived | StudyAssembled | StudyTriaged):
                    study = self._ledger.study(event.key) or Study(site=event.site, study_uid=event.study_uid)
                    self._ledger.put(event.key, study.take(event), event.time)
