"""What is known of studies and alerts, whatever the order and however often it is said."""

import random
from typing import Any

import pytest

from gateways.console.alert import AlertState
from gateways.console.letters import KINDS, Kind, Letter, Tally
from gateways.console.study import Level
from gateways.console.view import Change
from schemas.base import Event
from schemas.deliveries import ResultHeld
from schemas.events import (
    NOT_YET,
    ClosingReason,
    Geometry,
    Outcome,
    Priority,
    SeriesDecision,
    SeriesReceived,
    StudyAssembled,
    StudyTriaged,
)
from schemas.identity import derived_id
from schemas.paging import (
    AlertAcknowledged,
    AlertClosed,
    AlertDeferred,
    AlertDelivered,
    AlertDismissed,
    AlertEscalated,
    AlertHandedOn,
    AlertRefused,
    AlertSeen,
    AlertUndelivered,
    PageReason,
)
from tests.unit.gateways.console.house import (
    House,
    about,
    alert_id,
    at,
    finding,
    key,
    paged,
    raised,
    received,
    stored,
    triaged,
    withdrawn,
)

DELIVERED = AlertDelivered(**about(minutes=0.4), attempt=1, recipient="on-call-1", channel="smtp", answer="250 ok")
SEEN = AlertSeen(**about(minutes=0.5), by="rad.suwon")
TAKEN = AlertAcknowledged(**about(minutes=0.6), by="rad.suwon")
KIND = Kind("infer", "triage.studies", "Unreadable")
HELD = ResultHeld(
    time=at(0.9),
    site="suwon",
    study_uid="2.25.1",
    revision=1,
    unconfirmed=False,
    result=derived_id("2.25.1"),
    destination="suwon/pacs",
    reason="away",
)
DEFERRED = AlertDeferred(**about(minutes=0.3), attempt=1, until=at(60), reason="quiet hours")
HANDED_ON = AlertHandedOn(**about(minutes=0.7), by="rad.suwon", attempt=1)
ON_TO_THE_NEXT = AlertEscalated(**about(minutes=10.3), attempt=2, why=PageReason.UNANSWERED, step=1)


def level(house: House, uid: str = "2.25.1") -> Level:
    study = house.view.study("suwon", key(uid))
    assert study is not None
    return study.level(house.now(), house.view.clocks)


def order(house: House, *sites: str, through: Level = Level.DONE) -> list[str]:
    return [study.study_uid for study, _ in house.view.worklist(sites or ("suwon",), through, 0, 50).studies]


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([raised()], AlertState.RAISED),
        ([raised(), paged()], AlertState.PAGED),
        ([raised(), paged(), DELIVERED], AlertState.DELIVERED),
        (
            [raised(), paged(), AlertUndelivered(**about(), attempt=1, recipient="on-call-1", reason="550")],
            AlertState.UNDELIVERED,
        ),
        ([raised(), paged(), DELIVERED, SEEN], AlertState.SEEN),
        ([raised(), paged(), SEEN, ON_TO_THE_NEXT, paged(minutes=10.3, attempt=2)], AlertState.ESCALATED),
        ([raised(), paged(), SEEN, TAKEN], AlertState.ACKNOWLEDGED),
        ([raised(), paged(), TAKEN, AlertClosed(**about(), reason="done", by="rad.suwon")], AlertState.CLOSED),
        ([raised(), paged(), AlertDismissed(**about(), by="rad.suwon", reason="artefact")], AlertState.DISMISSED),
        ([raised(), paged(), TAKEN, withdrawn()], AlertState.WITHDRAWN),
        ([raised(), DEFERRED], AlertState.DEFERRED),
        ([raised(), DEFERRED, paged(minutes=60, attempt=2, why=PageReason.DEFERRED)], AlertState.PAGED),
        (
            [raised(), paged(), SEEN, AlertDeferred(**about(minutes=9), attempt=2, until=at(60), reason="")],
            AlertState.DEFERRED,
        ),
        ([raised(), paged(), TAKEN, HANDED_ON], AlertState.PAGED),
    ],
    ids=lambda given: given.name if isinstance(given, AlertState) else "",
)
def test_an_alert_stands_where_its_events_say_in_any_order_and_twice(
    house: House, events: list[Event], state: AlertState
) -> None:
    shuffled = [received(), triaged(), *events, *events]
    random.Random(7).shuffle(shuffled)
    house.take(*shuffled)

    study = house.view.study("suwon", key())
    assert study is not None
    assert study.alert is not None
    assert study.alert.state is state
    assert len(study.entries) == 2 + len(events)
    assert [entry.at for entry in study.entries] == sorted(entry.at for entry in study.entries)


