"""Late and odd arrival: however the images of a study come, it ends complete, with one result and one alert."""

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from schemas.events import AlertRaised, BatchEnd, ClosingReason, Outcome, SeriesReceived, StudyAssembled, StudyTriaged
from tests.e2e.house import SITES, House
from tests.e2e.scanner import Scanner, Study, small_study, together
from tests.stack import wait_until

pytestmark = pytest.mark.e2e
SECONDS = 180
SEED = 4


def test_slices_in_random_order(house: House, scanner: Scanner) -> None:
    study = small_study("random order", bright=True)
    scanner.insist(random.Random(SEED).sample(study.datasets, len(study.datasets)))
    house.finish([study], scanner.acknowledged)
    (geometry,) = {event.series.geometry for event in house.events(SeriesReceived, [study])}
    assert geometry is not None
    assert geometry.contiguous


def test_a_series_in_three_associations(house: House, scanner: Scanner) -> None:
    study = small_study("three associations", bright=True, slices=12)
    for part in range(3):
        # Every third slice: only all three together are what the scanner made.
        scanner.insist(study.datasets[part::3])
    house.finish([study], scanner.acknowledged)
    batches = house.events(SeriesReceived, [study])
    assert [batch.series.instances for batch in batches] == [4, 8, 12]
    assert house.events(StudyAssembled, [study])[-1].series[0].instances == 12


def test_a_series_in_three_associations_at_once(house: House, scanner: Scanner) -> None:
    study = small_study("at once", bright=True, slices=12)
    with scanner.association() as one, scanner.association() as two, scanner.association() as three:
        for number, ds in enumerate(study.datasets):
            assert scanner.store((one, two, three)[number % 3], ds) == 0x0000
    house.finish([study], scanner.acknowledged)
    batches = house.events(SeriesReceived, [study])
    assert [batch.open_associations for batch in batches] == [2, 1, 0]
    # Two associations were still sending when the first two batches were published: no revision for them.
    first = house.events(StudyAssembled, [study])[0]
    assert first.series[0].instances == 12


def test_the_same_series_sent_twice(house: House, scanner: Scanner) -> None:
    study = small_study("sent twice", bright=True)
    scanner.insist(study.datasets)
    scanner.insist(study.datasets)
    house.finish([study], scanner.acknowledged)
    scanner.insist(study.datasets)  # and once more after the final revision
    marker = small_study("after sent twice")
    scanner.insist(marker.datasets)
    house.finish([study, marker], scanner.acknowledged)
    assert {event.series.instances for event in house.events(SeriesReceived, [study])} == {8}
    assert len([event for event in house.events(StudyAssembled, [study]) if event.final]) == 1


def test_ten_more_slices_after_the_final_revision(house: House, scanner: Scanner) -> None:
    study = small_study("late slices", bright=True, slices=22)
    early = Study(study.name, study.site, study.bright, study.datasets[:12])
    scanner.insist(early.datasets)
    house.finish([early], scanner.acknowledged)
    before = house.events(StudyAssembled, [study])[-1]
    scanner.insist(study.datasets[12:])
    house.finish([study], scanner.acknowledged)
    after = house.events(StudyAssembled, [study])[-1]
    assert (before.series[0].instances, after.series[0].instances) == (12, 22)
    assert after.revision > before.revision
    newest = house.events(StudyTriaged, [study])[-1]
    assert newest.revision == after.revision
    assert newest.supersedes == after.revision - 1
    (page,) = house.events(AlertRaised, [study])
    assert page.revision <= before.revision


def test_two_sites_with_the_same_study_instance_uid(house: House) -> None:
    bleeds = small_study("same uid", site="anseong", bright=True)
    other = small_study("same uid", site="icheon", bright=False)
    assert bleeds.uid == other.uid
    scanners = [Scanner(house.settings.dicom.port, SITES[study.site], study.site) for study in (bleeds, other)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(Scanner.insist, scanners, [bleeds.datasets, other.datasets]))
    house.finish([bleeds, other], together(scanners))
    assert {event.site for event in house.events(AlertRaised, [bleeds, other])} == {"anseong"}


def test_two_studies_interleaved_in_one_association(house: House, scanner: Scanner) -> None:
    bleeds, other = small_study("interleaved 1", bright=True), small_study("interleaved 2")
    scanner.insist(list(chain.from_iterable(zip(bleeds.datasets, other.datasets, strict=True))))
    house.finish([bleeds, other], scanner.acknowledged)


def test_an_association_aborted_half_way_and_sent_again(house: House, scanner: Scanner) -> None:
    study = small_study("aborted", bright=True)
    with scanner.association() as assoc:
        for ds in study.datasets[:4]:
            assert scanner.store(assoc, ds) == 0x0000
        assoc.abort()

    def told() -> None:
        assert [event.batch_end for event in house.events(SeriesReceived, [study])] == [BatchEnd.ABORTED]

    wait_until(told, seconds=SECONDS)
    scanner.insist(study.datasets)
    house.finish([study], scanner.acknowledged)
    contiguous = [one for one in house.events(StudyAssembled, [study]) if one.reason is ClosingReason.CONTIGUOUS]
    assert [one.series[0].instances for one in contiguous] == [8]


def test_an_association_aborted_half_way_and_never_sent_again(house: House, scanner: Scanner) -> None:
    study = small_study("given up", bright=True)
    half = Study(study.name, study.site, study.bright, study.datasets[:6])
    with scanner.association() as assoc:
        for ds in half.datasets:
            assert scanner.store(assoc, ds) == 0x0000
        assoc.abort()
    house.finish([half], scanner.acknowledged)
    (only,) = house.events(StudyAssembled, [study])
    assert only.final
    assert any(not one.complete and "aborted" in one.observation for one in only.evidence)


def test_what_no_model_reads_says_why(house: House, scanner: Scanner) -> None:
    study = small_study("chest", body_part="CHEST")
    scanner.insist(study.datasets)

    def concluded() -> None:
        (result,) = [result for result in house.events(StudyTriaged, [study]) if result.final] or [None]
        assert result is not None
        assert (result.outcome, result.reason) == (Outcome.NOT_APPLICABLE, "wrong body part: CHEST")

    wait_until(concluded, seconds=SECONDS)
