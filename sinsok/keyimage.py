"""The key image of a finding as a PNG file, from the stored series and the label map of its reading."""

import io
from pathlib import Path

import numpy as np

from gateways.imaging.picture import key_image
from gateways.imaging.volume import load_volume
from gateways.objects import FileStore
from schemas.base import ObjectRef
from schemas.events import Finding, StudyTriaged
from schemas.manifest import Manifest
from sinsok.settings import Settings


def write_key_image(
    settings: Settings, result: StudyTriaged, finding: Finding, manifest: ObjectRef, path: Path
) -> None:
    """Draw the finding's key slice with the lesion outlined."""
    store = FileStore(settings.store)
    reading = next(one.reading for one in result.series if one.reading and one.series_uid == finding.series_uid)
    assert reading.label_map is not None, "a finding of a segmentation has a label map"
    volume = load_volume(Manifest.model_validate_json(store.read(manifest)), store)
    with np.load(io.BytesIO(store.read(reading.label_map))) as archive:
        labels = archive["labels"]
    z = next(
        number
        for number, name in enumerate(volume.slices)
        if name and (name.sop_uid, name.frame) == (finding.key_instance_uid, finding.key_frame)
    )
    path.write_bytes(key_image(volume, labels, z, reading.provenance))
