"""The ``Inference`` port on Triton: load a series, show it to a model, measure what the model marked."""

import asyncio
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import ValidationError

from gateways.imaging.head import Head, find_head
from gateways.imaging.lesions import Report, classification, lesions
from gateways.imaging.midline import midsagittal
from gateways.imaging.quality import UNGATED, head_ct_quality
from gateways.imaging.shift import midline_shift_mm
from gateways.imaging.volume import Volume, load_volume
from gateways.inference.contract import Answer, answer_faults, identity
from gateways.inference.server import Failed, NotLoaded, TritonServer
from gateways.inference.settings import TritonSettings
from gateways.metrics import READING_SECONDS, READINGS
from schemas.base import ObjectRef
from schemas.events import Provenance, Reading, Series
from schemas.failures import PortFailure, Unavailable, Unreadable
from schemas.identity import study_key, trace_id
from schemas.manifest import Manifest
from schemas.models import ModelIdentity, Region

log = structlog.get_logger()


class ObjectStore(Protocol):
    """Where instances and manifests are read and label maps are put."""

    def read(self, ref: ObjectRef) -> bytes:
        """Bytes of an object, proven to be those its digest names."""
        ...

    def put(self, data: bytes, folder: str, suffix: str) -> ObjectRef:
        """Keep bytes durably, under their own digest."""
        ...


class TritonInference:
    """Reads series with the models of one Triton, a bounded number at a time."""

    def __init__(self, settings: TritonSettings, store: ObjectStore) -> None:
        self._settings = settings
        self._store = store
        self._server = TritonServer(settings)
        # Places of their own: an urgent series does not wait for one until a routine one was read.
        self._places = {urgent: asyncio.Semaphore(settings.concurrency) for urgent in (True, False)}
        self._failures: Counter[tuple[str, str]] = Counter()
        self._not_loaded: dict[tuple[str, str], float] = {}
        self.answered_at = 0.0
        """When a series was last read (monotonic)."""

    async def identify(self, model: str, version: str) -> ModelIdentity:
        """The model version as it is served now.

        Raises :class:`schemas.failures.Unavailable` where the server is away or the model not ready, and
        :class:`schemas.failures.Unreadable` where there is no such model, it breaks the contract, or it could not be
        loaded for so long that the studies of other models must not wait any longer.
        """
        try:
            configuration = await asyncio.to_thread(self._server.configuration, model, version)
        except NotLoaded as failure:
            since = self._not_loaded.setdefault((model, version), monotonic())
            if monotonic() - since < self._settings.load_patience_s:
                raise
            raise Unreadable(str(failure)) from None
        self._not_loaded.pop((model, version), None)
        return identity(configuration, version)

    async def read(
        self, site: str, study_uid: str, series: Series, model: ModelIdentity, *, urgent: bool = True
    ) -> Reading:
        """Show a series to a model. An urgent one overtakes those that wait for this model and are not.

        Raises :class:`schemas.failures.Unavailable` (away, overloaded, too slow; object store away) and
        :class:`schemas.failures.Unreadable` (pixels that cannot be decoded, an answer that breaks the contract; a
        series over which the model failed again and again, so that it cannot hold up all others for ever).
        """
        case = (series.manifest.digest, model.digest)
        key = study_key(site, study_uid)
        spoken = log.bind(study_key=key, trace_id=trace_id(key), model=model.name)
        async with self._places[urgent]:
            try:
                with _counted(model.name):
                    reading = await asyncio.to_thread(self._read, series, model, urgent)
            except Failed as error:
                self._failures[case] += 1
                spoken.warning("model failed over a series", times=self._failures[case], reason=str(error))
                if self._failures[case] < self._settings.failures:
                    raise
                times = self._failures.pop(case)
                raise Unreadable(f"given up after {times} failures over this series, the last: {error}") from error
        self._failures.pop(case, None)
        self.answered_at = monotonic()
        for step, seconds in reading.seconds.items():
            READING_SECONDS.labels(model.name, step).observe(seconds)
        spoken.info("series read", findings=len(reading.findings), seconds=round(sum(reading.seconds.values()), 2))
        return reading

    def _read(self, series: Series, model: ModelIdentity, urgent: bool) -> Reading:
        started = monotonic()
        volume = load_volume(_manifest(self._store.read(series.manifest)), self._store)
        loaded = monotonic()
        head = find_head(volume) if model.region is Region.HEAD else None
        quality = head_ct_quality(volume, head) if head else UNGATED
        if quality.refusal:
            return _refused(quality.refusal, volume, model, series, loaded - started, monotonic() - loaded)
        gated = monotonic()
        self._server.check_ready(model.name, model.version)
        answer = self._server.infer(model, volume, urgent=urgent)
        if faults := answer_faults(model, volume.voxels.shape, answer):
            raise Unreadable(f"model {model.name} breaks the contract: {'; '.join(faults)}")
        inferred = monotonic()
        report, label_map = self._measure(volume, head, answer, model, series.series_uid)
        measured = monotonic()
        return Reading(
            findings=report.findings,
            scores={str(row.code): float(score) for row, score in zip(model.classes, answer.scores, strict=True)},
            label_map=label_map,
            cautions=(*volume.cautions, *quality.cautions, *report.cautions),
            midline_shift_mm=report.midline_shift_mm,
            provenance=_provenance(model),
            content=series.manifest.digest,
            completed_at=datetime.now(UTC),
            seconds={
                "load": loaded - started,
                "gate": gated - loaded,
                "infer": inferred - gated,
                "measure": measured - inferred,
            },
        )

    def _measure(
        self, volume: Volume, head: Head | None, answer: Answer, model: ModelIdentity, series_uid: str
    ) -> tuple[Report, ObjectRef | None]:
        if answer.labels is None:
            return classification(volume, model.classes, answer.scores, series_uid), None
        middle = midsagittal(head) if head and answer.labels.any() else None
        report = lesions(
            volume,
            answer.labels,
            model.classes,
            answer.scores,
            series_uid,
            probability=answer.probability,
            agreement=answer.agreement,
            middle=middle,
        )
        if middle is not None:
            report = report._replace(midline_shift_mm=midline_shift_mm(volume, middle))
        try:
            return report, self._store.put(label_map_archive(volume, answer.labels), "label-maps", ".npz")
        except OSError as error:
            raise Unavailable(f"the label map cannot be stored: {error.strerror}") from error


