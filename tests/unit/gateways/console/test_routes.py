"""What holds at every address there is: who learns what, whose forms are taken, what browsers are told."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from gateways.console.access import OPEN
from gateways.console.letters import Letter
from gateways.console.live import Hub
from gateways.console.settings import SiteConsole
from gateways.console.stack import Window
from gateways.objects import FileStore
from schemas.audit import Role
from schemas.base import Event, ObjectRef
from tests.letters import letter
from tests.results import small_study
from tests.unit.gateways.console.house import (
    PASSWORD,
    SITES,
    Browser,
    Enter,
    House,
    alert_id,
    at,
    grant,
    key,
    paged,
    raised,
    received,
    triaged,
)
from tests.unit.gateways.console.walk import (
    ANSEONG,
    SECRET_PIXELS,
    SUWON,
    Betraying,
    Raw,
    addresses,
    end_streams,
    form_token,
    operations,
    values_of,
)

KEY, ALERT = key(SUWON), str(alert_id(SUWON))
SECRETS = {
    "the study": "SECRET-STUDY",
    "its UID": SUWON,
    "its key": KEY,
    "its alert": ALERT,
    "its scanner": "SECRET_CT",
    "what AI says": "SECRET-REASON",
    "why somebody was alerted": "SECRET-ALERT",
    "who was paged": "secret-on-call",
    "the patient": "PHANTOM",
    "its dead letters": "SECRET-ERROR",
    "its pictures": SECRET_PIXELS,
}
"""Whatever is known of suwon's study, each by what betrays it."""


@pytest.fixture
def house(house: House, tmp_path: Path) -> House:
    house.sites = dict.fromkeys(SITES, SiteConsole(show_patient=True))
    manifest = small_study(FileStore(tmp_path / "objects"), "secret").manifest
    said: dict[str, Any] = {"study_description": "SECRET-STUDY", "sending_ae": "SECRET_CT", "manifest": manifest}
    result = triaged(SUWON, reason="SECRET-REASON")
    (series,) = result.series
    assert series.reading is not None
    read = {"manifest": manifest, "reading": series.reading.model_copy(update={"content": manifest.digest})}
    house.take(
        received(SUWON, **said),
        result.model_copy(update={"series": (series.model_copy(update=read),)}),
        raised(SUWON, reason="SECRET-ALERT"),
        paged(SUWON).model_copy(update={"recipients": ("secret-on-call",)}),
        received(ANSEONG, "anseong"),
        triaged(ANSEONG, "anseong"),
        raised(ANSEONG, "anseong"),
        paged(ANSEONG, "anseong"),
    )
    house.view.bury(Letter(at(1), "suwon", KEY, "write", "triage.results", "SECRET-ERROR", (0, 1)))
    house.bury(letter(result, 1, error="SECRET-ERROR"), letter(triaged(ANSEONG, "anseong"), 2))
    end_streams(house.hub)
    return house


@pytest.fixture
def app(house: House) -> FastAPI:
    app = house.app()
    (shown,) = house.view.study("suwon", KEY).pictures  # type: ignore[union-attr]
    app.state.backstage = replace(app.state.backstage, pictures=Betraying(shown.manifest))
    return app


def hired(house: House, role: Role, site: str) -> str:
    """The name of somebody with a role at one site."""
    name = f"{role}.{site}"
    house.accounts.add(name, PASSWORD, grant(role, site))
    return name


def answers(app: FastAPI, browser: Browser, *methods: str) -> list[tuple[str, int, str]]:
    """The address, and status and whole text of the answer, of all addresses; forms with a token of this browser."""
    found = []
    for operation in operations(app):
        for address in addresses(operation, values_of(app.state.view)) if operation.method in methods else ():
            if (operation.method, address) == ("POST", "/logout"):
                continue
            form = {"csrf": form_token(browser), "reason": "x"} if operation.method == "POST" else None
            answer = browser.request(operation.method, address, data=form)
            found.append((address, answer.status_code, f"{answer.headers} {answer.text}"))
    return found


