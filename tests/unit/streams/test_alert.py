from itertools import permutations
from typing import Any
from uuid import UUID

from schemas.base import Event
from schemas.events import AlertEvent, AlertRaised, AlertWithdrawn, DeadlinePassed, Outcome, Priority, StudyTriaged
from streams.alert import StudyAlert, alert
from tests.unit.streams.examples import PROVENANCE, SITES, STUDY, at, digest, finding


def decision(series_uid: str = "2.25.10", content: str = "a", **changes: Any) -> dict[str, Any]:
    """A series at which a model looked; ``reading=None`` where it failed."""
    reading = {
        "findings": (),
        "label_map": None,
        "provenance": PROVENANCE,
        "content": digest(content),
        "completed_at": at(1),
    }
    return {"series_uid": series_uid, "model": "ich@1", "reason": "as the test says", "reading": reading, **changes}


def triaged(revision: int = 1, **changes: Any) -> StudyTriaged:
    volume_ml = changes.pop("volume_ml", 20.0)
    findings = (finding(volume_ml),) if volume_ml else ()
    event: dict[str, Any] = {
        "time": at(revision),
        "site": "suwon",
        "study_uid": STUDY,
        "revision": revision,
        "final": revision % 2 == 0,
        "outcome": Outcome.FINDINGS if findings else Outcome.NO_FINDINGS,
        "reason": "as the test says",
        "priority": Priority.STAT if volume_ml >= 5 else Priority.URGENT if volume_ml else Priority.ROUTINE,
        "findings": findings,
        "provenance": PROVENANCE,
        "series": (decision(),),
        "supersedes": None,
        "assembled": UUID(int=revision),
        "last_image_at": at(0),
    }
    return StudyTriaged(**{**event, **changes})


def run(*events: Event) -> tuple[StudyAlert | None, list[AlertEvent]]:
    study, sent = None, []
    for event in events:
        study, out = alert(SITES, event, study)
        sent += [one for one in out if isinstance(one, AlertEvent)]
    return study, sent


def kinds(sent: list[AlertEvent]) -> list[str]:
    return [type(one).__name__ for one in sent]


def test_a_bleed_is_paged_once_however_many_revisions_say_so() -> None:
    _, sent = run(*(triaged(revision) for revision in (1, 2, 2, 3, 4)))
    [raised] = sent
    assert isinstance(raised, AlertRaised)
    assert (raised.priority, raised.revision) == (Priority.STAT, 1)
    assert "not for diagnosis" in raised.notice.lower()


def test_growing_worse_pages_again_and_takes_over() -> None:
    _, sent = run(triaged(1, volume_ml=1.0), triaged(2, volume_ml=20.0))
    assert kinds(sent) == ["AlertRaised", "AlertRaised", "AlertWithdrawn"]
    first, second, withdrawn = sent
    assert isinstance(second, AlertRaised)
    assert isinstance(withdrawn, AlertWithdrawn)
    assert first.alert_id != second.alert_id
    assert second.replaces == withdrawn.alert_id == first.alert_id
    assert withdrawn.replaced_by == second.alert_id


def test_becoming_less_urgent_pages_nobody() -> None:
    _, sent = run(triaged(1, volume_ml=20.0), triaged(2, volume_ml=1.0))
    assert kinds(sent) == ["AlertRaised"]


def test_only_a_final_revision_in_which_a_model_looked_withdraws() -> None:
    gone = {"volume_ml": 0}
    assert kinds(run(triaged(1), triaged(3, **gone))[1]) == ["AlertRaised"]
    assert kinds(run(triaged(1), triaged(2, **gone, outcome=Outcome.FAILED))[1]) == ["AlertRaised"]
    assert kinds(run(triaged(1), triaged(2, **gone, outcome=Outcome.NOT_APPLICABLE))[1]) == ["AlertRaised"]
    assert kinds(run(triaged(1), triaged(2, **gone))[1]) == ["AlertRaised", "AlertWithdrawn"]


