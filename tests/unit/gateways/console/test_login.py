"""Signing in, sessions, forms of strangers, and what browsers are told."""

import re
import sqlite3
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from fastapi import FastAPI

from gateways.console.sessions import Sessions
from gateways.console.settings import ConsoleSettings
from gateways.console.throttle import BOTH
from tests.unit.gateways.console.house import PASSWORD, Browser, Enter, House, alert_id, key, paged, raised, received

COOKIE = "sinsok"


@pytest.fixture
def house(house: House) -> House:
    house.take(received(), raised(), paged())
    return house


def test_signing_in_leads_to_where_one_wanted_to_go(enter: Enter) -> None:
    browser = enter()
    wanted = f"/alerts/{alert_id('2.25.1')}"
    sent = browser.get(wanted)
    assert (sent.status_code, sent.headers["location"]) == (303, f"/login?next={wanted}")
    answer = browser.sign_in("rad.suwon", go_to=wanted)
    assert (answer.status_code, answer.headers["location"]) == (303, wanted)
    assert browser.get(wanted).status_code == 200
    assert browser.get("/login").status_code == 303


@pytest.mark.parametrize("go_to", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:1", ""])
def test_it_leads_nowhere_else(enter: Enter, go_to: str) -> None:
    assert enter().sign_in("rad.suwon", go_to=go_to).headers["location"] == "/"


@pytest.mark.parametrize(("name", "password"), [("rad.suwon", "wrong"), ("nobody", PASSWORD), ("", "")])
def test_a_wrong_name_and_a_wrong_password_are_told_alike(enter: Enter, name: str, password: str) -> None:
    browser = enter()
    answer = browser.sign_in(name, password)
    assert answer.status_code == 403
    assert "Name or password is wrong." in answer.text
    assert browser.get("/worklist").status_code == 303


def test_the_session_is_a_new_one_at_each_login(app: FastAPI, enter: Enter) -> None:
    """A cookie that a stranger put into the browser before (session fixation) opens nothing afterwards."""
    browser = Browser(app)
    browser.cookies.set(COOKIE, "planted", domain="127.0.0.1")
    browser.sign_in("rad.suwon")
    first = dict(browser.cookies)[COOKIE]
    assert first != "planted"
    stranger = enter()
    stranger.cookies.set(COOKIE, "planted")
    assert stranger.get("/worklist").status_code == 303


def test_signing_out_ends_the_session_for_whoever_has_its_cookie(enter: Enter) -> None:
    browser = enter("rad.suwon")
    held = dict(browser.cookies)[COOKIE]
    answer = browser.post("/logout", data={"csrf": browser.token("/worklist")})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    thief = enter()
    thief.cookies.set(COOKIE, held)
    assert thief.get("/worklist").status_code == 303


def test_a_session_ends_unused_and_at_last_in_any_case(house: House, enter: Enter) -> None:
    browser = enter("rad.suwon")
    for _ in range(2):
        house.seconds += 3000
        assert browser.get("/worklist").status_code == 200
    house.seconds += 3601
    assert browser.get("/worklist").status_code == 303

    used = enter("rad.suwon")
    for _ in range(14):
        house.seconds += 3000
        assert used.get("/worklist").status_code == 200
    house.seconds += 3000
    assert used.get("/worklist").status_code == 303


def test_what_a_page_asks_by_itself_keeps_no_session(house: House, enter: Enter) -> None:
    browser = enter("rad.suwon")
    house.seconds += 3000
    for path in ("/worklist/rows", f"/studies/suwon/{key()}/state"):
        assert browser.get(path).status_code == 200
    house.seconds += 1000
    assert browser.get("/worklist").status_code == 303


def test_cookies_are_kept_from_scripts_and_other_sites(enter: Enter) -> None:
    said = enter().sign_in("rad.suwon").headers.get_list("set-cookie")
    session = next(line for line in said if line.startswith(f"{COOKIE}="))
    assert "HttpOnly" in session
    assert "SameSite=strict" in session
    assert "Secure" not in session, "the console is bound to this machine"


def test_beyond_this_machine_cookies_go_through_tls_only(tmp_path: Path, people: Path) -> None:
    (tmp_path / "accounts.json").write_bytes(people.read_bytes())
    house = House(tmp_path, settings=ConsoleSettings(host="0.0.0.0", base_url="https://sinsok.example"))
    with Browser(house.app()) as browser:
        browser.base_url = "https://sinsok.example"
        browser.headers["origin"] = "https://sinsok.example"
        answer = browser.sign_in("rad.suwon")
        (session,) = [line for line in answer.headers.get_list("set-cookie") if line.startswith("__Host-sinsok=")]
        assert "Secure" in session
        assert "Path=/" in session
        assert "Domain" not in session
        assert answer.headers["strict-transport-security"]
    house.close()


def test_plain_http_beyond_this_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="TLS"):
        ConsoleSettings(host="0.0.0.0", base_url="http://sinsok.example")