def betrayed(found: list[tuple[str, int, str]]) -> dict[str, list[str]]:
    """Which secrets were told, and at which addresses. An address that is said back tells nothing new."""
    return {
        what: told
        for what, sign in SECRETS.items()
        if (told := [address for address, _, said in found if sign in said and sign not in address])
    }


@pytest.mark.parametrize("role", Role)
def test_whoever_belongs_to_another_site_learns_nothing_at_any_address(
    house: House, app: FastAPI, enter: Enter, role: Role
) -> None:
    neighbour = enter("rad.suwon")
    for path in ("/worklist", "/worklist?show=all", "/worklist/rows"):  # of which a page is kept for the next who asks
        assert "SECRET-STUDY" in neighbour.get(path).text
    found = answers(app, enter(hired(house, role, "anseong")), "GET", "POST")
    assert betrayed(found) == {}
    assert {200} <= {status for _, status, _ in found} <= {200, 303, 404, 403, 409}
    assert {event.site for event in house.said()} <= {"anseong"}, "not even a word was said in their name"


def test_whoever_belongs_to_the_site_learns_all_of_it(house: House, app: FastAPI, enter: Enter) -> None:
    """Else the test above would prove nothing."""
    told: set[str] = set()
    for role in (Role.RADIOLOGIST, Role.OPERATOR):
        told |= betrayed(answers(app, enter(hired(house, role, "suwon")), "GET")).keys()
    assert told == SECRETS.keys() - {"its UID"}, "the UID is in no page of theirs"
    assert "its UID" in betrayed(answers(app, enter(hired(house, Role.ADMIN, "suwon")), "GET")), "but in a dead letter"


def test_what_strangers_may_ask_is_this_and_no_more() -> None:
    assert sorted(OPEN) == ["/login", "/login/oidc", "/login/oidc/callback", "/preferences"]


@pytest.mark.parametrize("held", [None, "planted", "ended"])
def test_strangers_learn_nothing_at_any_address(house: House, app: FastAPI, enter: Enter, held: str | None) -> None:
    stranger = enter()
    if held == "ended":
        person = enter("rad.suwon")
        held = dict(person.cookies)["sinsok"]
        person.post("/logout", data={"csrf": person.token("/worklist")})
    if held:
        stranger.cookies.set("sinsok", held)
    for accept, comes_from in (("text/html", "none"), ("text/html", "cross-site"), ("*/*", "none")):
        stranger.headers.update({"accept": accept, "sec-fetch-site": comes_from})
        found = answers(app, stranger, "GET")
        assert betrayed(found) == {}
        for address, status, said in found:
            if address.split("?")[0] not in OPEN:
                asks_again = status == 200 and comes_from == "cross-site" and 'http-equiv="refresh"' in said
                assert asks_again or status in (303, 401), address
    assert house.said() == []


def heard_live(house: House, browser: Browser, *news: Event | Callable[[], None]) -> list[str]:
    """What the stream of a page says of what happens, until it has told of anseong's study or ends."""
    house.hub = Hub()  # one that has not ended
    raw = Raw(house.app(), browser)

    async def run() -> list[str]:
        house.hub.open()
        house.view.on_change = house.hub.tell
        heard: asyncio.Queue[str] = asyncio.Queue()
        following = asyncio.ensure_future(raw.follow("/live", heard))
        said = [await heard.get()]
        for one in news:
            house.take(one) if isinstance(one, Event) else one()
        while "signed-out" not in said[-1] and key(ANSEONG, "anseong") not in said[-1]:
            said.append(await asyncio.wait_for(heard.get(), 5))
        house.hub.close()
        assert await asyncio.wait_for(following, 5) == 200
        return said

    return asyncio.run(run())


def test_the_stream_tells_of_the_own_sites_studies_and_no_others(house: House, enter: Enter) -> None:
    news = (
        received(SUWON, minutes=2, batch=2),
        raised("2.25.9", "suwon", minutes=2),
        raised("2.25.10", "anseong", minutes=2),
        received(ANSEONG, "anseong", minutes=2, batch=2),
    )
    said = heard_live(house, enter("rad.anseong"), *news)
    assert [re.findall("event: (.*)\ndata: (.*)", one)[0] for one in said] == [
        ("open", ""),
        ("alert", key("2.25.10", "anseong")),
        ("change", key(ANSEONG, "anseong")),
    ]