def label_map_archive(volume: Volume, labels: NDArray[np.uint8]) -> bytes:
    """What is kept of the labels [z, y, x] of a volume.

    Most of a head is not marked: ``box_labels`` are the labels of the smallest box that holds all that is, from voxel
    ``box_origin`` on in a volume of the size ``shape``, for readers that would inflate ``labels`` for its zeros.
    """
    spans = [np.flatnonzero(labels.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(int(span[0]), int(span[-1]) + 1) if len(span) else slice(0, 0) for span in spans)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        labels=labels,
        box_labels=labels[box],
        box_origin=np.array([side.start for side in box]),
        shape=np.array(labels.shape),
        affine=volume.affine,
        sop_uids=np.array([name.sop_uid if name else "" for name in volume.slices]),
    )
    return content.getvalue()


def _refused(
    reason: str, volume: Volume, model: ModelIdentity, series: Series, load_s: float, gate_s: float
) -> Reading:
    """The reading of a series that the model is not for, and so was not asked about."""
    return Reading(
        findings=(),
        label_map=None,
        cautions=volume.cautions,
        refused=reason,
        provenance=_provenance(model),
        content=series.manifest.digest,
        completed_at=datetime.now(UTC),
        seconds={"load": load_s, "gate": gate_s},
    )


def _provenance(model: ModelIdentity) -> Provenance:
    return Provenance(model=model.name, version=model.version, digest=model.digest, device=model.device)


@contextmanager
def _counted(model: str) -> Iterator[None]:
    """Count how a reading ended."""
    try:
        yield
    except PortFailure as failure:
        READINGS.labels(model, "unavailable" if isinstance(failure, Unavailable) else "unreadable").inc()
        raise
    READINGS.labels(model, "read").inc()


def _manifest(content: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError:
        raise Unreadable("the manifest of the series is no manifest") from None
