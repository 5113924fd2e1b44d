import asyncio
from typing import Any

import pytest

from schemas.events import ClosingReason, Outcome, Priority, Reading, Series, StudyAssembled, StudyTriaged
from schemas.failures import Unavailable, Unreadable
from streams.infer import failed, infer, waiting
from tests.unit.streams.examples import PROVENANCE, SITES, STUDY, FakeInference, at, finding, received, series


def assembled(*carried: Series, site: str = "suwon") -> StudyAssembled:
    return StudyAssembled(
        time=at(1),
        site=site,
        study_uid=STUDY,
        revision=2,
        final=True,
        reason=ClosingReason.QUIET,
        confidence=1,
        evidence=(),
        series=carried,
        supersedes=1,
    )


def read(inference: FakeInference, study: StudyAssembled) -> StudyTriaged:
    [result] = asyncio.run(infer(SITES, inference, study))
    return result


def test_findings_carry_their_priority_and_what_spoke() -> None:
    result = read(FakeInference(finding(20.0)), assembled(series()))
    assert result.outcome is Outcome.FINDINGS
    assert result.priority is Priority.STAT
    assert result.provenance == PROVENANCE
    assert result.time == at(5)
    assert (result.revision, result.final, result.supersedes) == (2, True, 1)
    assert "not for diagnosis" in result.notice.lower()


def test_nothing_found_says_who_looked() -> None:
    result = read(FakeInference(), assembled(series()))
    assert (result.outcome, result.reason) == (Outcome.NO_FINDINGS, "ich@1 reported nothing")


def test_a_finding_hides_no_series_that_was_not_read() -> None:
    broken = series("2.25.11", "broken")

    class OneBroken(FakeInference):
        async def read(self, site: str, study_uid: str, series: Series, model: Any, *, urgent: bool = True) -> Reading:
            if series.series_uid == broken.series_uid:
                raise Unreadable("pixel data cannot be decoded")
            return await super().read(site, study_uid, series, model, urgent=urgent)

    result = read(OneBroken(finding(20.0)), assembled(series(), broken))
    assert result.outcome is Outcome.FINDINGS
    assert result.reason.endswith("; not read: pixel data cannot be decoded")


def test_a_study_no_model_can_read_is_not_applicable_with_every_reason() -> None:
    inference = FakeInference()
    result = read(inference, assembled(series(body_part="CHEST"), series("2.25.11", modality="MR")))
    assert result.outcome is Outcome.NOT_APPLICABLE
    assert result.reason == "no model for modality: MR; wrong body part: CHEST"
    assert inference.asked == []
    assert result.provenance is None


def test_what_could_not_be_read_is_failed_and_never_a_silent_negative() -> None:
    result = read(FakeInference(fails=Unreadable("pixel data cannot be decoded")), assembled(series()))
    assert result.outcome is Outcome.FAILED
    assert "pixel data cannot be decoded" in result.reason


def test_a_site_that_is_not_configured_routes_nothing() -> None:
    assert read(FakeInference(), assembled(series(), site="elsewhere")).outcome is Outcome.NOT_APPLICABLE


def test_a_passing_failure_is_left_to_the_shell() -> None:
    with pytest.raises(Unavailable):
        read(FakeInference(fails=Unavailable("triton is away")), assembled(series()))


def test_waiting_is_visible_and_superseded_by_the_result() -> None:
    [told] = waiting(SITES, assembled(series()), Unavailable("triton is away"))
    result = read(FakeInference(), assembled(series()))
    assert (told.outcome, told.priority) == (Outcome.FAILED, Priority.ROUTINE)
    assert "AI did not run" in told.reason
    assert told.event_id != result.event_id


def test_a_study_that_becomes_a_dead_letter_has_a_result_all_the_same() -> None:
    [told] = failed(SITES, assembled(series()))
    assert told.outcome is Outcome.FAILED
    assert told.final
    assert "dead letters" in told.reason
    assert failed(SITES, received()) == ()


def test_the_same_answer_gives_the_same_event_id_and_another_model_another() -> None:
    first = read(FakeInference(finding()), assembled(series()))
    again = read(FakeInference(finding(), answered_after=50), assembled(series()))
    assert first.event_id == again.event_id


def test_other_events_are_none_of_its_business() -> None:
    assert asyncio.run(infer(SITES, FakeInference(), received())) == ()
    assert waiting(SITES, received(), Unavailable("away")) == ()


def test_a_study_without_a_series_has_a_result_and_a_reason() -> None:
    result = read(FakeInference(), assembled())
    assert (result.outcome, result.reason) == (Outcome.NOT_APPLICABLE, "the study has no series")
    [told] = failed(SITES, assembled())
    assert told.outcome is Outcome.FAILED