def test_a_revision_in_which_the_series_of_the_bleed_was_not_read_takes_nothing_back() -> None:
    other = decision("2.25.11")
    refused = decision()
    refused["reading"] = {**refused["reading"], "refused": "no head in the field of view"}
    for unread in (decision(reading=None), refused):
        assert kinds(run(triaged(1), triaged(2, volume_ml=0, series=(unread, other)))[1]) == ["AlertRaised"]
    assert kinds(run(triaged(1), triaged(2, volume_ml=0, series=(decision(), other)))[1]) == [
        "AlertRaised",
        "AlertWithdrawn",
    ]


def test_what_an_alert_took_over_has_to_be_read_again_too() -> None:
    """A bleed in A, then a larger one in B while A cannot be read: B alone taken back ends nothing."""
    a, b = decision("2.25.10"), decision("2.25.11")
    in_b = {"findings": (finding(20.0, series_uid="2.25.11"),), "priority": Priority.STAT}
    first = triaged(1, volume_ml=1.0, series=(a,))
    worse = triaged(2, **in_b, series=(decision(reading=None), b))
    gone = triaged(4, volume_ml=0, series=(decision(reading=None), b))
    assert kinds(run(first, worse, gone)[1]) == ["AlertRaised", "AlertRaised", "AlertWithdrawn"]
    assert kinds(run(first, worse, gone, triaged(6, volume_ml=0, series=(a, b)))[1])[3:] == ["AlertWithdrawn"]


def test_a_finding_in_another_series_that_did_not_page_again_has_to_be_read_again_too() -> None:
    a, b = decision("2.25.10"), decision("2.25.11")
    also_in_b = triaged(2, findings=(finding(20.0, series_uid="2.25.11"),), series=(a, b))
    unread = triaged(4, volume_ml=0, series=(a, decision("2.25.11", reading=None)))
    assert kinds(run(triaged(1, series=(a,)), also_in_b, unread)[1]) == ["AlertRaised"]


def test_an_alert_of_an_older_version_stands() -> None:
    study, _ = run(triaged(1))
    assert study is not None
    older = StudyAlert.model_validate(study.model_dump(exclude={"alerted"}))
    _, sent = alert(SITES, triaged(2, volume_ml=0), older)
    assert sent == ()


def test_a_finding_that_comes_back_is_a_new_alert() -> None:
    _, sent = run(triaged(1), triaged(2, volume_ml=0), triaged(3))
    assert kinds(sent) == ["AlertRaised", "AlertWithdrawn", "AlertRaised"]
    assert sent[0].alert_id != sent[2].alert_id


def test_a_revision_that_was_overtaken_is_ignored() -> None:
    _, sent = run(triaged(4, volume_ml=0), triaged(1))
    assert sent == []


def test_the_result_after_a_wait_is_heard_though_its_revision_is_the_same() -> None:
    waiting = triaged(1, volume_ml=0, outcome=Outcome.FAILED, reason="AI did not run yet", provenance=None)
    assert kinds(run(waiting, triaged(1))[1]) == ["AlertRaised"]


def test_routine_findings_page_nobody() -> None:
    assert run(triaged(1, priority=Priority.ROUTINE))[1] == []


def test_in_any_order_nobody_is_paged_twice_for_the_same_bleed() -> None:
    for order in permutations([triaged(1), triaged(2), triaged(3), triaged(4)]):
        _, sent = run(*order)
        assert kinds(sent) == ["AlertRaised"]


def test_a_study_is_forgotten_when_its_time_is_over() -> None:
    study, _ = run(triaged(1))
    assert study is not None
    assert study.deadline is not None
    over = DeadlinePassed(time=study.deadline, site="suwon", study_uid=STUDY, hop="alert", deadline=study.deadline)
    assert alert(SITES, over, study).state is None
    early = over.model_copy(update={"deadline": at(1)})
    assert alert(SITES, early, study).state == study