def test_the_stream_ends_when_its_reader_is_moved_to_another_site(house: House, enter: Enter) -> None:
    def move() -> None:
        accounts = house.accounts.all()
        moved = accounts["rad.suwon"].model_copy(update={"grants": (grant(Role.RADIOLOGIST, "anseong"),)})
        house.accounts._write(accounts | {"rad.suwon": moved})

    said = heard_live(house, enter("rad.suwon"), move, received(SUWON, minutes=2, batch=2))
    assert said == ["retry: 3000\nevent: open\ndata: \n\n", "event: signed-out\ndata: \n\n"]


FAULTS: dict[str, dict[str, Any]] = {
    "no form": {},
    "no token": {"data": {"reason": "x"}},
    "an empty token": {"data": {"csrf": "", "reason": "x"}},
    "a token that does not fit": {"data": {"csrf": "0" * 64, "reason": "x"}},
    "a token that is no text": {"files": {"csrf": ("csrf", b"0" * 64)}},
    "a token in the address": {"params": {"csrf": "TOKEN"}},
    "a token as JSON": {"json": {"csrf": "TOKEN", "reason": "x"}},
    "a token as plain text": {"content": "csrf=TOKEN&reason=x", "headers": {"content-type": "text/plain"}},
    "from another site": {"data": {"csrf": "TOKEN", "reason": "x"}, "headers": {"origin": "https://evil.example"}},
    "from a page without an origin": {"data": {"csrf": "TOKEN", "reason": "x"}, "headers": {"origin": "null"}},
    "from another port": {"data": {"csrf": "TOKEN", "reason": "x"}, "headers": {"origin": "http://127.0.0.1:8081"}},
}


def with_token(value: Any, token: str) -> Any:
    if isinstance(value, dict):
        return {name: with_token(one, token) for name, one in value.items()}
    return value.replace("TOKEN", token) if isinstance(value, str) else value


def test_what_changes_something_is_asked_with_a_form(app: FastAPI) -> None:
    assert {one.method for one in operations(app)} == {"GET", "POST"}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_form_of_a_stranger_is_taken_anywhere(house: House, app: FastAPI, enter: Enter, fault: str) -> None:
    browser = enter("rad.suwon")
    sent = with_token(FAULTS[fault], browser.token("/worklist"))
    tried = 0
    for operation in operations(app):
        for address in addresses(operation, values_of(app.state.view)) if operation.method == "POST" else ():
            tried += 1
            answer = browser.post(address, **sent)
            assert answer.status_code in (400, 403), address
            assert "set-cookie" not in answer.headers, address
    assert tried >= 9
    assert house.said() == []
    assert browser.get("/worklist").status_code == 200, "signed out by a stranger"


def test_the_same_forms_are_taken_with_their_token(house: House, app: FastAPI, enter: Enter) -> None:
    """Else the test above would prove nothing."""
    for operation in operations(app):
        if operation.method == "POST":
            browser = enter("rad.suwon" if "dead-letters" not in operation.path else "op.suwon")
            form = {"csrf": form_token(browser), "reason": "x", "name": "rad.suwon", "password": PASSWORD}
            answer = browser.post(next(addresses(operation, values_of(app.state.view))), data=form)
            assert answer.status_code in (303, 409), operation.path


def test_what_is_only_asked_for_changes_nothing(house: House, app: FastAPI, enter: Enter) -> None:
    answers(app, enter("rad.suwon"), "GET")
    assert {event.TYPE for event in house.said()} == {"sinsok.StudyViewed.v1", "sinsok.AlertSeen.v1"}


POLICY = {
    "default-src": "'self'",
    "base-uri": "'none'",
    "object-src": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}