def test_a_refused_acknowledgement_takes_nothing(house: House) -> None:
    late = AlertAcknowledged(**about(minutes=0.7), by="rad.other")
    refused = AlertRefused(**about(minutes=0.8), asked=AlertAcknowledged.TYPE, by="rad.suwon", reason="too late")
    house.take(raised(), paged(), TAKEN, late, refused)

    _, alert = house.view.of_alert(alert_id("2.25.1")), house.view.of_alert(alert_id("2.25.1")).alert
    assert alert is not None
    assert alert.taken_by == "rad.other"


@pytest.mark.parametrize("turned", [False, True])
def test_the_newest_result_counts_and_a_confirmed_one_over_an_unconfirmed(house: House, turned: bool) -> None:
    first = triaged(minutes=1, unconfirmed=True)
    confirmed = triaged(minutes=2, outcome=Outcome.NO_FINDINGS)
    late = triaged(minutes=3, revision=1, unconfirmed=True, reason="again")
    results = [first, confirmed, late]
    house.take(*(reversed(results) if turned else results))
    assert house.view.study("suwon", key()).result == confirmed

    second = triaged(minutes=1.5, revision=2)
    house.take(second)
    assert house.view.study("suwon", key()).result == second


def test_the_true_result_counts_over_that_the_ai_did_not_run_yet(house: House) -> None:
    house.take(received(), triaged(minutes=1, outcome=Outcome.FAILED, reason="AI did not run yet: Triton is away"))
    assert level(house) is Level.UNREAD
    assert house.view.study("suwon", key()).not_yet
    house.take(triaged(minutes=2, outcome=Outcome.NO_FINDINGS))
    assert level(house) is Level.DONE


def test_the_worklist_is_sorted_by_urgency_then_by_waiting_time(house: House) -> None:
    house.take(
        *(received(uid) for uid in ("1.1", "1.2", "1.3", "1.4", "1.5", "1.6")),
        triaged("1.1", outcome=Outcome.NO_FINDINGS),
        triaged("1.2"),
        raised("1.2", minutes=0.9),
        triaged("1.3"),
        raised("1.3", minutes=0.5),
        triaged("1.4"),
        raised("1.4", minutes=0.1, priority=Priority.URGENT),
        triaged("1.5", outcome=Outcome.FAILED, reason="AI failed on this study"),
    )
    assert order(house) == ["1.3", "1.2", "1.4", "1.5", "1.6", "1.1"]
    assert order(house, through=Level.TAKEN) == ["1.3", "1.2", "1.4", "1.5", "1.6"]
    house.take(AlertAcknowledged(**about("1.3"), by="rad.suwon"))
    assert order(house) == ["1.2", "1.4", "1.5", "1.6", "1.3", "1.1"]


def test_sites_are_merged_and_kept_apart(house: House) -> None:
    house.take(received("1.1"), triaged("1.1"), raised("1.1", minutes=2))
    house.take(received("1.2", "anseong"), triaged("1.2", "anseong"), raised("1.2", "anseong", minutes=1))
    house.take(received("1.3", "nowhere"))
    assert order(house, "suwon", "anseong") == ["1.2", "1.1"]
    assert order(house, "suwon") == ["1.1"]
    assert house.view.study("anseong", key("1.1")) is None
    assert house.view.worklist(("suwon", "anseong"), Level.DONE, 1, 1).studies[0][0].study_uid == "1.1"


def test_a_study_without_a_result_becomes_one_that_the_ai_did_not_read(house: House) -> None:
    house.take(received())
    assert level(house) is Level.WAITING
    house.minutes = 11
    house.view.tick()
    assert house.view.worklist(("suwon",), Level.UNREAD, 0, 50).total == 1


def test_time_takes_what_is_not_to_be_done_any_more(house: House) -> None:
    house.take(received("1.1"), triaged("1.1", outcome=Outcome.FAILED), received("1.2"), triaged("1.2"), raised("1.2"))
    house.minutes = 25 * 60
    house.view.tick()
    assert order(house, through=Level.TAKEN) == ["1.2"]
    house.minutes = 31 * 24 * 60
    house.view.tick()
    assert order(house) == ["1.2"], "an open alert is never forgotten"
    house.take(withdrawn("1.2"))
    house.view.tick()
    assert order(house) == []
    assert house.view.of_alert(alert_id("1.2")) is None


