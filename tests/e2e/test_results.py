"""What the AI found stands in the PACS, once, whatever is killed meanwhile."""

import copy
import random
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from schemas.deliveries import (
    ObjectKind,
    Proof,
    ResultArchived,
    ResultHeld,
    ResultRejected,
    WorklistUpdated,
)
from schemas.events import StudyTriaged
from sinsok import phantom
from tests.e2e.archive import Archive, archived
from tests.e2e.read_back import check_reads_back
from tests.integration.hapi import Hapi
from tests.results import ReadStudy, small_study
from tests.stack import wait_until

pytestmark = pytest.mark.e2e
WRITTEN = (ObjectKind.REPORT, ObjectKind.SEGMENTATION, ObjectKind.KEY_IMAGE)
SECONDS = 180
E = TypeVar("E")


@pytest.fixture(scope="module")
def ris() -> Iterator[Hapi]:
    """The worklist of Anseong."""
    with Hapi() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, ris: Hapi) -> Iterator[Archive]:
    changes = f"""
[pacs]
retry_longest_s = 2
held_again_s = 1
[[sites.anseong.worklists]]
protocol = "hl7"
host = "127.0.0.1"
port = {ris.port}
receiving_facility = "ANSEONG"
retry_longest_s = 2
"""
    archive = Archive(tmp_path_factory.mktemp("archive"), changes=changes)
    try:
        yield archive.start()
    finally:
        archive.kill()


def test_a_result_stands_in_the_pacs_next_to_its_images(archive: Archive) -> None:
    study = small_study(archive.store, "one result")
    result = study.result()
    archive.images([study])
    archive.publish([result])

    def check() -> None:
        said = only(archived(archive.said(ResultArchived), result))
        assert said.proof is Proof.COMMITMENT
        assert said.transaction_uid is not None
        assert {one.kind for one in said.objects} == set(WRITTEN)

    wait_until(check, seconds=SECONDS)
    there = archive.pacs.study(study.uid)
    assert len(there.instances) == len(study.datasets) + len(WRITTEN)
    for kind in WRITTEN:
        (ds,) = there.current(kind)
        assert (ds.PatientID, ds.PatientName) == (study.datasets[0].PatientID, study.datasets[0].PatientName)


@pytest.mark.parametrize("case", ["plain", "unsorted and tilted", "enhanced", "korean"])
def test_highdicom_reads_in_the_pacs_what_was_decided(archive: Archive, case: str) -> None:
    datasets, labels = _head(case)
    study = ReadStudy(archive.store, "suwon", datasets)
    result = study.result(labels=labels)
    archive.images([study])
    archive.publish([result])
    wait_until(lambda: _archived_once(archive, result), seconds=SECONDS)
    there = archive.pacs.study(study.uid)
    check_reads_back(there, result, archive.store)
    for kind in WRITTEN:
        (ds,) = there.current(kind)
        assert (ds.PatientID, ds.PatientName) == (datasets[0].PatientID, datasets[0].PatientName)


def test_three_revisions_form_a_chain_and_the_last_takes_the_finding_back(archive: Archive) -> None:
    study = small_study(archive.store, "three revisions")
    archive.images([study])
    results = [study.result(1), study.result(2), study.result(3, bleed=False)]
    for result in results:
        archive.publish([result])
        wait_until(lambda result=result: _archived_once(archive, result), seconds=SECONDS)

    there = archive.pacs.study(study.uid)
    first, second, third = there.by_kind[ObjectKind.REPORT]
    assert "PredecessorDocumentsSequence" not in first
    for document, predecessor in ((second, first), (third, second)):
        (reference,) = document.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
        assert reference.ReferencedSOPInstanceUID == predecessor.SOPInstanceUID
    assert there.current(ObjectKind.REPORT) == [third]
    assert "withdrawn" in third.to_json()
    assert there.current(ObjectKind.SEGMENTATION) == []
    (mark,) = there.current(ObjectKind.KEY_IMAGE)
    assert mark is there.by_kind[ObjectKind.KEY_IMAGE][-1]
    said = {event.result: event for event in archive.said(ResultArchived)}
    assert [said[one.event_id].replaces for one in results] == [None, results[0].event_id, results[1].event_id]


def test_the_confirmed_result_takes_the_place_of_the_unconfirmed_one(archive: Archive) -> None:
    study = small_study(archive.store, "two readings")
    archive.images([study])
    for result in (study.result(unconfirmed=True), study.result()):
        archive.publish([result])
        wait_until(lambda result=result: _archived_once(archive, result), seconds=SECONDS)
    preliminary, final = archive.pacs.study(study.uid).by_kind[ObjectKind.REPORT]
    assert (preliminary.PreliminaryFlag, final.PreliminaryFlag) == ("PRELIMINARY", "FINAL")
    assert archive.pacs.study(study.uid).current(ObjectKind.REPORT) == [final]