def assert_guarded(answer: Any, *, own_file: bool = False) -> None:
    said = answer.headers
    parts = (part.strip().partition(" ") for part in said["content-security-policy"].split(";"))
    assert {name: sources for name, _, sources in parts} == POLICY
    assert said["x-content-type-options"] == "nosniff"
    assert said["x-frame-options"] == "DENY"
    assert said["referrer-policy"] == "same-origin"
    assert said["cross-origin-resource-policy"] == "same-origin"
    assert said["cache-control"] == ("no-cache" if own_file else "no-store")
    if answer.content:
        assert said["content-type"]
    for cookie in said.get_list("set-cookie"):
        assert "httponly" in cookie.lower()
        assert re.search("samesite=(strict|lax)", cookie.lower())


@pytest.mark.parametrize("who", [None, "rad.suwon", "op.suwon"])
def test_browsers_are_told_the_same_at_every_address(house: House, app: FastAPI, enter: Enter, who: str | None) -> None:
    browser = enter(who)
    statuses = set()
    for operation in operations(app):
        for address in addresses(operation, values_of(app.state.view)):
            for method in (operation.method, "DELETE"):
                answer = browser.request(method, address)
                statuses.add(answer.status_code)
                assert_guarded(answer)
    assert {303, 403, 405} <= statuses
    assert_guarded(browser.get("/nowhere"))
    assert_guarded(browser.post("/preferences", content=b"x" * 70_000))
    assert_guarded(browser.post("/preferences", content=b"--x\r\n", headers={"content-type": "multipart/form-data"}))


def test_and_of_the_consoles_own_files(enter: Enter) -> None:
    browser = enter()
    first = browser.get("/static/console.js")
    again = browser.get("/static/console.js", headers={"if-none-match": first.headers["etag"]})
    absent = browser.get("/static/absent.js")
    assert [first.status_code, again.status_code, absent.status_code] == [200, 304, 404]
    for answer in (first, again, absent):
        assert_guarded(answer, own_file=True)


def test_and_where_something_breaks(app: FastAPI, enter: Enter) -> None:
    class Broken(Betraying):
        def picture(self, manifest: ObjectRef, index: int, window: Window) -> bytes:
            raise RuntimeError("SECRET-STUDY")

    browser = enter("rad.suwon")
    app.state.backstage = replace(app.state.backstage, pictures=Broken())
    browser._transport.raise_server_exceptions = False
    seen = values_of(app.state.view)
    answer = browser.get(f"/studies/suwon/{KEY}/series/{seen['images'][0]}/{seen['marks'][0]}/picture")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert_guarded(answer)


ELSEWHERE = (
    "..",
    "%2e%2e",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fsettings.py",
    "..%252f..%252fetc%252fpasswd",
    "..%5c..%5cwin.ini",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
    "%00",
    "7%00",
    "7%00.png",
    "suwon%00",
    "%c0%ae%c0%ae%c0%af",
    "%ff",
    "7;../../x",
    "7%0d%0aX-Injected:%20yes",
    "*",
    "~root",
    "x" * 5000,
)
"""For a part of an address, as it is sent."""


def test_no_part_of_an_address_leads_out_of_it(house: House, app: FastAPI, enter: Enter) -> None:
    raw = Raw(app, enter("rad.suwon"))
    usual = {name: values[0] for name, values in values_of(app.state.view).items()}
    parts = [(one.path, name) for one in operations(app) if one.method == "GET" for name in one.names("path")]
    assert len(parts) >= 19
    for (path, name), value in product(parts, ELSEWHERE):
        address = path.format(**usual | {name: value})
        assert raw.get(address)[0] == 404, address
    assert house.said() == []


def test_no_file_is_served_but_the_consoles_own(app: FastAPI) -> None:
    raw = Raw(app)
    for value in (*ELSEWHERE, "../settings.py", "../../../pyproject.toml"):
        for address in (f"/static/{value}", f"/static/x/../{value}", f"/static//{value}"):
            assert raw.get(address)[0] == 404, address
    assert raw.get("/static/console.css")[0] == 200
