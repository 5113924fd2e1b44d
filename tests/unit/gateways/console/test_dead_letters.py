"""Dead letters in the console: who sees which, who may see what they carry, and what is done to them."""

from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from fastapi import FastAPI

from gateways.console import dead_letters
from gateways.console.view import _LETTERS
from gateways.letters.box import State
from gateways.letters.letter import Place
from schemas.audit import LetterDiscarded, LetterRequeued, Origin, Role, StudyViewed
from schemas.failures import Refused, Unavailable
from tests.letters import LetterRack, letter
from tests.unit.gateways.console.house import (
    PASSWORD,
    Browser,
    Enter,
    House,
    at,
    grant,
    triaged,
)

BURIED = triaged("2.25.771")


@pytest.fixture
def house(house: House) -> House:
    house.bury(
        letter(BURIED, 1, error="ZeroDivisionError", message="it was too much", topic="triage.studies"),
        letter(triaged("2.25.881", "anseong"), 2, error="Elsewhere"),
        letter(b"\xff\x00", 3),
    )
    return house


def act(browser: Browser, what: str, place: str = "0/1", **form: str) -> Any:
    form["csrf"] = browser.token("/dead-letters")
    return browser.post(f"/dead-letters/{place}/{what}", data=form)


def test_operators_see_the_letters_of_their_sites_and_of_none(enter: Enter) -> None:
    page = enter("op.suwon").get("/dead-letters").text
    assert "ZeroDivisionError" in page
    assert "it was too much" in page
    assert 'href="/dead-letters/0/1"' in page
    assert 'href="/dead-letters/0/3"' in page
    assert "Elsewhere" not in page
    assert enter("op.suwon").get("/dead-letters/0/2").status_code == 404
    assert "Elsewhere" in enter("admin").get("/dead-letters").text


@pytest.mark.parametrize("name", ["rad.suwon", "auditor"])
def test_who_sees_studies_only_sees_no_letters(house: House, enter: Enter, name: str) -> None:
    browser = enter(name)
    assert browser.get("/dead-letters").status_code == 404
    assert browser.get("/dead-letters/0/1").status_code == 404
    token = browser.token("/worklist")
    for what in ("requeue", "discard"):
        answer = browser.post(f"/dead-letters/0/1/{what}", data={"csrf": token, "reason": "x"})
        assert answer.status_code == 404
    assert (house.said(), house.rack.sent) == ([], [])


def test_what_a_letter_carries_is_for_who_sees_studies_and_it_is_a_look(house: House, enter: Enter) -> None:
    operator = enter("op.suwon").get("/dead-letters/0/1").text
    assert "it was too much" in operator
    assert "2.25.771" not in operator
    assert "sinsok dead-letters show 0/1" in operator
    assert house.said() == []
    assert "2.25.771" in enter("admin").get("/dead-letters/0/1").text
    (look,) = house.said()
    assert isinstance(look, StudyViewed)
    assert (look.by, look.role, look.site, look.study_uid) == ("admin", Role.ADMIN, "suwon", "2.25.771")


def test_bytes_that_are_no_event_are_for_who_sees_the_studies_of_all_sites(house: House, enter: Enter) -> None:
    house.accounts.add("both", PASSWORD, grant(Role.ADMIN, "suwon"))
    assert "ff 00" not in enter("both").get("/dead-letters/0/3").text
    assert "ff 00" in enter("admin").get("/dead-letters/0/3").text
    assert house.said() == []


def test_requeued_it_goes_back_and_the_account_did_it(house: House, enter: Enter) -> None:
    browser = enter("op.suwon")
    answer = act(browser, "requeue")
    assert (answer.status_code, answer.headers["location"]) == (303, "/dead-letters/0/1")
    (sent,) = house.rack.sent
    assert (sent.topic, sent.partition) == ("triage.studies", 4)
    assert (sent.key, sent.value) == (house.rack.records[Place(0, 1)].key, house.rack.records[Place(0, 1)].value)
    (said,) = house.said()
    assert isinstance(said, LetterRequeued)
    assert (said.by, said.site, said.attempt, said.to) == ("op.suwon", "suwon", 1, "triage.studies")
    assert said.letter == Origin(topic="dead.letters", partition=0, offset=1)
    assert "requeued by op.suwon, attempt 1" in browser.get("/dead-letters/0/1").text
    assert "ZeroDivisionError" not in browser.get("/dead-letters").text
    assert "op.suwon" in browser.get("/dead-letters?show=all").text.split("<main")[1]


def test_discarded_with_a_reason_only_and_once(house: House, enter: Enter) -> None:
    browser = enter("op.suwon")
    for reason in ("", "   ", "x" * 501):
        assert act(browser, "discard", reason=reason).status_code == 422
    assert house.said() == []
    assert act(browser, "discard", "0/3", reason=" a  test ").status_code == 303
    (said,) = house.said()
    assert isinstance(said, LetterDiscarded)
    assert (said.by, said.site, said.reason) == ("op.suwon", "sinsok", "a test")
    again = act(browser, "discard", "0/3", reason="once more")
    assert again.status_code == 409
    assert "somebody has dealt with this letter already" in again.text
    assert "discarded by op.suwon: a test" in " ".join(again.text.split())