def test_too_many_failures_are_not_looked_at_any_more(house: House, enter: Enter) -> None:
    browser = enter()
    assert [browser.sign_in("rad.suwon", "wrong").status_code for _ in range(BOTH)] == [403] * BOTH
    refused = browser.sign_in("rad.suwon")
    assert refused.status_code == 429
    assert "quarter of an hour" in refused.text
    assert browser.sign_in("rad.anseong").status_code == 303, "another account is not locked out with it"
    house.seconds += 901
    assert enter().sign_in("rad.suwon").status_code == 303


def test_one_address_cannot_try_many_accounts(enter: Enter) -> None:
    browser = enter()
    answers = [browser.sign_in(f"user{number}", "wrong").status_code for number in range(40)]
    assert answers.count(403) == 30
    assert answers[30:] == [429] * 10


FORMS = ("/login", "/logout", "/preferences", "/alerts/{alert_id}/acknowledge", "/alerts/{alert_id}/dismiss")


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("fault", ["no token", "another's token", "from elsewhere", "from nowhere"])
def test_forms_of_strangers_are_refused(house: House, enter: Enter, path: str, fault: str) -> None:
    browser, other = enter("rad.suwon"), enter("rad.anseong")
    token = browser.token("/worklist")
    form = {"csrf": {"no token": "", "another's token": other.token("/worklist")}.get(fault, token), "reason": "x"}
    origin = {"from elsewhere": "https://evil.example", "from nowhere": "null"}.get(fault, "http://127.0.0.1:8080")
    address = path.format(alert_id=alert_id("2.25.1"))
    answer = browser.post(address, data=form, headers={"origin": origin})
    assert answer.status_code == 403
    assert house.said() == []
    assert browser.get("/worklist").status_code == 200


def test_a_huge_form_is_refused(enter: Enter) -> None:
    browser = enter("rad.suwon")
    assert browser.post("/preferences", content=b"x" * 70_000).status_code == 413


@pytest.mark.parametrize("path", ["/login", "/worklist", "/nowhere", "/static/console.css"])
def test_every_answer_says_what_browsers_may_do(enter: Enter, path: str) -> None:
    headers = enter("rad.suwon").get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")


@pytest.mark.parametrize("path", ["/login", "/worklist", f"/studies/suwon/{key()}"])
def test_pages_need_no_exception_from_the_policy(enter: Enter, path: str) -> None:
    page = (enter() if path == "/login" else enter("rad.suwon")).get(path).text
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert page.count("<script") == page.count('<script type="module" src="/static/') > 0


def test_a_link_in_a_mail_asks_again_with_the_cookie_it_could_not_bring(enter: Enter) -> None:
    path = f"/alerts/{alert_id('2.25.1')}"
    page = enter().get(path, headers={"sec-fetch-site": "cross-site"})
    assert page.status_code == 200
    assert f'content="0;url={path}"' in page.text
    assert enter().get(path, headers={"sec-fetch-site": "same-origin"}).status_code == 303


ALERT = f"/alerts/{alert_id('2.25.1')}"


