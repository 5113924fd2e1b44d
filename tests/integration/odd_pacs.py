"""A PACS that behaves as real ones do at times, on pynetdicom: it reports early, late, twice, or breaks off."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    PatientRootQueryRetrieveInformationModelFind,
    SecondaryCaptureImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from gateways.dicom.association import Address

STORAGE = (SecondaryCaptureImageStorage, Comprehensive3DSRStorage)
STUDY_ROOT, PATIENT_ROOT = StudyRootQueryRetrieveInformationModelFind, PatientRootQueryRetrieveInformationModelFind
COMMITMENT = StorageCommitmentPushModel
BOTH = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
Committing = Callable[["OddPacs", Any, Dataset], int | Dataset]


class OddPacs:
    """Its oddities are set before it is called. ``arrived`` holds what it was sent: transfer syntax and data set."""

    def __init__(self, classes: Mapping[str, Sequence[str]] | None = None) -> None:
        self.classes = classes or dict.fromkeys((*STORAGE, STUDY_ROOT, PATIENT_ROOT, COMMITMENT, Verification), BOTH)
        self.statuses: Iterator[int | Dataset | None] = iter(())
        """Of the next C-STOREs; success when they are used up. None: aborts instead of answering."""
        self.matches: Iterable[tuple[int | Dataset, Dataset | None]] = ()
        self.echo: int | Dataset = 0x0000
        self.commit: Committing = lambda pacs, event, request: 0x0000
        self.arrived: list[tuple[str, bytes]] = []
        self.associations: list[Any] = []
        self.identifiers: list[Dataset] = []
        self.answers: list[int | None] = []
        """What its reports were answered with."""
        self.sent: list[bytes] = []
        """Its PDUs."""
        self.threads: list[Thread] = []
        self.reject = False

    @contextmanager
    def running(self, port: int = 0, ssl_context: Any = None) -> Iterator["OddPacs"]:
        ae = AE("PACS")
        ae.require_called_aet = True
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        for sop_class, syntaxes in self.classes.items():
            ae.add_supported_context(sop_class, list(syntaxes))
        handlers = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ESTABLISHED, lambda event: self.associations.append(event.assoc)),
            (evt.EVT_DATA_SENT, lambda event: self.sent.append(event.data)),
            (evt.EVT_C_ECHO, lambda _: self.echo),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_N_ACTION, self._action),
        ]
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=ssl_context)
        self.port = server.server_address[1]
        try:
            yield self
        finally:
            for thread in self.threads:
                thread.join(20)
            server.shutdown()
            ae.shutdown()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port, "PACS", "SINSOK")

    def later(self, work: Callable[[], None]) -> None:
        thread = Thread(target=work)
        self.threads.append(thread)
        thread.start()

    def report(self, assoc: Any, ds: Dataset) -> None:
        event_type = 2 if ds.get("FailedSOPSequence") else 1
        status, _ = assoc.send_n_event_report(ds, event_type, COMMITMENT, StorageCommitmentPushModelInstance)
        self.answers.append(status.get("Status"))

    def report_anew(self, port: int, *reports: Dataset, called: str = "SINSOK", ssl: Any = None) -> None:
        """On an association of its own, as whose SCP it declares itself."""
        ae = AE("PACS")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        ae.add_requested_context(COMMITMENT)
        role = build_role(COMMITMENT, scp_role=True)
        tls = (ssl, "127.0.0.1") if ssl else None
        assoc = ae.associate("127.0.0.1", port, ext_neg=[role], ae_title=called, tls_args=tls)
        assert assoc.is_established
        for ds in reports:
            self.report(assoc, ds)
        assoc.release()

    def _requested(self, event: Any) -> None:
        if self.reject:
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            event.assoc.kill()

    def _store(self, event: Any) -> int | Dataset:
        status = next(self.statuses, 0x0000)
        if status is None:
            event.assoc.abort()
            return 0x0110
        self.arrived.append((str(event.context.transfer_syntax), event.request.DataSet.getvalue()))
        return status

    def _find(self, event: Any) -> Iterator[tuple[int | Dataset, Dataset | None]]:
        self.identifiers.append(event.identifier)
        yield from self.matches

    def _action(self, event: Any) -> tuple[int | Dataset, None]:
        return self.commit(self, event, event.action_information), None


def report_of(request: Dataset, failed: Mapping[str, int] | None = None, transaction_uid: str | None = None) -> Dataset:
    """A report on what was asked: all is well, but for these."""
    ds = Dataset()
    ds.TransactionUID = transaction_uid or request.TransactionUID
    stored, lost = [], []
    for item in request.ReferencedSOPSequence:
        reference = Dataset()
        reference.ReferencedSOPClassUID = item.ReferencedSOPClassUID
        reference.ReferencedSOPInstanceUID = item.ReferencedSOPInstanceUID
        reason = (failed or {}).get(item.ReferencedSOPInstanceUID)
        if reason is not None:
            reference.FailureReason = reason
        (stored if reason is None else lost).append(reference)
    if stored:
        ds.ReferencedSOPSequence = stored
    if lost:
        ds.FailedSOPSequence = lost
    return ds


def on_the_same_association(pacs: OddPacs, event: Any, request: Dataset) -> int:
    """It answers, and reports a moment later."""
    pacs.later(lambda: pacs.report(event.assoc, report_of(request)))
    return 0x0000


def before_it_answers(pacs: OddPacs, event: Any, request: Dataset) -> int:
    pacs.report(event.assoc, report_of(request))
    return 0x0000


def twice_and_of_another(pacs: OddPacs, event: Any, request: Dataset) -> int:
    pacs.report(event.assoc, report_of(request, transaction_uid="1.2.999"))
    pacs.report(event.assoc, report_of(request))
    return 0x0000


def without_one_object(pacs: OddPacs, event: Any, request: Dataset) -> int:
    lost = request.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    pacs.report(event.assoc, report_of(request, failed={lost: 0x0112}))
    return 0x0000


def breaks_off(pacs: OddPacs, event: Any, request: Dataset) -> int:
    event.assoc.abort()
    return 0x0110