def test_without_kafka_nothing_is_sent_and_the_page_says_so(house: House, enter: Enter) -> None:
    browser = enter("op.suwon")
    house.rack.fails = Unavailable("Kafka does not answer")
    answer = act(browser, "requeue")
    assert answer.status_code == 503
    assert "NOT requeued: Kafka does not answer" in answer.text
    assert (house.rack.sent, house.said()) == ([], [])
    assert browser.get("/dead-letters").status_code == 200
    assert "Kafka does not give it now." in enter("admin").get("/dead-letters/0/1").text
    # To discard takes no Kafka: it is kept on disk.
    assert act(browser, "discard", reason="noise").status_code == 303


@pytest.mark.parametrize(
    ("hurt", "said"),
    [
        (lambda rack: rack.topics.clear(), "Kafka does not have the topic"),
        (lambda rack: rack.records.clear(), "Kafka does not hold the letter any more"),
        (lambda rack: setattr(rack, "fails", Refused("too large")), "Kafka does not take it"),
    ],
)
def test_what_cannot_be_requeued_says_why(
    house: House, enter: Enter, hurt: Callable[[LetterRack], None], said: str
) -> None:
    browser = enter("op.suwon")
    hurt(house.rack)
    answer = act(browser, "requeue")
    assert answer.status_code == 409
    assert said in answer.text
    assert (house.rack.sent, house.said()) == ([], [])


def test_what_came_back_too_often_stays(house: House, enter: Enter) -> None:
    house.bury(letter(b"x", 9, headers=[("sinsok_requeued", b"3"), ("sinsok_letter", b"0/3")]))
    browser = enter("op.suwon")
    answer = act(browser, "requeue", "0/9")
    assert answer.status_code == 409
    assert "it has been requeued 3 times" in answer.text
    assert 'Before: <a href="/dead-letters/0/3">' in answer.text
    assert house.rack.sent == []


def test_while_one_waits_for_kafka_others_are_told_so(
    house: House, app: FastAPI, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_WAIT_S", 0.01)
    browser = enter("op.suwon")
    lock = app.state.backstage.sorting
    taken = Thread(target=lock.acquire)
    taken.start()
    taken.join()
    assert act(browser, "requeue").status_code == 503
    lock.release()
    assert act(browser, "requeue").status_code == 303


def test_the_operators_page_counts_those_not_dealt_with(house: House, enter: Enter) -> None:
    browser = enter("op.suwon")
    assert '<a href="/dead-letters">2 not dealt with</a>' in browser.get("/operators").text
    act(browser, "discard", reason="noise")
    assert '<a href="/dead-letters">1 not dealt with</a>' in browser.get("/operators").text


def test_the_newest_are_kept_and_the_page_says_that_there_are_more(house: House, enter: Enter) -> None:
    house.bury(*(letter(b"x", offset, partition=1, at=at(1 + offset / 100)) for offset in range(_LETTERS + 5)))
    assert len(house.view.box.cases(State.OPEN)) == _LETTERS
    page = enter("op.suwon").get("/dead-letters").text
    assert f"These are the newest {_LETTERS} letters." in page
    assert page.count('action="/dead-letters/') == 20
    assert "/dead-letters/1/504" in page
    assert f"{_LETTERS} and more not dealt with" in enter("op.suwon").get("/operators").text


def test_a_command_to_paste_holds_no_other(house: House, enter: Enter) -> None:
    hostile = {"hop": "x'; rm -rf / #", "error": "$(reboot)"}
    house.bury(letter(b"a", 20, **hostile), letter(b"b", 21, **hostile))
    page = enter("op.suwon").get("/dead-letters").text
    assert "--hop &#39;x&#39;&#34;&#39;&#34;&#39;; rm -rf / #&#39; --error &#39;$(reboot)&#39;" in page


def test_what_was_done_before_a_restart_is_known_after_it(house: House, enter: Enter) -> None:
    act(enter("op.suwon"), "discard", reason="noise")
    again = type(house)(house.folder)
    again.bury(letter(BURIED, 1))
    again.acts.recall()
    assert again.view.box.cases(State.OPEN) == []
    again.close()


def test_what_an_event_says_stays_text(house: House, enter: Enter) -> None:
    house.bury(letter(triaged("2.25.772", reason="</pre><script>alert(1)</script>\u202e\x1b[2J"), 30))
    page = enter("admin").get("/dead-letters/0/30").text
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;\\u202e\\u001b[2J" in page
    assert "<script>alert" not in page


def test_in_korean(enter: Enter) -> None:
    browser = enter("op.suwon")
    browser.cookies.set("sinsok-language", "ko")
    assert "처리 불가 메시지" in browser.get("/dead-letters").text
    assert "다시 보내기" in browser.get("/dead-letters/0/1").text
