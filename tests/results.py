"""Results to deliver: stored images, a label map beside them, and what a model said of them, revision by revision."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from gateways.dicom import scu
from gateways.imaging.lesions import lesions
from gateways.imaging.volume import Volume, load_volume
from gateways.inference.triton import label_map_archive
from gateways.objects import FileStore
from schemas.codes import INTRACRANIAL_HEMORRHAGE
from schemas.events import Finding, Outcome, Priority, Provenance, Reading, SeriesDecision, StudyTriaged
from schemas.identity import derived_id, study_key
from schemas.manifest import Instance, Manifest
from schemas.models import ModelClass
from sinsok.phantom.small import small_series

BEGAN = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
PROVENANCE = Provenance(model="bright", version="1", digest=f"sha256:{sha256(b'bright').hexdigest()}", device="cpu")
CLASSES = (ModelClass(label=1, name="haemorrhage", code=INTRACRANIAL_HEMORRHAGE),)


class ReadStudy:
    """A study of one series, stored as the gateway stores it, and the results that come of it."""

    def __init__(self, store: FileStore, site: str, datasets: Sequence[Dataset]) -> None:
        self.store, self.site, self.datasets = store, site, tuple(datasets)
        self.uid = str(datasets[0].StudyInstanceUID)
        self.key = study_key(site, self.uid)
        self.manifest = store.put(
            Manifest(
                site=site,
                study_uid=self.uid,
                series_uid=str(datasets[0].SeriesInstanceUID),
                instances=tuple(sorted(map(self._instance, datasets), key=lambda one: one.sop_uid)),
            )
            .model_dump_json()
            .encode(),
            f"manifests/{site}/{self.key}",
            ".json",
        )

    def volume(self) -> Volume:
        return load_volume(Manifest.model_validate_json(self.store.read(self.manifest)), self.store)

    def result(
        self,
        revision: int = 1,
        *,
        bleed: bool = True,
        unconfirmed: bool = False,
        labels: NDArray[np.uint8] | None = None,
    ) -> StudyTriaged:
        """What a model said of it: a bleed in the middle (which grows with the revision), or nothing."""
        volume = self.volume()
        if labels is None:
            labels = self._labels(volume, revision) if bleed else np.zeros(volume.voxels.shape, np.uint8)
        series_uid = str(self.datasets[0].SeriesInstanceUID)
        findings = lesions(volume, labels, CLASSES, np.array([0.9], np.float32), series_uid).findings
        at = BEGAN + timedelta(minutes=revision)
        reading = Reading(
            findings=findings,
            scores={str(INTRACRANIAL_HEMORRHAGE): 0.9},
            label_map=self.store.put(label_map_archive(volume, labels), "label-maps", ".npz"),
            provenance=PROVENANCE,
            content=self.manifest.digest,
            completed_at=at,
        )
        return self._triaged(revision, findings, reading, at, unconfirmed=unconfirmed)

    def _triaged(
        self, revision: int, findings: tuple[Finding, ...], reading: Reading, at: datetime, *, unconfirmed: bool
    ) -> StudyTriaged:
        decision = SeriesDecision(
            series_uid=str(self.datasets[0].SeriesInstanceUID),
            model="bright@1",
            reason="CT of HEAD",
            reading=reading,
            manifest=self.manifest,
        )
        return StudyTriaged(
            time=at,
            site=self.site,
            study_uid=self.uid,
            revision=revision,
            final=not unconfirmed,
            unconfirmed=unconfirmed,
            outcome=Outcome.FINDINGS if findings else Outcome.NO_FINDINGS,
            reason="bright@1: haemorrhage" if findings else "bright@1: nothing seen",
            priority=Priority.STAT if findings else Priority.ROUTINE,
            findings=findings,
            provenance=PROVENANCE,
            series=(decision,),
            supersedes=revision - 1 or None,
            assembled=derived_id(self.key, revision),
            last_image_at=BEGAN,
        )

    @staticmethod
    def _labels(volume: Volume, revision: int) -> NDArray[np.uint8]:
        labels = np.zeros(volume.voxels.shape, np.uint8)
        z, y, x = (size // 2 for size in labels.shape)
        reach = y // 8
        labels[z - 1 : z + 2, y - reach : y + reach + revision, x - reach : x + reach] = 1
        return labels

    def _instance(self, ds: Dataset) -> Instance:
        return Instance(
            sop_uid=str(ds.SOPInstanceUID),
            sop_class=str(ds.SOPClassUID),
            transfer_syntax=str(ExplicitVRLittleEndian),
            stored=self.store.put(part10(ds), f"dicom/{self.site}/{self.key}", ".dcm"),
        )


def small_study(store: FileStore, name: str, site: str = "suwon", *, slices: int = 8, size: int = 64) -> ReadStudy:
    """A study of tiny slices, in milliseconds."""
    return ReadStudy(store, site, small_series(name, slices=slices, size=size))


def bleeds(store: FileStore, count: int) -> list[StudyTriaged]:
    """Results of as many studies, each with the same bleed."""
    bleed = small_study(store, "bleeds", size=32, slices=6).result()
    uids = [f"2.25.{derived_id('bleeds', number).int}" for number in range(count)]
    return [bleed.model_copy(update={"study_uid": uid}) for uid in uids]


def to_pacs(studies: Sequence[ReadStudy], folder: Path, host: str, port: int, called: str = "PACS") -> None:
    """Send the images of studies to a PACS, as the scanner did."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for study in studies:
        for ds in study.datasets:
            path = folder / f"{ds.SOPInstanceUID}.dcm"
            path.write_bytes(part10(ds))
            files.append(scu.read_instance(path))
    sent = scu.send(files, host=host, port=port, called=called, calling="SCANNER", on_result=lambda result: None)
    assert (sent.accepted, sent.refused) == (len(files), 0)


def part10(ds: Dataset) -> bytes:
    """A DICOM file (PS3.10) in Explicit VR Little Endian."""
    content = io.BytesIO()
    ds.save_as(content, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return content.getvalue()