@pytest.mark.parametrize(("language", "said"), [("en", "NOT done"), ("ko", "처리되지 않았습니다")])
def test_what_is_asked_after_the_end_of_a_session_is_not_done_and_told_so(
    house: House, enter: Enter, language: str, said: str
) -> None:
    browser = enter("rad.suwon")
    browser.headers["accept-language"] = language
    form = {"csrf": browser.token(ALERT), "reason": "calcification"}
    before = len(house.said())
    house.seconds += 3601
    answer = browser.post(f"{ALERT}/dismiss", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={ALERT}&why=not-done")
    assert said in browser.get(answer.headers["location"]).text
    assert len(house.said()) == before
    assert browser.sign_in("rad.suwon", go_to=ALERT).headers["location"] == ALERT


def test_a_form_of_another_session_is_not_done_and_leads_back(house: House, enter: Enter) -> None:
    browser = enter("rad.suwon")
    stale = browser.token(ALERT)
    browser.post("/logout", data={"csrf": stale})
    browser.sign_in("rad.suwon")
    answer = browser.post(f"{ALERT}/acknowledge", data={"csrf": stale})
    assert answer.status_code == 403
    assert "NOT done: the page it was sent from is too old." in answer.text
    assert f'href="{ALERT}"' in answer.text


def test_the_login_page_says_why_one_is_there(house: House, enter: Enter) -> None:
    browser = enter("rad.suwon")
    house.seconds += 3601
    sent = browser.get("/worklist").headers["location"]
    assert sent == "/login?next=/worklist&why=ended"
    assert "Your session has ended" in browser.get(sent).text
    assert "ended" not in browser.get("/login?next=/worklist&why=<b>ended</b>").text.split("<main")[1]


def left(page: str) -> int:
    """In how many seconds the session ends, as pages say it to console.js."""
    found = re.search(r'data-left="(\d+)"', page)
    assert found is not None
    return int(found[1])


def test_pages_know_when_their_session_ends_and_it_can_be_kept(house: House, enter: Enter) -> None:
    browser = enter("rad.suwon")
    csrf = browser.token("/worklist")
    assert left(browser.get("/worklist").text) == 3600
    house.seconds += 3400
    assert left(browser.get("/worklist/rows").text) == 200
    form = {"csrf": csrf, "next": "/worklist?show=all"}
    answer = browser.post("/stay", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/worklist?show=all")
    assert left(browser.get("/worklist/rows").text) == 3600
    assert "data-at-last" not in browser.get("/worklist/rows").text


def test_pages_know_when_it_ends_in_any_case(house: House, enter: Enter) -> None:
    browser = enter("rad.suwon")
    for _ in range(13):
        house.seconds += 3300
        assert browser.get("/worklist").status_code == 200
    page = browser.get("/worklist/rows").text
    assert left(page) == 12 * 3600 - 13 * 3300
    assert "data-at-last" in page


def sessions_in(folder: Path, clock: list[float], rules: str = "as they are") -> Sessions:
    sessions = Sessions(3600, 12 * 3600, lambda: clock[0])
    sessions.keep(folder / "sessions.sqlite", rules)
    return sessions


def test_a_restart_signs_nobody_out(house: House, tmp_path: Path) -> None:
    clock = [1000.0]
    user = house.accounts.user("rad.suwon")
    assert user is not None
    sessions = sessions_in(tmp_path, clock)
    stays, leaves, falls_idle = (sessions.begin(user, local=True, id_token="of the provider") for _ in range(3))
    sessions.end(leaves)
    clock[0] += 3000
    assert sessions.find(stays, use=True) is not None
    # It crashes: nothing is closed.
    clock[0] += 1000
    again = sessions_in(tmp_path, clock)
    found = again.find(stays, use=False)
    assert found is not None
    assert (found.user, found.local, found.id_token) == (user, True, "")
    assert again.find(leaves, use=False) is None
    assert again.find(falls_idle, use=False) is None
    place = tmp_path / "sessions.sqlite"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    written = b"".join(file.read_bytes() for file in tmp_path.glob("sessions.sqlite*"))
    assert stays.encode() not in written
    assert b"of the provider" not in written


def test_other_rules_sign_everybody_out(house: House, tmp_path: Path) -> None:
    user = house.accounts.user("rad.suwon")
    assert user is not None
    token = sessions_in(tmp_path, [0.0]).begin(user, local=False)
    assert sessions_in(tmp_path, [0.0], "a group fewer").find(token, use=False) is None
    assert sessions_in(tmp_path, [0.0]).find(token, use=False) is None


def test_who_signed_out_while_the_disk_was_full_stays_out(house: House, tmp_path: Path) -> None:
    user = house.accounts.user("rad.suwon")
    assert user is not None
    sessions = sessions_in(tmp_path, [0.0])
    token, other = sessions.begin(user, local=True), sessions.begin(user, local=True)
    assert sessions._file is not None
    sessions._file.execute("PRAGMA query_only = ON")
    sessions.end(token)
    assert sessions.find(other, use=True) is not None, "who is there stays signed in"
    assert sessions_in(tmp_path, [0.0]).find(token, use=False) is None


@pytest.mark.parametrize(("language", "said"), [("en", "NOT done"), ("ko", "처리되지 않았습니다")])
def test_what_cannot_be_stored_is_told_to_be_not_done(
    house: House, enter: Enter, monkeypatch: pytest.MonkeyPatch, language: str, said: str
) -> None:
    browser = enter("rad.suwon")
    form = {"csrf": browser.token(ALERT)}

    @contextmanager
    def full() -> NoReturn:  # type: ignore[misc]
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(house.outbox, "transaction", full)
    answer = browser.post(f"{ALERT}/acknowledge", data=form, headers={"accept-language": language})
    assert answer.status_code == 503
    assert said in answer.text
    assert f'href="{ALERT}"' in answer.text
    assert answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    house.minutes += 5
    looked = browser.get(ALERT, headers={"accept-language": language})
    assert (looked.status_code, said in looked.text) == (503, False)


def test_plain_refusals_speak_the_persons_language(enter: Enter) -> None:
    plain = {"accept": "*/*", "accept-language": "ko"}
    assert enter().get("/worklist", headers=plain).text == "먼저 로그인하십시오\n"
    assert enter("rad.suwon").get("/nowhere", headers=plain).text == "볼 수 있는 내용이 없습니다.\n"
    assert enter("rad.suwon").delete("/worklist", headers=plain).text == "할 수 없는 작업입니다.\n"


def test_languages_and_colours(enter: Enter) -> None:
    browser = enter("rad.suwon")
    assert '<html lang="en" data-theme="system">' in browser.get("/worklist").text
    assert '<html lang="ko"' in browser.get("/worklist", headers={"accept-language": "ko-KR,ko;q=0.9"}).text
    for choice in ({"language": "ko"}, {"theme": "light"}):
        form = {"csrf": browser.token("/worklist"), "next": "/worklist?show=all", **choice}
        assert browser.post("/preferences", data=form).headers["location"] == "/worklist?show=all"
    page = browser.get("/worklist").text
    assert '<html lang="ko" data-theme="light">' in page
    assert "대기" in page
