"""Results as the pipeline makes them, over stored series: only the model's answer is made up."""

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from gateways.imaging.lesions import classification, lesions
from gateways.imaging.volume import Volume, load_volume
from gateways.inference.triton import label_map_archive
from gateways.objects import FileStore
from gateways.pacs.objects import ResultObject
from schemas.base import ObjectRef
from schemas.codes import Code
from schemas.deliveries import ObjectKind
from schemas.events import Finding, Outcome, Priority, Provenance, Reading, SeriesDecision, StudyTriaged
from schemas.manifest import Instance, Manifest
from schemas.models import ModelClass

WHEN = datetime(2026, 3, 4, 5, 6, 7, 890_000, UTC)
MODEL = Provenance(model="a_model", version="2", digest=f"sha256:{'ab' * 32}", device="cpu")
CLASSES = (
    ModelClass(label=1, name="iph", code=Code(scheme="SCT", value="274100004", meaning="Cerebral hemorrhage")),
    ModelClass(label=4, name="ivh", code=Code(scheme="99SINSOK", value="IVH", meaning="Intraventricular hemorrhage")),
)


def store_series(store: FileStore, files: Iterable[tuple[str, bytes]], study_uid: str, series_uid: str) -> ObjectRef:
    """Put (SOP Instance UID, file) into the store, as the gateway does, and return the reference of the manifest."""
    instances = []
    for sop_uid, content in files:
        meta = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, force=True).file_meta
        instances.append(
            Instance(
                sop_uid=sop_uid,
                sop_class=str(meta.get("MediaStorageSOPClassUID") or CTImageStorage),
                transfer_syntax=str(meta.TransferSyntaxUID),
                stored=store.put(content, "instances", ".dcm"),
            )
        )
    listed = sorted(instances, key=lambda one: one.sop_uid)
    manifest = Manifest(site="suwon", study_uid=study_uid, series_uid=series_uid, instances=tuple(listed))
    return store.put(manifest.model_dump_json().encode(), "manifests", ".json")


def store_datasets(store: FileStore, datasets: Sequence[Dataset]) -> ObjectRef:
    files = []
    for ds in datasets:
        content = io.BytesIO()
        ds.save_as(content, enforce_file_format=True)
        files.append((str(ds.SOPInstanceUID), content.getvalue()))
    first = datasets[0]
    return store_series(store, files, str(first.get("StudyInstanceUID") or "1.2"), series_uid_of(first))


def series_uid_of(ds: Dataset) -> str:
    return str(ds.get("SeriesInstanceUID") or "1.2.3")


def volume_of(store: FileStore, manifest: ObjectRef) -> Volume:
    return load_volume(Manifest.model_validate_json(store.read(manifest)), store)


def decision(
    store: FileStore, manifest: ObjectRef, labels: NDArray[np.uint8] | None, *, midline_mm: float | None = None
) -> SeriesDecision:
    """What a segmenting model says, measured and kept as the inference gateway does; a classifier without labels."""
    volume = volume_of(store, manifest)
    series_uid = Manifest.model_validate_json(store.read(manifest)).series_uid
    scores = np.full(len(CLASSES), 0.875, np.float32)
    if labels is None:
        report, label_map = classification(volume, CLASSES[:1], scores[:1], series_uid), None
    else:
        report = lesions(volume, labels, CLASSES, scores, series_uid)
        label_map = store.put(label_map_archive(volume, labels), "label-maps", ".npz")
    reading = Reading(
        findings=report.findings,
        label_map=label_map,
        cautions=volume.cautions,
        midline_shift_mm=midline_mm,
        provenance=MODEL,
        content=manifest.digest,
        completed_at=WHEN,
    )
    return SeriesDecision(series_uid=series_uid, model="a_model", reason="head CT", reading=reading, manifest=manifest)


def with_arrays(store: FileStore, one: SeriesDecision, *without: str, **arrays: NDArray[Any]) -> SeriesDecision:
    """The label map with other arrays in its archive."""
    assert one.reading is not None
    assert one.reading.label_map is not None
    with np.load(io.BytesIO(store.read(one.reading.label_map))) as archive:
        content = {name: array for name, array in archive.items() if name not in without}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **(content | arrays))
    changed = store.put(buffer.getvalue(), "label-maps", ".npz")
    return one.model_copy(update={"reading": one.reading.model_copy(update={"label_map": changed})})


def result_of(*decisions: SeriesDecision, study_uid: str = "1.2", revision: int = 1, **changes: object) -> StudyTriaged:
    findings: tuple[Finding, ...] = tuple(
        finding for one in decisions if one.reading for finding in one.reading.findings
    )
    values: dict[str, object] = {
        "time": WHEN,
        "site": "suwon",
        "study_uid": study_uid,
        "revision": revision,
        "final": True,
        "outcome": Outcome.FINDINGS if findings else Outcome.NO_FINDINGS,
        "reason": "1 finding" if findings else "nothing was marked",
        "priority": Priority.STAT if findings else Priority.ROUTINE,
        "findings": findings,
        "provenance": MODEL,
        "series": decisions,
        "supersedes": revision - 1 if revision > 1 else None,
        "assembled": UUID(int=revision),
        "last_image_at": WHEN,
    }
    return StudyTriaged.model_validate(values | changes)


def of_kind(objects: Iterable[ResultObject], kind: ObjectKind) -> Dataset:
    """The data set of the only object of a kind."""
    (found,) = (one for one in objects if one.written.kind is kind)
    return pydicom.dcmread(io.BytesIO(found.content))


def kinds_of(objects: Iterable[ResultObject]) -> list[ObjectKind]:
    return [one.written.kind for one in objects]


def store_in(folder: Path) -> FileStore:
    return FileStore(folder / "store")
