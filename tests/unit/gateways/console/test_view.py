"""What is known of studies and alerts, whatever the order and however often it is said."""

import random

import pytest

from gateways.console.alert import AlertState
from gateways.console.study import Level
from gateways.console.view import Change, Letter
from schemas.base import Event
from schemas.events import Outcome, Priority
from schemas.paging import (
    AlertAcknowledged,
    AlertClosed,
    AlertDelivered,
    AlertDismissed,
    AlertEscalated,
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
    key,
    paged,
    raised,
    received,
    triaged,
    withdrawn,
)

DELIVERED = AlertDelivered(**about(minutes=0.4), attempt=1, recipient="on-call-1", channel="smtp", answer="250 ok")
SEEN = AlertSeen(**about(minutes=0.5), by="rad.suwon")
TAKEN = AlertAcknowledged(**about(minutes=0.6), by="rad.suwon")
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
    assert house.view.letters(("suwon",)) == {("infer", "triage.studies", "Unreadable"): 2}
    assert house.view.study("suwon", key()).entries[-1].kind == "DeadLetter"


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
