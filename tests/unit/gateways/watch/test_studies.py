"""What has arrived and is not assembled, assembled and not answered, or not read by any model."""

import asyncio
from itertools import permutations

import pytest

from gateways.watch.settings import WatchSettings
from gateways.watch.studies import Study, late, open_alarms, unread, unread_alarms
from schemas.alarms import AlarmKind
from schemas.base import StudyEvent
from schemas.events import NOT_YET, ClosingReason, Outcome, SeriesReceived, StudyAssembled, StudyTriaged
from streams.infer import infer
from tests.unit.streams.examples import SITES, STUDY, FakeInference, at, finding, received, series

SETTINGS = WatchSettings(study_margin_s=100, result_within_s=60, ai_within_s=90)
CAP_S = 200.0


def assembled(revision: int, after: float, *events: SeriesReceived, final: bool = True) -> StudyAssembled:
    return StudyAssembled(
        time=at(after),
        site="suwon",
        study_uid=STUDY,
        revision=revision,
        final=final,
        reason=ClosingReason.QUIET,
        confidence=1.0,
        evidence=(),
        series=tuple(event.series for event in events),
        supersedes=None,
    )


def result(study: StudyAssembled, outcome: Outcome = Outcome.FINDINGS, reason: str = "20 ml") -> StudyTriaged:
    (triaged,) = asyncio.run(infer(SITES, FakeInference(finding()), study))
    return triaged.model_copy(update={"outcome": outcome, "reason": reason})


def told(*events: StudyEvent) -> Study:
    study = Study(site="suwon", study_uid=STUDY)
    for event in events:
        study = study.take(event)
    return study


FIRST = received(series(content="10 slices"), after=1)
SECOND = received(series(content="36 slices"), after=20, batch=2)
FINAL = assembled(1, 50, SECOND)


def test_a_study_is_open_until_a_final_revision_carries_all_of_it() -> None:
    for so_far in ((FIRST,), (FIRST, SECOND), (FIRST, assembled(1, 2, FIRST), SECOND)):
        assert told(*so_far).waits_since in (at(1), at(20))
    assert told(FIRST, SECOND).waits_since == at(1), "however often more of it comes"
    assert told(FIRST, assembled(1, 2, FIRST), SECOND).waits_since == at(20)
    assert told(FIRST, SECOND, assembled(1, 2, SECOND, final=False)).waits_since == at(1)
    assert told(FIRST, SECOND, FINAL).waits_since is None


def test_it_is_late_after_cap_and_margin() -> None:
    study = told(FIRST, SECOND)
    assert late(study, SETTINGS, CAP_S, at(301)) is None
    one = late(study, SETTINGS, CAP_S, at(302))
    assert one is not None
    assert (one.since, one.what) == (at(1), "received and in no final revision")


def test_a_revision_without_any_result_is_late_and_unread() -> None:
    study = told(SECOND, FINAL)
    assert late(study, SETTINGS, CAP_S, at(110)) is None
    one = late(study, SETTINGS, CAP_S, at(111))
    assert one is not None
    assert (one.since, one.what) == (at(50), "revision 1 assembled and without a result")
    assert unread(study, SETTINGS, at(140)) is None
    neglected = unread(study, SETTINGS, at(141))
    assert neglected is not None
    assert neglected.what == "no result"


@pytest.mark.parametrize("outcome", [Outcome.FINDINGS, Outcome.NO_FINDINGS, Outcome.NOT_APPLICABLE])
def test_a_study_that_a_model_read_or_need_not_read_is_done(outcome: Outcome) -> None:
    study = told(SECOND, FINAL, result(FINAL, outcome))
    assert study.done
    assert unread(study, SETTINGS, at(1e6)) is None
    assert late(study, SETTINGS, CAP_S, at(1e6)) is None


def test_a_failed_result_is_an_answer_and_no_reading() -> None:
    study = told(SECOND, FINAL, result(FINAL, Outcome.FAILED, f"{NOT_YET}: Triton is away"))
    assert late(study, SETTINGS, CAP_S, at(1e6)) is None
    one = unread(study, SETTINGS, at(141))
    assert one is not None
    assert one.what == "AI did not run yet: Triton is away"
    assert unread(study.take(result(FINAL)), SETTINGS, at(1e6)) is None, "the true result follows"


def test_the_newest_revision_counts() -> None:
    newer = assembled(2, 500, SECOND)
    study = told(SECOND, FINAL, result(FINAL), newer)
    assert unread(study, SETTINGS, at(580)) is None, "its time is not over"
    assert unread(study, SETTINGS, at(591)) is not None
    assert told(newer, result(newer), SECOND, FINAL).done, "an older one asks for nothing any more"


def test_topics_are_read_in_any_order_and_events_twice() -> None:
    events = (SECOND, FINAL, result(FINAL, Outcome.FAILED), result(FINAL))
    assert all(told(*order, *order).done for order in permutations(events))


def test_one_alarm_for_the_studies_of_a_site() -> None:
    older, newer = told(SECOND, FINAL), told(SECOND, assembled(1, 60, SECOND))
    neglected = [one for study in (newer, older) if (one := unread(study, SETTINGS, at(1000)))]
    (alarm,) = unread_alarms({"suwon": neglected, "icheon": []})
    assert (alarm.key, alarm.since) == (("suwon", AlarmKind.AI_NEVER_RAN, "suwon"), at(50))
    assert alarm.detail.startswith(f"no AI has looked at 2 studies of suwon; the longest, {STUDY}, since")
    (alarm,) = open_alarms({"suwon": neglected[:1]})
    assert alarm.detail.startswith("1 study of suwon wait")
