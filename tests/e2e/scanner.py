"""What sends to a house: small studies with and without a bleed, and a scanner that insists on an acknowledgement."""

import socket
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import encode

from schemas.events import Outcome
from schemas.identity import study_key
from sinsok.phantom.small import small_series

Acknowledged = dict[str, set[tuple[str, str]]]
"""By study key: SOP Instance UID and sha256 of the data set of what was answered with 0x0000."""
_HU_OF_ZERO = -1024
_BRIGHT_HU = 1000


@dataclass(frozen=True)
class Study:
    """A study and what must come of it."""

    name: str
    site: str
    bright: bool
    datasets: tuple[Dataset, ...]

    @property
    def uid(self) -> str:
        return str(self.datasets[0].StudyInstanceUID)

    @property
    def key(self) -> str:
        return self.key_of(self.site, self.uid)

    @property
    def outcome(self) -> Outcome:
        return Outcome.FINDINGS if self.bright else Outcome.NO_FINDINGS

    @staticmethod
    def key_of(site: str, study_uid: str) -> str:
        return study_key(site, study_uid)


def small_study(
    name: str, *, site: str = "anseong", bright: bool = False, slices: int = 8, body_part: str = "HEAD", series: int = 1
) -> Study:
    """One series of tiny slices; the two in the middle show a bleed where it is ``bright``."""
    datasets = small_series(name, series, slices=slices, size=32, body_part=body_part)
    for ds in datasets[slices // 2 - 1 : slices // 2 + 1] if bright else ():
        pixels = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns).copy()
        pixels[10:20, 10:20] = _BRIGHT_HU - _HU_OF_ZERO
        ds.PixelData = pixels.tobytes()
    return Study(name, site, bright, datasets)


class Scanner:
    """A Storage SCU of one site. ``acknowledged`` is what it may delete."""

    def __init__(self, port: int, called_ae: str, site: str) -> None:
        self._port = port
        self._called_ae = called_ae
        self._site = site
        self._ae = AE(ae_title="SCANNER")
        self._ae.connection_timeout = self._ae.acse_timeout = 10
        self._ae.dimse_timeout = self._ae.network_timeout = 60
        self.acknowledged: Acknowledged = defaultdict(set)

    @contextmanager
    def association(self) -> Iterator[Association]:
        """An association, released at the end; not established where the gateway is away."""
        assoc = self._ae.associate(
            "127.0.0.1",
            self._port,
            [build_context(CTImageStorage, ExplicitVRLittleEndian)],
            ae_title=self._called_ae,
            evt_handlers=[(evt.EVT_CONN_OPEN, _without_delay)],
        )
        try:
            yield assoc
        finally:
            if assoc.is_established:
                assoc.release()

    def store(self, assoc: Association, ds: Dataset) -> int | None:
        """The status of a C-STORE; None where there was no answer."""
        if not assoc.is_established:
            return None
        try:
            answer = assoc.send_c_store(ds)
        except RuntimeError:  # the association has ended since
            return None
        status = int(answer.Status) if "Status" in answer else None
        if status == 0x0000:
            sent = encode(ds, is_implicit_vr=False, is_little_endian=True)
            assert sent is not None
            key = study_key(self._site, str(ds.StudyInstanceUID))
            self.acknowledged[key].add((str(ds.SOPInstanceUID), sha256(sent).hexdigest()))
        return status

    def send(self, datasets: Iterable[Dataset]) -> list[int | None]:
        """The statuses of C-STOREs over one association."""
        with self.association() as assoc:
            return [self.store(assoc, ds) for ds in datasets]

    def insist(self, datasets: Sequence[Dataset], *, seconds: float = 180) -> int:
        """Send until everything is acknowledged, as a scanner does; how many associations that took."""
        deadline, attempts, left = time.monotonic() + seconds, 0, list(datasets)
        while left:
            assert time.monotonic() < deadline, f"{len(left)} instances were not acknowledged in {seconds} s"
            if attempts:
                time.sleep(0.3)
            attempts += 1
            left = [ds for ds, status in zip(left, self.send(left), strict=True) if status != 0x0000]
        return attempts


def together(scanners: Iterable[Scanner]) -> Acknowledged:
    """What several scanners were acknowledged."""
    total: Acknowledged = defaultdict(set)
    for scanner in scanners:
        for key, instances in scanner.acknowledged.items():
            total[key] |= instances
    return total


def _without_delay(event: Any) -> None:
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
