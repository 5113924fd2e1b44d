"""Fakes of what lies behind the ports; tests/contract proves that they behave as the real ones do."""

from datetime import UTC, datetime
from hashlib import sha256

from schemas.base import ObjectRef
from schemas.codes import INTRACRANIAL_HEMORRHAGE
from schemas.events import Finding, Provenance, Reading, Series
from schemas.failures import NotInstalled, PortFailure
from schemas.models import Contract, ModelClass, ModelIdentity


def series(content: str = "a", manifest: ObjectRef | None = None) -> Series:
    """A CT series of which nothing matters but its content."""
    digest = f"sha256:{sha256(content.encode()).hexdigest()}"
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Series(
        series_uid="1.2.3",
        modality="CT",
        body_part="HEAD",
        study_description=None,
        series_description=None,
        kernel=None,
        slice_thickness_mm=5.0,
        sop_classes=("1.2.840.10008.5.1.4.1.1.2",),
        transfer_syntaxes=("1.2.840.10008.1.2.1",),
        instances=2,
        expected_instances=None,
        geometry=None,
        first_image_at=now,
        last_image_at=now,
        manifest=manifest or ObjectRef(uri=f"memory:{digest}", digest=digest, size_bytes=0),
    )


class FakeModels:
    """One model that finds the same bleed in every series it is shown; counts how often it was asked."""

    def __init__(self, name: str = "m", *, fails: PortFailure | None = None) -> None:
        row = ModelClass(label=1, name="haemorrhage", code=INTRACRANIAL_HEMORRHAGE)
        self.model = ModelIdentity(
            name=name,
            version="1",
            digest=f"sha256:{sha256(name.encode()).hexdigest()}",
            contract=Contract.SEGMENTATION,
            classes=(row,),
            device="cpu",
        )
        self.fails = fails
        self.read_count = 0

    async def identify(self, model: str, version: str) -> ModelIdentity:
        if (model, version) != (self.model.name, self.model.version):
            raise NotInstalled(f"there is no model {model} version {version}")
        return self.model

    async def read(
        self, site: str, study_uid: str, series: Series, model: ModelIdentity, *, urgent: bool = True
    ) -> Reading:
        if self.fails is not None:
            raise self.fails
        self.read_count += 1
        finding = Finding(
            code=INTRACRANIAL_HEMORRHAGE,
            probability=0.9,
            volume_ml=20.0,
            centroid_mm=(0.0, 0.0, 0.0),
            box_mm=((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)),
            series_uid=series.series_uid,
            key_instance_uid="2.25.1",
        )
        return Reading(
            findings=(finding,),
            scores={str(INTRACRANIAL_HEMORRHAGE): 0.9},
            label_map=None,
            provenance=Provenance(model=model.name, version=model.version, digest=model.digest, device=model.device),
            content=series.manifest.digest,
            completed_at=datetime.now(UTC),
        )