def test_a_dead_letter_stands_in_the_timeline_and_is_counted_for_its_site(house: House) -> None:
    house.take(received())
    letter = Letter(at(1), "suwon", key(), "infer", "triage.studies", "Unreadable", (0, 1))
    for one in (
        letter,
        letter,
        letter._replace(place=(0, 2), site="anseong"),
        letter._replace(place=(0, 3), site=None),
    ):
        house.view.bury(one)
    assert house.view.letters(("suwon",)) == {KIND: Tally(2, at(1), at(1))}
    assert house.view.study("suwon", key()).entries[-1].kind == "DeadLetter"


def test_a_storm_of_dead_letters_is_a_line_and_not_ten_thousand(house: House) -> None:
    house.take(received())
    for offset in range(10_000):
        house.view.bury(Letter(at(offset / 100), "suwon", key(), *KIND, (0, offset)))
    study = house.view.study("suwon", key())
    (line,) = [entry for entry in study.entries if entry.kind == "DeadLetter"]
    assert (line.at, line.told.values["count"], line.told.values["until"]) == (at(0), 10_000, at(99.99))
    assert house.view.letters(("suwon",)) == {KIND: Tally(10_000, at(0), at(99.99))}
    for offset in range(3 * KINDS):
        house.view.bury(Letter(at(200), "suwon", key(), "infer", "x", f"Error{offset}", (1, offset)))
    assert len(house.view.letters(("suwon",))) == len(house.view.study("suwon", key()).letters) == KINDS


def test_what_is_told_before_its_study_enters_the_timeline_once_it_is_there(house: House) -> None:
    told: list[Change] = []
    house.view.on_change = told.append
    house.view.bury(Letter(at(1), "suwon", key(), *KIND, (0, 1)))
    house.take(HELD, paged(), TAKEN)
    assert house.view.study("suwon", key()) is None
    assert house.view.of_alert(alert_id("2.25.1")) is None
    assert told == []
    house.take(raised())
    study = house.view.study("suwon", key())
    assert {entry.kind for entry in study.entries} == {
        "DeadLetter",
        "ResultHeld",
        "AlertPaged",
        "AlertAcknowledged",
        "AlertRaised",
    }
    assert study.alert.taken_by == "rad.suwon"


@pytest.mark.parametrize("event", [HELD, paged(), DELIVERED, TAKEN], ids=lambda event: type(event).__name__)
def test_a_page_or_a_delivery_of_a_study_that_nobody_knows_makes_none(house: House, event: Event) -> None:
    house.take(event)
    house.minutes = 30
    house.view.tick()
    assert order(house) == []
    assert house.view.worklist(("suwon",), Level.DONE, 0, 50).total == 0
    house.minutes = 120
    house.view.tick()
    assert house.view._studies == {}


def test_an_act_has_the_time_at_which_it_was_done_before_and_after_a_restart(house: House) -> None:
    house.take(raised(), paged())
    house.view.take(TAKEN, at(47))  # when the broker was back
    (acknowledged,) = [one for one in house.view.study("suwon", key()).entries if one.kind == "AlertAcknowledged"]
    assert acknowledged.at == TAKEN.time


def assembled(revision: int, minutes: float = 0.05) -> StudyAssembled:
    return StudyAssembled(
        time=at(minutes),
        site="suwon",
        study_uid="2.25.1",
        revision=revision,
        final=True,
        reason=ClosingReason.QUIET,
        confidence=1.0,
        evidence=(),
        series=(),
        supersedes=revision - 1 or None,
    )


def test_a_later_revision_that_no_ai_has_read_waits_and_is_late(house: House) -> None:
    house.take(received(), assembled(1), triaged(outcome=Outcome.NO_FINDINGS))
    assert level(house) is Level.DONE
    house.take(received(minutes=5, batch=2), assembled(2, minutes=6))
    house.minutes = 14
    assert level(house) is Level.WAITING
    house.minutes = 15.1
    assert level(house) is Level.UNREAD
    house.take(triaged(revision=2, minutes=16, outcome=Outcome.NO_FINDINGS))
    assert level(house) is Level.DONE


