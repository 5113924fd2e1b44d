"""The gateway's parts on a folder of their own, without a network and without a broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.dicom.batches import Batches
from gateways.dicom.committer import Committer
from gateways.dicom.journal import Journal
from gateways.dicom.leniency import accept_what_comes
from gateways.dicom.receiver import Receiver
from gateways.dicom.settings import DicomGatewaySettings
from gateways.objects import FileStore
from schemas.base import Event
from schemas.envelope import decode


class Bench:
    """Receiver, journal and batches on one store."""

    def __init__(self, root: Path, **settings: object) -> None:
        self.store = FileStore(root)
        self.journal = Journal(root / "journal.sqlite")
        self.committer = Committer(self.journal)
        self.committer.start()
        chosen = DicomGatewaySettings.model_validate({"min_free_mb": 0} | settings)
        self.receiver = Receiver(chosen, self.store, self.journal, self.committer)
        self.receiver.prepare()
        self.batches = Batches(self.journal, self.store)

    def events(self) -> list[Event]:
        """What is in the outbox."""
        return [decode(row.message.headers, row.message.value) for row in self.journal.outbox(1000)]

    def close(self) -> None:
        self.committer.stop()
        self.journal.close()


@pytest.fixture(autouse=True)
def _lenient() -> None:
    accept_what_comes()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()
