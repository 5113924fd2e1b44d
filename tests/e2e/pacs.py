"""What a PACS has of a study: Orthanc, asked by its own interface, and the objects that results left there."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any
from urllib.request import Request, urlopen

import pydicom
from pydicom.dataset import Dataset

from schemas.deliveries import ObjectKind
from sinsok.settings import OrthancSettings

KINDS = {
    "1.2.840.10008.5.1.4.1.1.88.34": ObjectKind.REPORT,
    "1.2.840.10008.5.1.4.1.1.66.4": ObjectKind.SEGMENTATION,
    "1.2.840.10008.5.1.4.1.1.7": ObjectKind.KEY_IMAGE,
    "1.2.840.10008.5.1.4.1.1.88.59": ObjectKind.REJECTION,
}


class Orthanc:
    """The PACS, through HTTP."""

    def __init__(self, settings: OrthancSettings) -> None:
        self._http = f"{settings.host}:{settings.http_port}"

    def study(self, study_uid: str) -> "ArchivedStudy":
        """The study as it stands there now."""
        numbers = self.ask("/tools/find", {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid}})
        return ArchivedStudy([pydicom.dcmread(BytesIO(self.file(number))) for number in numbers])

    def file(self, number: str) -> bytes:
        """An instance by Orthanc's own number, as a file."""
        with urlopen(f"http://{self._http}/instances/{number}/file", timeout=60) as answer:
            content: bytes = answer.read()
        return content

    def ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        """What it answers to a request."""
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"http://{self._http}{path}", data, method=method), timeout=60) as answer:
            return json.loads(answer.read() or b"null")


@dataclass(frozen=True)
class ArchivedStudy:
    """What a PACS has of a study."""

    instances: Sequence[Dataset]

    @cached_property
    def by_kind(self) -> dict[ObjectKind, list[Dataset]]:
        """The objects that were written for results, oldest first."""
        found: dict[ObjectKind, list[Dataset]] = defaultdict(list)
        written = [ds for ds in self.instances if str(ds.SOPClassUID) in KINDS]
        for ds in sorted(written, key=lambda ds: int(ds.InstanceNumber)):
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


def _references(studies: Iterable[Dataset]) -> Iterator[str]:
    for study in studies:
        for series in study.ReferencedSeriesSequence:
            yield from (str(item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence)
