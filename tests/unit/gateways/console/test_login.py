"""Signing in, sessions, forms of strangers, and what browsers are told."""

from pathlib import Path

import pytest
from fastapi import FastAPI

from gateways.console.access import OPEN
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


@pytest.mark.parametrize("path", ["/login", "/worklist", "/nowhere", "/healthz", "/static/console.css"])
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


def test_probes_are_answered_to_everybody(house: House, enter: Enter) -> None:
    stranger = enter()
    assert (stranger.get("/healthz").status_code, stranger.get("/readyz").status_code) == (200, 200)
    house.complaints.append("Kafka has not answered")
    assert stranger.get("/healthz").status_code == 200
    assert (stranger.get("/readyz").status_code, stranger.get("/readyz").text) == (503, "Kafka has not answered\n")
    assert "/healthz" in OPEN


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