def test_another_patient_is_held_shown_and_never_written_until_they_agree(archive: Archive) -> None:
    study = small_study(archive.store, "merged patient")
    result = study.result()
    other = [copy.deepcopy(ds) for ds in study.datasets]
    for ds in other:
        ds.PatientID = "PHANTOM-OTHER"
    archive.images([ReadStudy(archive.store, "icheon", other)])
    archive.publish([result])

    def held() -> None:
        said = only([event for event in archive.said(ResultHeld) if event.result == result.event_id])
        assert "PatientID" in said.reason
        assert "PHANTOM" not in said.reason

    wait_until(held, seconds=SECONDS)
    time.sleep(3)  # looked at again meanwhile
    assert not archived(archive.said(ResultArchived), result)
    assert not any(archive.pacs.study(study.uid).by_kind.values())
    shown = archive.installation.sinsok("deliveries")
    assert study.uid in shown.stdout
    assert "PatientID" in shown.stdout

    (number,) = archive.pacs.ask("/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": study.uid}})
    archive.pacs.ask(f"/studies/{number}", method="DELETE")
    archive.images([study])
    wait_until(lambda: _archived_once(archive, result), seconds=SECONDS)


def test_what_a_pacs_missed_in_its_absence_is_the_newest_revision_only(archive: Archive) -> None:
    study = small_study(archive.store, "away")
    archive.images([study])
    archive.orthanc.stop()
    archive.publish([study.result(1), study.result(2), study.result(3)])
    time.sleep(3)
    archive.start(archive.orthanc)
    wait_until(lambda: _archived_once(archive, study.result(3)), seconds=SECONDS)
    there = archive.pacs.study(study.uid)
    assert [len(there.by_kind[kind]) for kind in WRITTEN] == [1, 1, 1]
    assert not archived(archive.said(ResultArchived), study.result(1))


def test_a_bleed_rises_in_the_worklist_and_falls_when_it_is_taken_back(archive: Archive, ris: Hapi) -> None:
    study = small_study(archive.store, "worklist", "anseong")
    archive.images([study])
    ris.kill()  # what it missed in its absence it is told when it is back
    archive.publish([study.result(1)])
    time.sleep(2)
    ris.start()
    order, result = ris.message(), ris.message()
    assert (order.structure, order.get("ORC", 7, 6)) == ("ORM_O01", "S")
    assert result.structure == "ORU_R01"
    assert [[study.uid]] in result.all("OBX", 5)
    assert result.get("PID", 3) == str(study.datasets[0].PatientID)

    archive.publish([study.result(2, bleed=False)])
    order, result = ris.message(), ris.message()
    assert (order.get("ORC", 7, 6), result.get("OBR", 25)) == ("R", "C")

    def updated() -> None:
        said = [event for event in archive.said(WorklistUpdated) if event.study_uid == study.uid]
        assert [event.revision for event in said] == [1, 2]
        assert {event.destination for event in said} == {"anseong/hl7"}

    wait_until(updated, seconds=SECONDS)
    assert ris.is_idle


def test_a_hundred_results_are_written_while_everything_is_killed_in_turn(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive", changes="[pacs]\nretry_longest_s = 2\ncommitment_within_s = 10\n")
    chance = random.Random(20260105)
    try:
        archive.start()
        sites = cycle(("suwon", "anseong", "icheon"))
        studies = [small_study(archive.store, f"kill {number}", next(sites), slices=4, size=32) for number in range(80)]
        archive.images(studies)
        results = []
        for number, study in enumerate(studies):
            results.append(study.result())
            if number % 4 == 3:
                results.append(studies[number - 3].result(2))
        newest = {result.study_uid: result for result in results}
        parts = cycle((archive.writer, archive.orthanc, archive.kafka))
        for begin in range(0, 100, 10):
            archive.start(archive.kafka)
            archive.publish(results[begin : begin + 10])
            time.sleep(chance.uniform(0.1, 1.0))
            victim = next(parts)
            victim.kill()
            archive.start(victim)

        def check() -> None:
            assert archive.open() == 0
            said = archive.said(ResultArchived)
            for result in results:
                found = archived(said, result)
                # The first revision need not be written where the second came before it was begun.
                assert len(found) == 1 or (not found and newest[result.study_uid] != result), result
                assert all(one.transaction_uid is not None for one in found)

        wait_until(check, seconds=SECONDS, every_s=1.0)
        for study in studies:
            there = archive.pacs.study(study.uid)
            assert [len(there.current(kind)) for kind in WRITTEN] == [1, 1, 1], study.uid
            if newest[study.uid].revision == 1:
                assert [len(there.by_kind[kind]) for kind in WRITTEN] == [1, 1, 1], study.uid
                assert not there.by_kind[ObjectKind.REJECTION]
        assert not archive.said(ResultRejected)
        assert not archive.outgoing()
    finally:
        archive.kill()


def only(found: list[E]) -> E:
    assert len(found) == 1, f"{len(found)} instead of one"
    return found[0]


def _head(case: str) -> tuple[list[Dataset], NDArray[np.uint8]]:
    """A head with a bleed as it may come, and the bleed's voxels."""
    made = phantom.build(phantom.Case.ENHANCED if case == "enhanced" else phantom.Case.IPH, slices=12, fresh=True)
    datasets = list(made.datasets)
    if case == "unsorted and tilted":
        for number, ds in enumerate(datasets):
            x, y, z = (float(one) for one in ds.ImagePositionPatient)
            ds.ImagePositionPatient = [x, round(y + number * 2.5, 4), z]
        random.Random(5).shuffle(datasets)
    if case == "korean":
        for ds in datasets:
            ds.SpecificCharacterSet = ["", "ISO 2022 IR 149"]
            ds.PatientName = "PHANTOM^KIM=팬텀^가나"
    assert made.truth is not None
    return datasets, made.truth.labels


def _archived_once(archive: Archive, result: StudyTriaged) -> None:
    only(archived(archive.said(ResultArchived), result))
