"""A session is of one login in one browser: nobody can lay one ready for somebody else, or use one that has ended."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.gateways.console.house import (
    PASSWORD,
    Browser,
    Enter,
    House,
    alert_id,
    house_in,
    paged,
    raised,
    received,
)
from tests.unit.gateways.console.test_oidc import Provider, oidc

COOKIE = "sinsok"
ALERT = f"/alerts/{alert_id('2.25.1')}"


@pytest.fixture
def house(house: House) -> House:
    house.take(received(), raised(), paged())
    return house


def session(browser: Browser) -> str:
    return str(dict(browser.cookies)[COOKIE])


def opens(browser: Browser, token: str) -> bool:
    """Whether a session cookie lets somebody in, in a browser that has no other."""
    browser.cookies.clear()
    browser.cookies.set(COOKIE, token)
    return bool(browser.get("/worklist").status_code == 200)


def test_who_signs_in_where_somebody_is_signed_in_ends_that_session(enter: Enter) -> None:
    browser = enter("rad.suwon")
    before = session(browser)
    assert opens(enter(), before)
    form = {"csrf": browser.token("/worklist"), "name": "rad.anseong", "password": PASSWORD}
    assert browser.post("/login", data=form).status_code == 303
    after = session(browser)
    assert not opens(enter(), before)
    assert opens(enter(), after)


def test_the_same_person_gets_another_session_each_time(enter: Enter) -> None:
    sessions = {session(enter("rad.suwon")) for _ in range(5)}
    assert len(sessions) == 5
    assert min(map(len, sessions)) >= 43, "256 bits"


def test_signing_out_ends_one_session_and_tells_the_browser_to_forget_it(enter: Enter) -> None:
    here, elsewhere = enter("rad.suwon"), enter("rad.suwon")
    answer = here.post("/logout", data={"csrf": here.token("/worklist")})
    (said,) = answer.headers.get_list("set-cookie")
    assert said.startswith(f'{COOKIE}=""')
    assert "Max-Age=0" in said
    assert answer.headers["clear-site-data"] == '"cache"'
    assert COOKIE not in here.cookies
    assert elsewhere.get("/worklist").status_code == 200


def test_nothing_is_done_with_a_session_that_has_ended(house: House, enter: Enter) -> None:
    browser = enter("rad.suwon")
    held, token = session(browser), browser.token(ALERT)
    said = len(house.said())
    browser.post("/logout", data={"csrf": browser.token("/worklist")})
    thief = enter()
    thief.cookies.set(COOKIE, held)
    answer = thief.post(f"{ALERT}/acknowledge", data={"csrf": token})
    assert answer.headers["location"].startswith("/login?")
    assert len(house.said()) == said


def test_a_token_for_forms_ends_with_what_it_was_made_for(enter: Enter) -> None:
    browser = enter()
    of_the_login_page = browser.token("/login")
    browser.sign_in("rad.suwon")
    assert browser.post("/preferences", data={"csrf": of_the_login_page}).status_code == 403
    of_the_first = browser.token("/worklist")
    browser.post("/login", data={"csrf": of_the_first, "name": "rad.suwon", "password": PASSWORD})
    assert browser.post("/preferences", data={"csrf": of_the_first}).status_code == 403
    assert browser.post("/preferences", data={"csrf": browser.token("/worklist")}).status_code == 303


@pytest.mark.parametrize("where", ["query", "bearer", "other cookie"])
def test_a_session_comes_in_its_cookie_and_no_other_way(enter: Enter, where: str) -> None:
    held, stranger = session(enter("rad.suwon")), enter()
    match where:
        case "query":
            answer = stranger.get(f"/worklist?{COOKIE}={held}&session={held}")
        case "bearer":
            answer = stranger.get("/worklist", headers={"authorization": f"Bearer {held}", "x-session": held})
        case _:
            answer = stranger.get("/worklist", headers={"cookie": f"sinsok-form={held}; __Host-{COOKIE}={held}"})
    assert answer.status_code == 303


@pytest.fixture
def hospital(tmp_path: Path, people: Path) -> Iterator[tuple[Browser, Provider]]:
    """A console with an identity provider."""
    (tmp_path / "accounts.json").write_bytes(people.read_bytes())
    provider = Provider()
    with house_in(tmp_path, oidc=oidc(provider)) as house, Browser(house.app()) as browser:
        yield browser, provider


def signed_on(browser: Browser, provider: Provider) -> None:
    sent = browser.get("/login/oidc")
    provider.asked = {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    assert browser.get(f"/login/oidc/callback?state={provider.asked['state']}&code=x").status_code == 200


def test_a_sign_on_begins_a_session_of_its_own_too(hospital: tuple[Browser, Provider]) -> None:
    browser, provider = hospital
    browser.cookies.set(COOKIE, "planted", domain="127.0.0.1")
    signed_on(browser, provider)
    first = session(browser)
    assert first != "planted"
    signed_on(browser, provider)
    second = session(browser)
    assert not opens(browser, "planted")
    assert not opens(browser, first)
    assert opens(browser, second)


@pytest.mark.parametrize(
    ("state", "cookie"),
    [("%C3%A9", "x"), ("x", "\u00e9"), ("%C3%A9", "\u00e9"), ("", ""), ("%00", "%00"), ("%FF%FE", "\u00ff\u00fe")],
)
def test_a_sign_on_that_nobody_began_lets_nobody_in(
    hospital: tuple[Browser, Provider], state: str, cookie: str
) -> None:
    browser, _ = hospital
    sent = {"cookie": f"sinsok-state={cookie}".encode()}
    answer = browser.get(f"/login/oidc/callback?state={state}&code=x", headers=sent)
    assert answer.status_code == 403
    assert not [line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{COOKIE}=")]
