"""The objects of a result in the eyes of others: dciodvfy, dcmtk, and dicom-validator with the standard's tables."""

import shutil
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from gateways.objects import FileStore
from gateways.pacs.objects import ResultObject, objects_of
from gateways.pacs.settings import ObjectSettings
from schemas.deliveries import ObjectKind
from sinsok.phantom import Case, build
from tests.standard import faults
from tests.unit.gateways.pacs.objects.examples import (
    decision,
    of_kind,
    result_of,
    store_datasets,
    store_in,
    volume_of,
)

pytestmark = pytest.mark.integration

KNOWN_WARNINGS = (
    # Private coding schemes are allowed (PS3.16, 8.2); dciodvfy lists those it has heard of.
    "Warning - Unrecognized defined term <99SINSOK> for value 1 of attribute <Coding Scheme Designator>",
)
OF_DCMTK = {
    # Of what dsrdump itself has converted to UTF-8 for printing.
    b"W: The VR checker does not support this Specific Character Set: ISO_IR 192",
    # Of itself, not of the rejection note: dcmtk has no templates to check it with.
    b"W: Check for template constraints not yet supported",
}
CASES = ("plain", "unsorted and tilted", "enhanced", "korean", "no frame of reference", "fractional")
KINDS = tuple(ObjectKind)
Revisions = list[tuple[ResultObject, ...]]


def phantom(case: str) -> list[Dataset]:
    datasets = list(build(Case.ENHANCED if case == "enhanced" else Case.IPH, slices=8, volume_ml=3).datasets)
    for number, ds in enumerate(datasets):
        if case == "unsorted and tilted":
            x, y, z = (float(one) for one in ds.ImagePositionPatient)
            ds.ImagePositionPatient = [x, round(y + number * 2.5, 4), z]
        if case == "korean":
            ds.SpecificCharacterSet = ["", "ISO 2022 IR 149"]
            ds.PatientName = "PHANTOM^KIM=팬텀^가나"
        if case == "no frame of reference":
            del ds.FrameOfReferenceUID
            del ds.PositionReferenceIndicator
    return datasets[::-1] if case == "unsorted and tilted" else datasets


def written(case: str, store: FileStore) -> Revisions:
    """Three revisions: findings, other findings, none any more."""
    datasets = phantom(case)
    truth = build(Case.ENHANCED if case == "enhanced" else Case.IPH, slices=8, volume_ml=3).truth
    assert truth is not None
    manifest = store_datasets(store, datasets)
    assert volume_of(store, manifest).voxels.shape == truth.labels.shape
    found = decision(store, manifest, truth.labels, midline_mm=2.5)
    assert found.reading is not None
    cleared = found.model_copy(
        update={"reading": found.reading.model_copy(update={"findings": (), "midline_shift_mm": None})}
    )
    study_uid = str(datasets[0].StudyInstanceUID)
    choice = ObjectSettings(
        language="ko" if case == "korean" else "en", segmentation="fractional" if case == "fractional" else "binary"
    )
    made: Revisions = []
    for result in (
        result_of(found, study_uid=study_uid, unconfirmed=True),
        result_of(found, study_uid=study_uid, revision=2),
        result_of(cleared, study_uid=study_uid, revision=3),
    ):
        earlier = [one.written for one in (made[-1] if made else ()) if one.written.kind is not ObjectKind.REJECTION]
        made.append(objects_of(result, earlier, choice, store))
    return made


@pytest.fixture(scope="module", params=CASES)
def revisions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Revisions:
    return written(request.param, store_in(tmp_path_factory.mktemp("objects")))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[ObjectKind, Dataset]:
    """One object of each kind, to be damaged."""
    objects = written("plain", store_in(tmp_path_factory.mktemp("plain")))[1]
    return {kind: of_kind(objects, kind) for kind in KINDS}


def files(revisions: Revisions, folder: Path) -> list[Path]:
    paths = []
    for number, objects in enumerate(revisions, start=1):
        for one in objects:
            paths.append(folder / f"{number}-{one.written.kind}.dcm")
            paths[-1].write_bytes(one.content)
    assert len(paths) == 3 + 4 + 3
    return paths


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_dciodvfy_finds_no_fault(revisions: Revisions, tmp_path: Path) -> None:
    for file in files(revisions, tmp_path):
        report = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        lines = (report.stdout + report.stderr).splitlines()
        assert lines, "dciodvfy names the IOD it checks"
        spoken = {line for line in lines if line.startswith(("Error", "Warning"))}
        assert spoken - set(KNOWN_WARNINGS) == set(), file.name


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dcmtk is not installed")
def test_dcmtk_reads_them(revisions: Revisions, tmp_path: Path) -> None:
    for file in files(revisions, tmp_path):
        dump = subprocess.run(["dcmdump", "+L", file], capture_output=True, check=False)
        assert dump.returncode == 0, dump.stderr
        assert not dump.stderr
        if "report" in file.name or "rejection" in file.name:
            tree = subprocess.run(["dsrdump", "+U8", file], capture_output=True, check=False)
            assert tree.returncode == 0, tree.stderr
            assert set(tree.stderr.splitlines()) <= OF_DCMTK
            # It cuts long texts anywhere, also within a sign.
            assert ("팬텀" in tree.stdout.decode(errors="replace")) == ("팬텀" in str(dcmread(file).PatientName))
            title = b"Imaging Measurement Report" if "report" in file.name else b"Rejected for Quality Reasons"
            assert title in tree.stdout


def test_dicom_validator_finds_no_fault(revisions: Revisions) -> None:
    for objects in revisions:
        for one in objects:
            assert faults(one.content) == [], one.written.kind


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (ObjectKind.REPORT, "CompletionFlag"),
        (ObjectKind.REPORT, "StudyInstanceUID"),
        (ObjectKind.REPORT, "PatientName"),
        (ObjectKind.REPORT, "ContentSequence.RelationshipType"),
        (ObjectKind.REPORT, "ContentSequence.ConceptCodeSequence"),
        (ObjectKind.SEGMENTATION, "SegmentSequence.SegmentLabel"),
        (ObjectKind.SEGMENTATION, "ContentLabel"),
        (ObjectKind.SEGMENTATION, "SoftwareVersions"),
        (ObjectKind.SEGMENTATION, "DimensionOrganizationSequence"),
        (ObjectKind.KEY_IMAGE, "ConversionType"),
        (ObjectKind.KEY_IMAGE, "PhotometricInterpretation"),
        (ObjectKind.REJECTION, "CurrentRequestedProcedureEvidenceSequence"),
        (ObjectKind.REJECTION, "CurrentRequestedProcedureEvidenceSequence.ReferencedSeriesSequence"),
    ],
)
def test_a_missing_attribute_is_a_fault(plain: dict[ObjectKind, Dataset], kind: ObjectKind, path: str) -> None:
    """Or the validator above would see nothing either."""
    *parents, keyword = path.split(".")
    item = damaged = deepcopy(plain[kind])
    for parent in parents:
        item = item[parent].value[0]
    delattr(item, keyword)
    assert any(fault.endswith(f"{path.replace('.', '/')}: TagMissing") for fault in faults(damaged)), faults(damaged)


@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_attribute_is_a_fault(plain: dict[ObjectKind, Dataset], kind: ObjectKind) -> None:
    foreign = deepcopy(plain[kind])
    foreign.RTPlanLabel = "PHANTOM"
    assert faults(foreign) == ["General: RTPlanLabel: TagUnexpected"]
