"""Alerts where a study is read twice: the quick reading may page, and the confirming one has the last word."""

from datetime import timedelta
from itertools import permutations
from typing import Any

from schemas.base import Event
from schemas.events import AlertEvent, AlertRaised, AlertWithdrawn, DeadlinePassed, Outcome, Priority, StudyTriaged
from streams.alert import StudyAlert, alert
from streams.policy import AlertPolicy, Rule
from streams.site import SiteRules, Sites
from tests.unit.streams.examples import STUDY, at, finding
from tests.unit.streams.test_alert import decision, kinds, triaged

SITES = Sites(
    {
        "suwon": SiteRules(
            alerts=AlertPolicy(
                rules=(
                    Rule(finding="SCT:1386000", min_volume_ml=5.0, priority="stat"),
                    Rule(finding="SCT:1386000", min_volume_ml=0.5, priority="urgent", unconfirmed="wait"),
                )
            )
        )
    }
)
LARGE, SMALL, NONE = 20.0, 1.0, 0.0


def result(volume_ml: float, revision: int = 2, content: str = "a", **changes: Any) -> StudyTriaged:
    return triaged(revision, volume_ml=volume_ml, **{"series": (decision(content=content),), **changes})


def quick(volume_ml: float, revision: int = 2, content: str = "a", **changes: Any) -> StudyTriaged:
    return result(volume_ml, revision, content, **{"unconfirmed": True, "final": False, **changes})


def run(*events: Event) -> tuple[StudyAlert, list[AlertEvent]]:
    study, sent = None, []
    for event in events:
        study, out = alert(SITES, event, study)
        sent += [one for one in out if isinstance(one, AlertEvent)]
    assert study is not None
    return study, sent


def over(study: StudyAlert) -> DeadlinePassed:
    assert study.deadline is not None
    return DeadlinePassed(time=study.deadline, site="suwon", study_uid=STUDY, hop="alert", deadline=study.deadline)


def test_what_is_large_and_certain_pages_at_once_and_once() -> None:
    study, [raised] = run(quick(LARGE), result(LARGE))
    assert isinstance(raised, AlertRaised)
    assert (raised.priority, raised.final) == (Priority.STAT, False)
    assert raised.reason.endswith("not confirmed yet")
    assert study.waiting is None


def test_what_is_small_waits_for_its_confirmation() -> None:
    study, sent = run(quick(SMALL))
    assert sent == []
    assert study.waiting is not None
    study, [raised] = run(quick(SMALL), result(SMALL))
    assert isinstance(raised, AlertRaised)
    assert (raised.priority, raised.final) == (Priority.URGENT, True)
    assert study.waiting is None
    assert run(quick(SMALL), result(NONE))[1] == []


def test_a_finding_whose_confirmation_does_not_come_pages_all_the_same() -> None:
    study, _ = run(quick(SMALL, revision=2))
    assert study.deadline == at(2) + timedelta(seconds=120)
    step = alert(SITES, over(study), study)
    [raised] = step.events
    assert isinstance(raised, AlertRaised)
    assert (raised.priority, raised.time) == (Priority.URGENT, study.deadline)
    assert raised.reason.endswith("not confirmed within 120 s")
    assert step.state is not None
    assert step.state.waiting is None
    assert alert(SITES, result(SMALL), step.state).events == ()
    assert [type(one) for one in alert(SITES, result(NONE), step.state).events] == [AlertWithdrawn]
    assert alert(SITES, over(step.state), step.state).state is None


def test_a_word_on_other_series_ends_no_wait() -> None:
    turned_away = decision(reading=None, model=None)
    study, sent = run(quick(SMALL, 1), result(NONE, 2, series=(turned_away, decision("2.25.11", "b"))))
    assert (study.waiting is not None, sent) == (True, [])
    _, [raised] = alert(SITES, over(study), study)
    assert isinstance(raised, AlertRaised)


def test_a_finding_elsewhere_does_not_take_the_place_of_one_that_waits() -> None:
    turned_away = decision(reading=None, model=None)
    in_b = {"findings": (finding(SMALL, series_uid="2.25.11"),), "series": (turned_away, decision("2.25.11", "b"))}
    b_gone = result(NONE, 2, series=in_b["series"])
    study, sent = run(quick(SMALL, 1), quick(SMALL, 2, **in_b), b_gone)
    assert (study.waiting is not None, sent) == (True, [])
    _, [raised] = alert(SITES, over(study), study)
    assert raised.findings[0].series_uid == "2.25.10"


def test_what_the_site_no_longer_pages_about_does_not_page_at_the_end_of_a_wait() -> None:
    study, _ = run(quick(SMALL))
    rules = SITES.of("suwon")
    quiet = Sites({"suwon": rules.model_copy(update={"alerts": rules.alerts.model_copy(update={"rules": ()})})})
    after, sent = alert(quiet, over(study), study)
    assert after is not None
    assert (after.waiting, sent) == (None, ())