def test_what_failed_does_not_wait_again_for_more_images(house: House) -> None:
    house.take(received(), triaged(outcome=Outcome.FAILED, reason="AI failed on this study"), assembled(2))
    assert level(house) is Level.UNREAD


def test_a_finding_without_an_alert_stays_one_while_more_is_read(house: House) -> None:
    house.take(received(), triaged(), assembled(2))
    assert level(house) is Level.FINDING


def failed(revision: int = 2) -> StudyTriaged:
    """What is said of a revision while the models are away."""
    result = triaged(revision=revision, minutes=6, outcome=Outcome.FAILED, reason=f"{NOT_YET}: Triton is away")
    (series,) = result.series
    return result.model_copy(update={"series": (series.model_copy(update={"manifest": stored("2.25.1 2")}),)})


@pytest.mark.parametrize("turned", [False, True])
def test_an_open_alert_keeps_its_finding_where_the_next_revision_was_not_read(house: House, turned: bool) -> None:
    events = [received(), assembled(1), triaged(), raised(), received(minutes=5, batch=2), assembled(2), failed()]
    house.take(*(reversed(events) if turned else events))
    study = house.view.study("suwon", key())
    assert [one.volume_ml for one in study.findings] == [20.0]
    assert (study.findings_revision, study.revision, study.outdated, study.failed) == (1, 2, True, True)
    (shown,) = study.pictures
    assert shown.manifest == stored("2.25.1 1"), "the images that the finding was seen in"
    assert shown.label_map == stored("2.25.1 labels")
    assert level(house) is Level.STAT

    house.take(withdrawn(minutes=7))
    study = house.view.study("suwon", key())
    assert (study.findings, level(house)) == ((), Level.UNREAD)
    (shown,) = study.pictures
    assert (shown.manifest, shown.label_map) == (stored("2.25.1 2"), None), "nothing of the old is on the new"


def test_an_alert_of_which_the_result_is_unknown_has_its_finding(house: House) -> None:
    house.take(raised())
    study = house.view.study("suwon", key())
    assert (len(study.findings), study.awaited, study.unread(at(99), house.view.clocks)) == (1, False, False)
    house.take(assembled(2))
    assert house.view.study("suwon", key()).outdated


def test_newer_images_are_shown_without_the_outlines_of_the_older_ones(house: House) -> None:
    house.take(received(), triaged(outcome=Outcome.NO_FINDINGS), received(minutes=5, batch=2))
    (shown,) = house.view.study("suwon", key()).pictures
    assert (shown.manifest, shown.label_map) == (stored("2.25.1 2"), None)


def series(number: int, **said: Any) -> SeriesReceived:
    uid = f"2.25.1.{number}"
    return received(series_uid=uid, manifest=stored(uid), **said)


STACK = Geometry(
    slices=36,
    rows=512,
    columns=512,
    pixel_spacing_mm=(0.5, 0.5),
    spacing_mm=5.0,
    extent_mm=175.0,
    orientation=(1, 0, 0, 0, 1, 0),
    tilt_deg=0.0,
    duplicate_positions=0,
    gaps=(),
    contiguous=True,
)


def opens_with(house: House, **asked: Any) -> str:
    shown = house.view.study("suwon", key()).picture(**asked)
    assert shown is not None
    return shown.series_uid[-1]


def test_the_series_to_open_with_is_that_of_the_largest_finding(house: House) -> None:
    scout, thick, thin = series(2, instances=300), series(1, geometry=STACK), series(3, instances=90, geometry=STACK)
    house.take(scout, thick)
    assert opens_with(house) == "1", "of a scout nothing can be stacked"
    house.take(thin)
    assert opens_with(house) == "3", "the most images that form a stack"
    quiet = triaged(outcome=Outcome.NO_FINDINGS)
    house.take(quiet)
    assert opens_with(house) == "1", "what was read"

    def read(number: int, *volumes_ml: float) -> SeriesDecision:
        found = tuple(
            finding("2.25.1", volume_ml).model_copy(update={"series_uid": f"2.25.1.{number}"})
            for volume_ml in volumes_ml
        )
        (decision,) = quiet.series
        reading = decision.reading.model_copy(update={"findings": found, "content": stored(f"2.25.1.{number}").digest})
        manifest = stored(f"2.25.1.{number}")
        return decision.model_copy(update={"series_uid": f"2.25.1.{number}", "reading": reading, "manifest": manifest})

    decisions = (read(1, 3.0), read(3, 7.0, 1.0))
    findings = tuple(one for decision in decisions for one in decision.reading.findings)
    house.take(triaged(revision=2).model_copy(update={"series": decisions, "findings": findings}))
    assert opens_with(house) == "3"
    assert [opens_with(house, finding=number) for number in (0, 1, 2, 3)] == ["3", "1", "3", "3"]
    study = house.view.study("suwon", key())
    keys = {one.series_uid[-1]: study.series_key(one) for one in study.pictures}
    assert len(set(keys.values())) == 3
    assert [opens_with(house, series=keys[number]) for number in "123"] == ["1", "2", "3"]
    assert opens_with(house, series="0" * 16) == "3"


