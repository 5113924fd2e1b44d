import pytest

from schemas.base import Event
from schemas.events import BatchEnd, ClosingReason, DeadlinePassed, Gap, StudyAssembled
from schemas.identity import study_key
from streams.assemble import OpenStudy, assemble
from tests.unit.streams.examples import SITES, STUDY, at, geometry, received, series

SCOUT = {"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER"), "geometry": geometry(slices=1, contiguous=False)}


class Table:
    """Runs the hop as the shell does: one row, and deadlines when they are asked for."""

    def __init__(self) -> None:
        self.study: OpenStudy | None = None
        self.sent: list[StudyAssembled] = []

    def take(self, *events: Event) -> "Table":
        for event in events:
            self.study, sent = assemble(SITES, event, self.study)
            self.sent += [one for one in sent if isinstance(one, StudyAssembled)]
        return self

    def wait(self) -> "Table":
        assert self.study is not None
        assert self.study.deadline is not None
        return self.take(deadline(self.study.deadline))


def deadline(when: object) -> DeadlinePassed:
    return DeadlinePassed(time=when, site="suwon", study_uid=STUDY, hop="assemble", deadline=when)


def test_a_contiguous_released_head_goes_out_at_once_and_is_final_after_the_quiet_time() -> None:
    table = Table().take(received())
    [provisional] = table.sent
    assert (provisional.revision, provisional.final, provisional.reason) == (1, False, ClosingReason.CONTIGUOUS)
    assert provisional.confidence == 1
    table.wait()
    final = table.sent[-1]
    assert (final.revision, final.final, final.reason) == (2, True, ClosingReason.QUIET)
    assert final.time == at(30)
    assert final.supersedes == 1
    assert final.evidence[-1].observation == "no image for 30 s"


@pytest.mark.parametrize(
    "doubt",
    [
        {"batch_end": BatchEnd.ABORTED},
        {"batch_end": BatchEnd.IDLE},
        {"open_associations": 1},
        {"one": series(expected_instances=40)},
        {"one": series(missing_objects=1)},
        {"one": series(geometry=None)},
        {"one": series(geometry=geometry(gaps=(Gap(after_mm=5, before_mm=15, missing=1),)))},
        {"one": series(body_part="CHEST")},
        {"one": series(**SCOUT)},
    ],
)
def test_what_is_in_doubt_or_not_worth_it_waits_for_the_quiet_time(doubt: dict[str, object]) -> None:
    table = Table().take(received(**doubt))
    assert table.sent == []
    [final] = table.wait().sent
    assert final.final


def test_doubt_is_said_and_lowers_the_confidence() -> None:
    gap = geometry(gaps=(Gap(after_mm=5, before_mm=15, missing=1),))
    [final] = Table().take(received(series(geometry=gap))).wait().sent
    assert final.confidence == 0.5
    assert final.evidence[0].observation == "1 slices missing between others"


def test_a_provisional_revision_carries_only_what_is_complete() -> None:
    partial = series("2.25.11", geometry=geometry(gaps=(Gap(after_mm=5, before_mm=15, missing=1),)))
    table = Table().take(received(partial), received(series(), after=1))
    assert [one.series_uid for one in table.sent[0].series] == ["2.25.10"]
    assert [one.series_uid for one in table.wait().sent[-1].series] == ["2.25.10", "2.25.11"]


def test_ten_slices_after_the_final_revision_make_new_revisions_with_everything() -> None:
    table = Table().take(received(series("2.25.11", **SCOUT)), received()).wait()
    table.take(received(series(content="46 slices", instances=46), after=300, batch=2)).wait()
    assert [(one.revision, one.final) for one in table.sent] == [(1, False), (2, True), (3, False), (4, True)]
    assert [one.series_uid for one in table.sent[-1].series] == ["2.25.10", "2.25.11"]
    assert table.sent[-1].series[0].instances == 46


def test_a_batch_delivered_twice_changes_nothing() -> None:
    table = Table().take(received())
    before = table.study
    table.take(received())
    assert table.study == before
    assert len(table.sent) == 1


def test_a_redelivered_event_gives_the_same_event_id() -> None:
    [first] = assemble(SITES, received(), None).events
    [again] = assemble(SITES, received(), None).events
    assert first.event_id == again.event_id


def test_a_deadline_that_moved_on_is_ignored() -> None:
    table = Table().take(received(), received(series("2.25.11"), after=10))
    stale = deadline(at(30))
    before = table.study
    assert table.take(stale).study == before
    assert table.study is not None
    assert table.study.deadline == at(40)


def test_images_that_never_stop_end_at_the_cap() -> None:
    table = Table()
    for n in range(1, 14):
        table.take(received(series(content=f"{n}", body_part="CHEST"), after=n * 10, batch=n))
    assert table.study is not None
    assert table.study.deadline == at(10 + 120)
    [final] = table.wait().sent
    assert final.reason is ClosingReason.CAP
    assert final.confidence < 1


def test_the_slowest_modality_sets_the_quiet_time() -> None:
    table = Table().take(received(series(body_part="CHEST")), received(series("2.25.11", modality="MR")))
    assert table.study is not None
    assert table.study.deadline == at(60)


def test_a_finished_study_leaves_the_table_and_its_numbers_are_never_used_again() -> None:
    table = Table().take(received()).wait().wait()
    assert table.study is None
    last = table.sent[-1].revision
    table.take(received(series(content="late"), after=90000, batch=2))
    assert table.sent[-1].revision > last


def test_a_gateway_that_counts_anew_is_not_mistaken_for_a_repetition() -> None:
    table = Table().take(received(batch=3)).wait()
    table.take(received(series(content="recovered"), after=500, batch=1, batch_end=BatchEnd.RECOVERED))
    assert table.sent[-1].series[0].manifest.digest == series(content="recovered").manifest.digest


def test_the_state_survives_its_way_through_json() -> None:
    study = Table().take(received()).study
    assert study is not None
    assert OpenStudy.model_validate_json(study.model_dump_json()) == study


def test_two_sites_with_one_study_uid_have_two_keys() -> None:
    assert study_key("suwon", STUDY) != study_key("icheon", STUDY)
    assert received().key != received(site="icheon").key