def test_later_revisions_do_not_put_the_end_of_a_wait_off() -> None:
    first, _ = run(quick(SMALL, revision=1))
    later, _ = run(quick(SMALL, revision=1), quick(SMALL, revision=2), quick(NONE, revision=3, content="b"))
    assert later.deadline == first.deadline
    failed = quick(NONE, revision=4, outcome=Outcome.FAILED, provenance=None, series=())
    kept, _ = run(quick(SMALL, revision=1), failed)
    assert kept.waiting is not None


def test_a_confirmation_that_failed_ends_no_wait() -> None:
    study, sent = run(quick(SMALL), result(NONE, outcome=Outcome.FAILED, provenance=None, series=()))
    assert sent == []
    assert study.waiting is not None


def test_a_final_confirmation_takes_a_page_back_and_a_provisional_one_does_not() -> None:
    assert kinds(run(quick(LARGE), result(NONE))[1]) == ["AlertRaised", "AlertWithdrawn"]
    assert kinds(run(quick(LARGE, revision=1), result(NONE, revision=1, final=False))[1]) == ["AlertRaised"]


def test_only_the_confirmation_withdraws() -> None:
    assert kinds(run(result(LARGE, revision=1), quick(NONE, revision=2, content="b"))[1]) == ["AlertRaised"]


def test_a_confirmation_raises_what_the_first_reading_missed() -> None:
    assert kinds(run(quick(NONE), result(SMALL))[1]) == ["AlertRaised"]


def test_a_confirmation_that_makes_it_more_urgent_pages_again_and_one_that_makes_it_less_does_not() -> None:
    small = quick(SMALL, revision=1)
    study, _ = run(small)
    paged = alert(SITES, over(study), study).state
    worse = alert(SITES, result(LARGE), paged)
    assert [type(one) for one in worse.events] == [AlertRaised, AlertWithdrawn]
    assert kinds(run(quick(LARGE), result(SMALL))[1]) == ["AlertRaised"]


def test_an_unconfirmed_result_after_the_confirmed_one_is_overtaken() -> None:
    assert run(result(NONE), quick(LARGE))[1] == []
    assert run(result(NONE), quick(LARGE, content="another"))[1] == []
    assert run(result(NONE), quick(SMALL))[0].waiting is None


def test_what_a_confirmation_took_back_does_not_page_again_with_the_next_revision() -> None:
    gone = (quick(LARGE, revision=2), result(NONE, revision=2))
    assert kinds(run(*gone, quick(LARGE, revision=3))[1]) == ["AlertRaised", "AlertWithdrawn"]
    study, _ = run(*gone, quick(SMALL, revision=3))
    assert study.waiting is None
    assert kinds(run(*gone, quick(LARGE, revision=3, content="more images"))[1])[2:] == ["AlertRaised"]


def test_what_a_confirmation_never_paged_does_not_page_with_the_next_revision() -> None:
    """The usual course: provisional, confirmed as nothing, then final with the same images."""
    course = (quick(SMALL, revision=1), result(NONE, revision=1, final=False), quick(LARGE, revision=2))
    assert run(*course)[1] == []
    assert kinds(run(*course, result(LARGE, revision=2))[1]) == ["AlertRaised"]


def test_a_reading_that_was_refused_confirms_nothing() -> None:
    seen = result(NONE, revision=1, final=False)
    [decision] = seen.series
    assert decision.reading is not None
    refused = decision.model_copy(update={"reading": decision.reading.model_copy(update={"refused": "no head"})})
    events = (seen.model_copy(update={"series": (refused,)}), quick(LARGE, revision=2))
    assert kinds(run(*events)[1]) == ["AlertRaised"]


def test_in_any_order_a_study_that_bleeds_is_paged_once_at_its_priority() -> None:
    for order in permutations(
        [quick(LARGE, revision=1), result(LARGE, revision=1, final=False), quick(LARGE), result(LARGE)]
    ):
        assert kinds(run(*order)[1]) == ["AlertRaised"]


def test_rows_of_older_versions_are_readable() -> None:
    old = f'{{"site": "suwon", "study_uid": "{STUDY}", "deadline": null, "revision": 3, "alert_id": null}}'
    study = StudyAlert.model_validate_json(old)
    assert (study.confirmed, study.confirmed_revision, study.waiting) == ((), 0, None)


def test_a_row_with_a_result_that_waits_survives_its_way_through_the_table() -> None:
    study, _ = run(quick(SMALL))
    assert StudyAlert.model_validate_json(study.model_dump_json()) == study


def test_there_are_as_many_findings_as_in_the_result() -> None:
    _, [raised] = run(quick(LARGE))
    assert isinstance(raised, AlertRaised)
    assert raised.findings == (finding(LARGE),)