def test_content_changes_with_images_and_with_marks(house: House) -> None:
    contents = []
    for event in (received(), triaged(outcome=Outcome.NO_FINDINGS), received(minutes=5, batch=2), series(2)):
        house.take(event)
        contents.append(house.view.study("suwon", key()).content)
    assert len(set(contents)) == 4


def test_scanners_and_their_newest_image(house: House) -> None:
    house.take(received("1.1"), received("1.2", minutes=50, sending_ae="CT2"), received("1.3", minutes=20))
    assert house.view.senders(("suwon",)) == [("suwon", "CT1", at(20)), ("suwon", "CT2", at(50))]
    assert house.view.senders(("anseong",)) == []


def test_changes_are_told_once(house: House) -> None:
    told: list[Change] = []
    house.view.on_change = told.append
    house.take(received(), raised(), raised())
    assert told == [Change("suwon", key(), alert=False), Change("suwon", key(), alert=True)]


def test_what_is_given_out_does_not_change(house: House) -> None:
    house.take(raised(), paged())
    before = house.view.study("suwon", key())
    house.take(TAKEN, triaged())
    assert before.alert.state is AlertState.PAGED
    assert before.result is None


def test_pages_together_are_the_whole_list_in_order(house: House) -> None:
    for number in range(500):
        uid, site = f"2.25.{number}", ("suwon", "anseong")[number % 2]
        priority = (Priority.STAT, Priority.URGENT)[number % 3 == 0]
        house.take(raised(uid, site, minutes=(number * 7919 % 500) / 1000, priority=priority))
    listed = [house.view.worklist(("suwon", "anseong"), Level.TAKEN, start, 50) for start in range(0, 500, 50)]
    studies = [study for one in listed for study, _ in one.studies]
    assert len({study.key for study in studies}) == listed[0].total == 500
    places = [(study.alert.priority.rank, study.since) for study in studies if study.alert]
    assert places == sorted(places)
    assert listed[0].counts[Level.STAT] == sum(rank == 0 for rank, _ in places)


def test_who_hands_on_what_they_have_taken_has_it_no_more(house: House) -> None:
    house.take(raised(), paged(), TAKEN, HANDED_ON)
    alert = house.view.study("suwon", key()).alert
    assert (alert.taken_by, alert.handed_on_by, level(house)) == (None, "rad.suwon", Level.STAT)
    house.take(paged(minutes=0.8, attempt=2))
    assert house.view.study("suwon", key()).alert.handed_on_by is None
    house.take(AlertAcknowledged(**about(minutes=0.9), by="rad.suwon"))
    assert house.view.study("suwon", key()).alert.taken_by == "rad.suwon", "they may take it again"


def test_a_hand_on_that_was_refused_takes_nothing_from_anybody(house: House) -> None:
    late = AlertHandedOn(**about(minutes=0.7), by="rad.other", attempt=1)
    refused = AlertRefused(**about(minutes=0.7), asked=AlertHandedOn.TYPE, by="rad.other", reason="rad.suwon has it")
    house.take(raised(), paged(), TAKEN, late)
    assert house.view.study("suwon", key()).alert.taken_by == "rad.suwon"
    house.take(refused)
    alert = house.view.study("suwon", key()).alert
    assert (alert.taken_by, alert.handed_on_by) == ("rad.suwon", None)


def test_deferrals_count_as_attempts_and_ask_nobody(house: House) -> None:
    house.take(raised(), paged(), AlertDeferred(**about(minutes=9), attempt=2, until=at(60), reason="quiet hours"))
    alert = house.view.study("suwon", key()).alert
    assert (alert.attempt, alert.waits_for) == (2, ())
