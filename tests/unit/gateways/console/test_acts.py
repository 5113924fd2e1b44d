"""What people do: that it is possible, and on disk before they are told."""

import sqlite3
from threading import Barrier, Thread
from typing import Any

import pytest

from gateways.console.acts import Acts, NotPossible
from gateways.console.alert import Alert
from gateways.console.study import Study
from schemas.audit import Role, Sight, StudyViewed
from schemas.base import Event
from schemas.envelope import Message
from schemas.events import AlertEvent
from schemas.paging import AlertAcknowledged, AlertDeferred, AlertHandedOn
from tests.unit.gateways.console.house import (
    Enter,
    House,
    about,
    alert_id,
    at,
    key,
    paged,
    raised,
    received,
    triaged,
)

STUDY = f"/studies/suwon/{key()}"
TAKEN = AlertAcknowledged(**about(minutes=0.6), by="rad.suwon")


@pytest.fixture
def house(house: House) -> House:
    house.take(received(), triaged(), raised())
    return house


def now(house: House) -> tuple[Study, Alert]:
    study = house.view.of_alert(alert_id("2.25.1"))
    assert study is not None
    return study, study.alerts[alert_id("2.25.1")]


def handed_on(house: House, by: str) -> AlertHandedOn:
    house.acts.hand_on(*now(house), by)
    said = house.said()[-1]
    assert isinstance(said, AlertHandedOn)
    return said


def looks(house: House) -> list[Event]:
    return [event for event in house.said() if isinstance(event, StudyViewed)]


def test_what_was_deferred_from_the_start_can_be_handed_on(house: House) -> None:
    house.take(AlertDeferred(**about(), attempt=1, until=at(600), reason="quiet hours"))
    assert handed_on(house, "rad.suwon").attempt == 1


def test_it_is_handed_on_by_the_newest_attempt_page_or_deferral(house: House) -> None:
    house.take(paged(), AlertDeferred(**about(minutes=9), attempt=2, until=at(600), reason="quiet hours"))
    assert handed_on(house, "rad.suwon").attempt == 2
    house.take(paged(minutes=600, attempt=3))
    assert handed_on(house, "rad.suwon").attempt == 3


def test_what_somebody_else_has_taken_is_not_handed_on(house: House, enter: Enter) -> None:
    house.take(paged(), AlertAcknowledged(**about(), by="rad.other"))
    with pytest.raises(NotPossible, match="Somebody else"):
        house.acts.hand_on(*now(house), "rad.suwon")
    assert "/hand-on" not in enter("rad.suwon").get(f"/alerts/{alert_id('2.25.1')}").text


def test_who_has_taken_it_may_hand_it_on_and_take_it_again(house: House, enter: Enter) -> None:
    house.take(paged(), TAKEN)
    browser = enter("rad.suwon")
    page = browser.get(f"/alerts/{alert_id('2.25.1')}").text
    assert "/hand-on" in page
    assert "/acknowledge" not in page
    assert browser.act("hand-on").status_code == 303
    page = browser.get(f"/alerts/{alert_id('2.25.1')}").text
    assert "handed on by rad.suwon" in page
    assert "/acknowledge" in page
    house.minutes += 1
    assert browser.act("acknowledge").status_code == 303
    assert now(house)[1].taken_by == "rad.suwon"
    kinds = [type(event) for event in house.said() if isinstance(event, AlertEvent)]
    assert kinds[-2:] == [AlertHandedOn, AlertAcknowledged]


class Full:
    """An outbox on a disk that is full, once."""

    def __init__(self, house: House) -> None:
        self._outbox = house.outbox
        self._post, self.full = house.outbox.post, True
        house.outbox.post = self.post  # type: ignore[method-assign]

    def post(self, *what: Any) -> None:
        if self.full:
            self.full = False
            raise sqlite3.OperationalError("database or disk is full")
        self._post(*what)


def test_nobody_sees_a_study_before_their_look_is_on_disk(house: House, enter: Enter) -> None:
    browser = enter("rad.suwon")
    browser._transport.raise_server_exceptions = False  # type: ignore[attr-defined]
    Full(house)
    refused = browser.get(STUDY)
    assert refused.status_code >= 500
    assert "20.0 ml" not in refused.text
    assert looks(house) == []
    assert "20.0 ml" in browser.get(STUDY).text
    assert len(looks(house)) == 1


def test_who_looks_twice_at_once_waits_until_it_is_written(house: House) -> None:
    """Whoever goes on has a look on disk, and one look is enough for both."""
    together, returned = Barrier(8), []

    def look() -> None:
        together.wait()
        house.acts.viewed(now(house)[0], "rad.suwon", Role.RADIOLOGIST, Sight.PAGE)
        returned.append(len(looks(house)))

    threads = [Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert returned == [1] * 8


def test_what_an_open_page_asks_for_by_itself_is_no_look(house: House, enter: Enter) -> None:
    browser = enter("rad.suwon")
    browser.get(STUDY)
    for _ in range(3):
        house.minutes += 5
        assert browser.get(f"{STUDY}/state").status_code == 200
    assert len(looks(house)) == 1


def test_but_whoever_asks_for_that_alone_has_looked(house: House, enter: Enter) -> None:
    enter("rad.suwon").get(f"{STUDY}/state")
    assert len(looks(house)) == 1


def test_an_act_of_another_version_is_passed_over(house: House) -> None:
    strange = [("ce_type", b"sinsok.AlertSung.v9"), ("ce_source", b"/sinsok/suwon")]
    with house.outbox.transaction():
        house.outbox.post("alerts.suwon", Message(b"x", strange, b"{}"), 0.0)
    house.take(paged())
    house.acts.acknowledge(*now(house), "rad.suwon")
    house.view.__init__(house.settings, house.sites, house.now)  # type: ignore[misc]
    Acts(house.outbox, house.view, house.now).recall()
    house.take(raised())
    assert now(house)[1].taken_by == "rad.suwon"
