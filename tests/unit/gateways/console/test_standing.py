"""How much an open page can be relied on: every part of one says so anew, and shares only what is everybody's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import pytest

from gateways.console import probes, rendering
from gateways.console.backstage import Condition
from gateways.console.console import Console
from gateways.console.probes import Probes
from gateways.console.reasons import SENTENCES
from gateways.console.settings import ConsoleSettings
from gateways.console.words import Words
from gateways.objects import FileStore
from gateways.outbox.publisher import OutboxPublisher
from schemas.paging import AlertAcknowledged, AlertRefused
from tests.unit.gateways.console.house import (
    START,
    Enter,
    House,
    about,
    alert_id,
    at,
    key,
    paged,
    raised,
    received,
    withdrawn,
)

AWAY = Condition(True, at(0), 0)
PARTS = {
    "/worklist/rows": "rad.suwon",
    f"/studies/suwon/{key()}/state": "rad.suwon",
    "/operators/state": "op.suwon",
}


@pytest.fixture
def house(house: House) -> House:
    house.take(received(), raised(), paged())
    return house


@pytest.mark.parametrize("path", PARTS)
@pytest.mark.parametrize(
    ("language", "said"), [("en", "No connection to Kafka since"), ("ko", "Kafka와 연결이 끊겼습니다")]
)
def test_every_part_says_how_much_it_can_be_relied_on(
    house: House, enter: Enter, path: str, language: str, said: str
) -> None:
    browser = enter(PARTS[path])
    browser.headers["accept-language"] = language
    before = browser.get(path).text
    assert before.count('id="condition"') == 1
    assert "&lt;" not in before
    assert said not in before
    house.condition = AWAY
    assert said in browser.get(path).text.split('id="condition"')[1]
    assert browser.get(path.removesuffix("/rows").removesuffix("/state")).text.count('id="condition"') == 1


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Templates in the order in which they were filled for everybody."""
    made: list[str] = []
    markup = rendering.markup

    def noted(words: Words, template: str, **values: Any) -> str:
        if template == "rows.html":
            made.append(template)
            assert not {"csrf", "user"} & values.keys()
        return markup(words, template, **values)

    monkeypatch.setattr("gateways.console.pages.markup", noted)
    return made


def test_rows_are_made_once_for_all_who_see_the_same(house: House, enter: Enter, made: list[str]) -> None:
    one, two = enter("rad.suwon"), enter("rad.suwon")
    rows = {browser.get("/worklist/rows").text for browser in (one, two) for _ in range(3)}
    assert len(rows) == 1
    assert len(made) == 1
    assert one.get("/worklist").text.count("<tr class=") == 1
    assert len(made) == 1


def test_rows_are_made_anew_for_whatever_they_depend_on(house: House, enter: Enter, made: list[str]) -> None:
    browser, elsewhere, everywhere = enter("rad.suwon"), enter("rad.anseong"), enter("auditor")

    def differs() -> str:
        before = len(made)
        text = str(browser.get("/worklist/rows").text)
        assert len(made) == before + 1
        return text

    differs()
    house.take(AlertAcknowledged(**about(), by="rad.other"))
    assert "rad.other" in differs()
    house.take(received("9.9", minutes=0.9, study_description="ANOTHER"))
    assert "ANOTHER" in differs()
    house.minutes += 1
    differs()
    browser.headers["accept-language"] = "ko"
    assert "대기" in differs()
    assert "ANOTHER" not in elsewhere.get("/worklist/rows").text
    assert "ANOTHER" in everywhere.get("/worklist/rows").text
    count = len(made)
    for query in ("?show=all", "?page=2", "?site=suwon"):
        browser.get(f"/worklist/rows{query}")
    assert len(made) == count + 3


def test_korean_pages_say_in_korean_why_something_was_refused(house: House, enter: Enter) -> None:
    house.take(
        withdrawn(),
        AlertAcknowledged(**about(), by="rad.suwon"),
        AlertRefused(
            **about(),
            asked=AlertAcknowledged.TYPE,
            by="rad.suwon",
            reason="it was withdrawn: revision 2 took the finding back: nothing is there",
        ),
    )
    browser = enter("rad.suwon")
    browser.headers["accept-language"] = "ko"
    page = browser.get(f"/alerts/{alert_id('2.25.1')}").text
    assert "철회되었습니다: 2차 결과에서 소견이 취소됨: nothing is there" in page
    assert "it was withdrawn" not in page
    assert "it was withdrawn" in enter("rad.suwon").get(f"/alerts/{alert_id('2.25.1')}").text


def test_korean_operators_read_korean_complaints(house: House, enter: Enter) -> None:
    health = house.probes._newest["streams-infer"]
    said = ("the outbox thread has died: restart the gateway", "12 events wait for Kafka, the oldest for 80 s")
    house.probes._newest = {"streams-infer": health._replace(complaints=said)}
    browser = enter("op.suwon")
    browser.headers["accept-language"] = "ko"
    page = browser.get("/operators").text
    assert "outbox 스레드가 멈췄습니다. 다시 시작하십시오: gateway" in page
    assert "이벤트 12건이 Kafka를 기다리고 있습니다. 가장 오래된 것은 80초째입니다" in page


def test_no_sentence_is_another_ones() -> None:
    assert len(set(SENTENCES)) == len(SENTENCES)


def test_what_parts_said_long_ago_is_shown_as_old(house: House, enter: Enter) -> None:
    browser = enter("op.suwon")
    assert "not asked for" not in browser.get("/operators").text
    house.minutes = 4
    page = browser.get("/operators/state").text
    assert "not asked for 4 min" in page
    assert "light not-ready" not in page


def test_the_console_says_what_is_wrong_once(house: House, tmp_path: Path) -> None:
    def nobody() -> NoReturn:
        raise AssertionError

    folder = tmp_path / "home"
    store, zone = FileStore(tmp_path), ZoneInfo("Asia/Seoul")
    console = Console(ConsoleSettings(), house.sites, folder, store, "127.0.0.1:1", {}, nobody, zone)
    console._publisher = OutboxPublisher(house.outbox, nobody)
    console._serve = threading.Thread()
    assert "the probes thread has died: restart the console" in console.deaths()
    folder.mkdir()
    (folder / "accounts.json").write_text("{")
    said = console.health()
    assert [line for line in said if "holds no accounts" in line]
    assert not set(said) & set(console.deaths())


@contextmanager
def part(metrics: str) -> Iterator[str]:
    """A part that answers; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(metrics.encode() if self.path == "/metrics" else b"ok\n")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_whatever_one_part_answers_the_others_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_EVERY_S", 0.01)
    rounds, enough = [], threading.Event()

    def now() -> Any:
        rounds.append(1)
        if len(rounds) > 10:
            enough.set()
        return START + timedelta(seconds=len(rounds))

    with part('sinsok_lag{topic="a"} NaN\n') as odd, part('sinsok_lag{topic="a"} 7.0\n') as good:
        asked = Probes({"odd": odd, "unheard of": "no such host:x", "good": good}, now)
        asked.start()
        assert enough.wait(10)
        assert asked.alive
        asked.stop()
    assert not asked.alive
    assert [(one.name, one.state, one.lag) for one in asked.newest] == [
        ("odd", "away", None),
        ("unheard of", "away", None),
        ("good", "ready", 7),
    ]
    assert asked.newest[0].at > START
