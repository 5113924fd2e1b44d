"""A hospital whose results are written: Kafka, Orthanc and the writer on free ports, and what the PACS then has."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from gateways import kafka
from gateways.delivery.ledger import OPEN, Ledger
from gateways.objects import FileStore
from schemas.base import Event
from schemas.deliveries import DeliveryEvent, ResultArchived
from schemas.envelope import decode
from schemas.events import StudyTriaged
from schemas.topics import DELIVERIES, topic_of
from sinsok.stack.parts import create_topics, topics
from tests.e2e.pacs import Orthanc
from tests.results import ReadStudy, to_pacs
from tests.stack import Installation, RunningPart, install

E_ = TypeVar("E_", bound=Event)


class Archive:
    """The parts by name, and what the topics and the PACS say. Nothing is started yet."""

    def __init__(self, folder: Path, *, changes: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.installation: Installation = install(folder, changes=changes)
        self.settings = self.installation.settings
        self.store = FileStore(self.settings.store)
        self.kafka, self.orthanc, self.writer = (
            self.installation.part(name) for name in ("kafka", "orthanc", "pacs-writer")
        )
        self.pacs = Orthanc(self.settings.orthanc)

    def start(self, *parts: RunningPart) -> Self:
        """Start what does not run of these, or of all."""
        for part in parts or (self.kafka, self.orthanc, self.writer):
            if not part.running:
                part.start()
                if part is self.kafka:
                    create_topics(self.bootstrap, topics(self.settings))
        return self

    def kill(self) -> None:
        for part in (self.writer, self.orthanc, self.kafka):
            part.kill()

    @property
    def bootstrap(self) -> str:
        return self.settings.kafka.bootstrap_servers

    # --- what is sent ----------------------------------------------------------------------------------------------

    def images(self, studies: Sequence[ReadStudy]) -> None:
        """The images arrive in the PACS."""
        pacs = self.settings.orthanc
        to_pacs(studies, self.folder / "images", pacs.host, pacs.dicom_port, pacs.aet)

    def publish(self, results: Iterable[Event]) -> None:
        """Results stand on their topic."""
        producer = kafka.producer(self.bootstrap)
        for result in results:
            kafka.publish(producer, topic_of(result), result)

    # --- what came of it -------------------------------------------------------------------------------------------

    def said(self, kind: type[E_] = DeliveryEvent) -> list[E_]:  # type: ignore[assignment]
        """What became of results, each event once, in order."""
        found: dict[object, E_] = {}
        for record in kafka.read(self.bootstrap, [DELIVERIES.name]):
            event = decode(record.headers, record.value)
            if isinstance(event, kind):
                found.setdefault(event.event_id, event)
        return sorted(found.values(), key=lambda event: event.time)

    def open(self) -> int:
        """How many deliveries are not ended."""
        ledger = Ledger(self.settings.home / "deliveries" / "ledger.sqlite")
        try:
            return len(ledger.in_states(OPEN))
        finally:
            ledger.close()

    def outgoing(self) -> list[Path]:
        """The files that are kept for sending."""
        return list((self.settings.home / "deliveries" / "outgoing").iterdir())


def archived(said: Iterable[ResultArchived], result: StudyTriaged) -> list[ResultArchived]:
    return [event for event in said if event.result == result.event_id]
