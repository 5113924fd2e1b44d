"""A real case reaches the alert topic from dcmtk's storescu, from a PACS and from our own client, invalid UIDs or not.

Its data sets have letters in their UIDs and no SOP Class UID. For want of the latter storescu and Orthanc refuse to
send them: as they are they go by our own client, and by the others with the SOP class stated.
"""

import http.client
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from pydicom import config, dcmread
from pydicom.uid import CTImageStorage, generate_uid

from gateways.dicom import scu
from schemas.deliveries import ResultArchived
from schemas.events import StudyTriaged
from schemas.topics import alerts
from sinsok.stack.part import CHECKOUT
from tests.e2e.house import SITES, House
from tests.e2e.pacs import Orthanc
from tests.e2e.read_back import check_reads_back
from tests.stack import wait_until

pytestmark = pytest.mark.e2e
CASE = "rsna2019_ich_ID_fff502d5"
SITE = "suwon"
SECONDS = 180
HAEMORRHAGE = ("SCT", "1386000")
SCHEMA = CHECKOUT / "schemas" / "json" / "AlertRaised.v1.schema.json"

Deliver = Callable[[House, Path], None]


def storescu(house: House, folder: Path) -> None:
    port = str(house.settings.dicom.port)
    command = ["storescu", "-aec", SITES[SITE], "127.0.0.1", port, "+sd", str(folder)]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    sent = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert sent.returncode == 0, sent.stdout + sent.stderr


def orthanc(house: House, folder: Path) -> None:
    def post(path: str, body: bytes) -> dict[str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", house.settings.orthanc.http_port, timeout=SECONDS)
        connection.request("POST", path, body)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200, text
        return json.loads(text)

    (study,) = {post("/instances", path.read_bytes())["ParentStudy"] for path in sorted(folder.iterdir())}
    post(f"/modalities/{SITES[SITE]}/store", study.encode())


def own_client(house: House, folder: Path) -> None:
    summary = scu.send(
        [scu.read_instance(path) for path in sorted(folder.iterdir())],
        host="127.0.0.1",
        port=house.settings.dicom.port,
        called=SITES[SITE],
        calling="SCANNER",
        on_result=lambda _: None,
    )
    assert summary.refused == 0


@pytest.fixture(autouse=True)
def _accept_invalid_uids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.settings, "_reading_validation_mode", config.IGNORE)
    monkeypatch.setattr(config.settings, "_writing_validation_mode", config.IGNORE)


@pytest.mark.parametrize("deliver", [storescu, orthanc])
@pytest.mark.parametrize("valid", [True, False], ids=["valid UIDs", "invalid UIDs"])
def test_the_real_case_raises_an_alert(
    house: House, shared: Path, tmp_path: Path, deliver: Deliver, valid: bool
) -> None:
    # With its own UIDs the second one to send it would bring nothing new.
    copy_case(shared, tmp_path, generate_uid() if valid else f"ID_{deliver.__name__}", valid=valid)
    deliver(house, tmp_path)
    check_alert(house, shared, tmp_path)


def test_what_was_found_in_the_real_case_stands_in_the_pacs(house: House, shared: Path, tmp_path: Path) -> None:
    study = generate_uid()
    copy_case(shared, tmp_path, study)
    orthanc(house, tmp_path)

    def archived() -> StudyTriaged:
        results = [one for one in house.events(StudyTriaged) if one.study_uid == study and one.final]
        assert results, "no final result"
        newest = max(results, key=lambda one: one.revision)
        assert newest.event_id in {event.result for event in house.events(ResultArchived)}, "it is not archived"
        return newest

    wait_until(archived, seconds=SECONDS, every_s=0.5)
    check_reads_back(Orthanc(house.settings.orthanc).study(study), archived(), house.store)


def test_the_real_case_as_it_is_raises_an_alert(house: House, shared: Path, tmp_path: Path) -> None:
    for path in (shared / "cases" / CASE).glob("*.dcm"):
        (tmp_path / path.name).symlink_to(path)
    own_client(house, tmp_path)
    check_alert(house, shared, tmp_path)


def copy_case(shared: Path, folder: Path, study_uid: str, *, valid: bool = True) -> None:
    """The real case as a study of this UID; series and images get UIDs that are valid too, or keep theirs."""
    series_uid = generate_uid()
    for path in (shared / "cases" / CASE).glob("*.dcm"):
        ds = dcmread(path)
        ds.SOPClassUID = CTImageStorage
        ds.StudyInstanceUID = study_uid
        if valid:
            ds.SeriesInstanceUID, ds.SOPInstanceUID = series_uid, generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(folder / path.name)


def check_alert(house: House, shared: Path, folder: Path) -> None:
    """Wait for the alert of the study in the folder, on the topic and in the words of its schema alone."""
    slices = [dcmread(path, stop_before_pixels=True) for path in folder.iterdir()]
    study_uid = str(slices[0].StudyInstanceUID)
    with np.load(shared / "cases" / f"{CASE}_blast_ct_model1_f32.npz") as reference:
        shows = (reference["labels"] > 0).any(axis=(1, 2))
    upwards = sorted(slices, key=lambda ds: float(ds.ImagePositionPatient[2]))
    bleeding = {str(ds.SOPInstanceUID) for ds, seen in zip(upwards, shows, strict=True) if seen}
    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))

    def raised() -> None:
        records = house.records(alerts(SITE).name)
        told = [json.loads(record.value or b"null") for record in records]
        mine = [alert for alert in told if alert["study_uid"] == study_uid]
        assert mine, f"no alert for {study_uid}"
        for alert in mine:
            validator.validate(alert)
            largest = max(alert["findings"], key=lambda finding: finding["volume_ml"])
            assert (largest["code"]["scheme"], largest["code"]["value"]) == HAEMORRHAGE
            assert largest["key_instance_uid"] in bleeding

    wait_until(raised, seconds=SECONDS, every_s=0.5)
