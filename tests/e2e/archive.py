"""A hospital whose results are written: Kafka, Orthanc and the writer on free ports, and what the PACS then has."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.request import Request, urlopen

import pydicom
from pydicom.dataset import Dataset

from gateways import kafka
from gateways.delivery.ledger import OPEN, Ledger
from gateways.objects import FileStore
from schemas.base import Event
from schemas.deliveries import DeliveryEvent, ObjectKind, ResultArchived
from schemas.envelope import decode
from schemas.events import StudyTriaged
from schemas.topics import DELIVERIES, topic_of
from sinsok.stack.parts import create_topics, topics
from tests.results import ReadStudy, to_pacs
from tests.stack import Installation, RunningPart, free_port, install

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
KINDS = {
    COMPREHENSIVE_3D_SR: ObjectKind.REPORT,
    "1.2.840.10008.5.1.4.1.1.66.4": ObjectKind.SEGMENTATION,
    "1.2.840.10008.5.1.4.1.1.7": ObjectKind.KEY_IMAGE,
    "1.2.840.10008.5.1.4.1.1.88.59": ObjectKind.REJECTION,
}
E_ = TypeVar("E_", bound=Event)


class Archive:
    """The parts by name, and what the topics and the PACS say. Nothing is started yet."""

    def __init__(self, folder: Path, *, changes: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        writer = f"[writer]\nport = {free_port()}\n"
        self.folder = folder
        self.installation: Installation = install(folder, changes=writer + changes)
        self.settings = self.installation.settings
        self.store = FileStore(self.settings.store)
        self.kafka, self.orthanc, self.writer = (
            self.installation.part(name) for name in ("kafka", "orthanc", "pacs-writer")
        )

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

    def study(self, study: ReadStudy) -> "ArchivedStudy":
        """The study as the PACS has it."""
        return ArchivedStudy([self._instance(number) for number in self._find(study.uid)])

    def _find(self, study_uid: str) -> list[str]:
        found: list[str] = self.ask("/tools/find", {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid}})
        return found

    def _instance(self, number: str) -> Dataset:
        return pydicom.dcmread(BytesIO(self.file(number)))

    def file(self, number: str) -> bytes:
        """An instance by Orthanc's own number, as a file."""
        with urlopen(f"http://{self._http}/instances/{number}/file", timeout=60) as answer:
            content: bytes = answer.read()
        return content

    def ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        """Orthanc's own interface."""
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"http://{self._http}{path}", data, method=method), timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    @property
    def _http(self) -> str:
        return f"{self.settings.orthanc.host}:{self.settings.orthanc.http_port}"


@dataclass(frozen=True)
class ArchivedStudy:
    """What a PACS has of a study."""

    instances: Sequence[Dataset]

    @cached_property
    def by_kind(self) -> dict[ObjectKind, list[Dataset]]:
        """The objects that were written for results, oldest first."""
        found: dict[ObjectKind, list[Dataset]] = defaultdict(list)
        for ds in sorted(self.instances, key=lambda ds: int(ds.InstanceNumber)):
            if str(ds.SOPClassUID) in KINDS:
                found[KINDS[str(ds.SOPClassUID)]].append(ds)
        return found

    @property
    def replaced(self) -> set[str]:
        """SOP Instance UIDs that a later report names as its predecessors or a note rejects."""
        chain = (ds for ds in self.by_kind[ObjectKind.REPORT] if "PredecessorDocumentsSequence" in ds)
        named = [item for ds in chain for item in _references(ds.PredecessorDocumentsSequence)]
        notes = self.by_kind[ObjectKind.REJECTION]
        named += [item for ds in notes for item in _references(ds.CurrentRequestedProcedureEvidenceSequence)]
        return set(named)

    def current(self, kind: ObjectKind) -> list[Dataset]:
        """The objects of a kind that nothing has replaced."""
        return [ds for ds in self.by_kind[kind] if str(ds.SOPInstanceUID) not in self.replaced]


def archived(said: Iterable[ResultArchived], result: StudyTriaged) -> list[ResultArchived]:
    return [event for event in said if event.result == result.event_id]


def _references(studies: Iterable[Dataset]) -> Iterator[str]:
    for study in studies:
        for series in study.ReferencedSeriesSequence:
            yield from (str(item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence)
