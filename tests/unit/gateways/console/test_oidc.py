"""Sign-on with an identity provider that says what it should, and with one that does not."""

import asyncio
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from gateways.console.oidc import NotSignedIn, Oidc, SignedOn
from gateways.console.settings import ConsoleSettings, OidcSettings
from schemas.audit import Role
from tests.unit.gateways.console.house import PASSWORD, SITES, Browser, House, house_in

ISSUER = "https://idp.example/realms/hospital"
BASE = "http://127.0.0.1:8080"
CALLBACK = f"{BASE}/login/oidc/callback"
NOW = 1_800_000_000
KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
STRANGER = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
SETTINGS = OidcSettings.model_validate(
    {
        "issuer": ISSUER,
        "client_id": "sinsok",
        "client_secret": "s3cret",
        "groups": {
            "rad": {"roles": ["radiologist"], "sites": ["suwon"]},
            "ops": {"roles": ["operator"], "sites": ["*"]},
        },
    }
)


class Provider:
    """Answers as the standard has it; ``changes`` change what the token says."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes
        self.key = KEY
        self.issuer = ISSUER
        self.asked: dict[str, str] = {}
        self.places: dict[str, Any] = {
            name: f"{ISSUER}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
        }
        self.discoveries = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        match request.url.path.rsplit("/", 1)[-1]:
            case "openid-configuration":
                self.discoveries += 1
                return httpx.Response(200, json={"issuer": self.issuer, **self.places})
            case "jwks_uri":
                return httpx.Response(200, json=KeySet([KEY]).as_dict(private=False))
            case _:
                return self._token(request)

    def _token(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl(request.content.decode()))
        assert request.headers["authorization"].startswith("Basic ")
        challenge = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        assert challenge == self.asked["code_challenge"]
        assert form["redirect_uri"] == CALLBACK
        claims = {
            "iss": ISSUER,
            "aud": "sinsok",
            "sub": "1",
            "exp": NOW + 60,
            "iat": NOW,
            "nonce": self.asked["nonce"],
            "preferred_username": "dr.kim",
            "groups": ["rad", "unknown"],
        }
        said = {name: value for name, value in (claims | self.changes).items() if value is not None}
        return httpx.Response(200, json={"id_token": jwt.encode({"alg": "RS256", "kid": "one"}, said, self.key)})


def oidc(provider: Provider | Callable[[httpx.Request], httpx.Response]) -> Oidc:
    return Oidc(SETTINGS, BASE, SITES, httpx.MockTransport(provider), lambda: NOW)


def asked(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def signed_on(provider: Provider) -> SignedOn:
    async def run() -> SignedOn:
        sign_on = oidc(provider)
        url, cookie = await sign_on.begin("/worklist")
        provider.asked = asked(url)
        return await sign_on.finish(provider.asked["state"], cookie, "the code")

    return asyncio.run(run())


@pytest.mark.parametrize("groups", [["rad", "unknown"], "rad"])
def test_groups_of_the_provider_are_rights_at_sites(groups: object) -> None:
    user, go_to, _ = signed_on(Provider(groups=groups))
    assert (user.name, user.rights, go_to) == ("dr.kim", {"suwon": {Role.RADIOLOGIST}}, "/worklist")


def test_a_token_for_several_is_for_us_where_it_says_so() -> None:
    assert signed_on(Provider(aud=["sinsok", "another"], azp="sinsok")).user.name == "dr.kim"


def test_the_browser_is_sent_with_all_that_protects_the_way_back() -> None:
    url, cookie = asyncio.run(oidc(Provider()).begin("/"))
    said = asked(url)
    assert url.startswith(f"{ISSUER}/authorization_endpoint?")
    assert len(said["state"]) > 30
    assert "prompt" not in said
    assert (said["response_type"], said["code_challenge_method"], said["scope"]) == (
        "code",
        "S256",
        "openid profile",
    )
    assert len(said["nonce"]) > 30
    assert "s3cret" not in url + cookie


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"aud": None},
        {"nonce": "of another sign-on"},
        {"nonce": None},
        {"exp": NOW - 3600},
        {"exp": None},
        {"sub": None},
        {"preferred_username": None},
        {"preferred_username": "Kim <script>"},
        {"groups": ["unknown"]},
        {"groups": None},
        {"groups": [{"rad": True}, ["rad"]]},
        {"groups": {"rad": True}},
        {"groups": 7},
        {"aud": ["sinsok", "another client"]},
        {"aud": ["sinsok", "another client"], "azp": "another client"},
        {"azp": "another client"},
    ],
    ids=json.dumps,
)
def test_a_token_that_does_not_hold_lets_nobody_in(changes: dict[str, Any]) -> None:
    with pytest.raises(NotSignedIn):
        signed_on(Provider(**changes))


def test_a_token_that_somebody_else_signed_lets_nobody_in() -> None:
    provider = Provider()
    provider.key = STRANGER
    with pytest.raises(NotSignedIn, match="does not hold"):
        signed_on(provider)


def test_a_provider_that_is_another_or_away_lets_nobody_in() -> None:
    other = Provider()
    other.issuer = "https://evil.example"
    with pytest.raises(NotSignedIn, match="is not"):
        asyncio.run(oidc(other).begin("/"))
    with pytest.raises(NotSignedIn, match="cannot be asked"):
        asyncio.run(oidc(lambda _: httpx.Response(503)).begin("/"))


@pytest.mark.parametrize("place", ["authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint"])
@pytest.mark.parametrize("address", ["http://idp.example/there", "ftp://idp.example", 7, {}])
def test_a_provider_is_asked_through_tls_only(place: str, address: object) -> None:
    provider = Provider()
    provider.places[place] = address
    with pytest.raises(NotSignedIn, match=place):
        asyncio.run(oidc(provider).begin("/"))
    provider.places[place] = "http://127.0.0.1:9000/there"
    asyncio.run(oidc(provider).begin("/"))


def test_a_discovery_document_that_is_none_lets_nobody_in() -> None:
    for said in ([], "x", {"issuer": ISSUER}):
        answer = httpx.Response(200, json=said)
        with pytest.raises(NotSignedIn, match="does not hold"):
            asyncio.run(oidc(lambda _, answer=answer: answer).begin("/"))  # type: ignore[misc]


def test_the_issuer_is_asked_through_tls_only() -> None:
    said = SETTINGS.model_dump() | {"issuer": "http://idp.example"}
    with pytest.raises(ValueError, match="through TLS only"):
        OidcSettings.model_validate(said)
    OidcSettings.model_validate(said | {"issuer": "http://localhost:9000"})


def test_the_way_back_is_gone_by_the_browser_that_left() -> None:
    provider = Provider()
    clock = [float(NOW)]
    sign_on = Oidc(SETTINGS, BASE, SITES, httpx.MockTransport(provider), lambda: clock[0])

    async def run() -> None:
        url, cookie = await sign_on.begin("/")
        _, of_another = await sign_on.begin("/")
        provider.asked = asked(url)
        state = provider.asked["state"]
        forged = cookie[:4] + ("A" if cookie[4] != "A" else "B") + cookie[5:]
        for held in ("", "x", ".", of_another, forged, cookie + "0", "\u00e9.\u00e9"):
            with pytest.raises(NotSignedIn, match="no sign-on"):
                await sign_on.finish(state, held, "code")
        for said in ("", "x", "\u00e9\u0436"):
            with pytest.raises(NotSignedIn, match="no sign-on"):
                await sign_on.finish(said, cookie, "code")
        clock[0] += 601
        with pytest.raises(NotSignedIn, match="no sign-on"):
            await sign_on.finish(state, cookie, "code")
        clock[0] -= 601
        assert (await sign_on.finish(state, cookie, "code")).user.name == "dr.kim"

    asyncio.run(run())


def test_strangers_push_nobody_out_and_the_provider_is_described_once() -> None:
    provider = Provider()
    sign_on = oidc(provider)

    async def run() -> None:
        url, cookie = await sign_on.begin("/")
        for _ in range(1100):
            await sign_on.begin("/")
        provider.asked = asked(url)
        assert (await sign_on.finish(provider.asked["state"], cookie, "code")).user.name == "dr.kim"

    asyncio.run(run())
    assert provider.discoveries == 1


def test_a_slow_provider_holds_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.console.oidc.ANSWER_S", 60.0)
    hangs = asyncio.Event()

    async def never(_: httpx.Request) -> httpx.Response:
        await hangs.wait()
        raise httpx.ConnectError("gone")

    async def run(app: FastAPI) -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            waiting = [asyncio.ensure_future(client.get("/login/oidc")) for _ in range(100)]
            await asyncio.sleep(0.1)
            assert (await client.get("/login")).status_code == 200
            assert not any(one.done() for one in waiting)
            hangs.set()
            assert {one.status_code for one in await asyncio.gather(*waiting)} == {403}

    slow = Oidc(SETTINGS, BASE, SITES, httpx.MockTransport(never), lambda: NOW)
    with house_in(tmp_path, oidc=slow) as house:
        asyncio.run(run(house.app()))


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[tuple[Browser, Provider]]:
    provider = Provider()
    with house_in(tmp_path, oidc=oidc(provider)) as house, Browser(house.app()) as browser:
        yield browser, provider


def test_a_person_signs_on_through_the_pages(signed: tuple[Browser, Provider]) -> None:
    browser, provider = signed
    assert "/login/oidc?next=/worklist" in browser.get("/login?next=/worklist").text
    sent = browser.get("/login/oidc?next=/worklist")
    provider.asked = asked(sent.headers["location"])
    assert "SameSite=lax" in sent.headers["set-cookie"]
    back = browser.get(f"/login/oidc/callback?state={provider.asked['state']}&code=x")
    assert back.status_code == 200
    assert 'content="0;url=/worklist"' in back.text
    page = browser.get("/worklist")
    assert page.status_code == 200
    assert "dr.kim" in page.text
    again = browser.get(f"/login/oidc/callback?state={provider.asked['state']}&code=x")
    assert again.status_code == 403


def test_without_a_provider_there_is_no_such_way(tmp_path: Path) -> None:
    with house_in(tmp_path) as house, Browser(house.app()) as browser:
        assert browser.get("/login/oidc").status_code == 404
        assert browser.get("/login/oidc/callback?state=a&code=b").status_code == 404


def sign_on(browser: Browser, provider: Provider) -> httpx.Response:
    provider.asked = asked(browser.get("/login/oidc").headers["location"])
    return browser.get(f"/login/oidc/callback?state={provider.asked['state']}&code=x")


@pytest.mark.parametrize("query", ["state=%C3%A9&code=x", "state=%00&code=x", "code=x", "state=a&code=%FF"])
def test_what_strangers_send_back_is_refused(signed: tuple[Browser, Provider], query: str) -> None:
    browser, _ = signed
    browser.get("/login/oidc")
    assert browser.get(f"/login/oidc/callback?{query}").status_code == 403


def test_signing_out_ends_the_session_at_the_provider_too(signed: tuple[Browser, Provider]) -> None:
    browser, provider = signed
    provider.places["end_session_endpoint"] = f"{ISSUER}/logout"
    sign_on(browser, provider)
    answer = browser.post("/logout", data={"csrf": browser.token("/worklist")})
    # A redirect of a form would be stopped by form-action 'self'.
    assert answer.status_code == 200
    found = re.search(r'content="0;url=([^"]+)"', answer.text)
    assert found is not None
    there = found[1].replace("&amp;", "&")
    assert there.startswith(f"{ISSUER}/logout?")
    said = asked(there)
    assert (said["client_id"], said["post_logout_redirect_uri"]) == ("sinsok", f"{BASE}/login")
    assert said["id_token_hint"].count(".") == 2
    assert browser.get("/worklist").status_code == 303


@pytest.mark.parametrize("away", [False, True])
def test_where_the_provider_cannot_sign_out_it_asks_for_the_password_next_time(
    signed: tuple[Browser, Provider], monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    browser, provider = signed
    sign_on(browser, provider)
    if away:
        monkeypatch.setattr(Oidc, "_provider", _is_away)
    answer = browser.post("/logout", data={"csrf": browser.token("/worklist")})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    monkeypatch.undo()
    assert asked(browser.get("/login/oidc").headers["location"])["prompt"] == "login"
    sign_on(browser, provider)
    assert "prompt" not in asked(browser.get("/login/oidc").headers["location"])


async def _is_away(*_: object) -> NoReturn:
    raise NotSignedIn("the provider cannot be asked")


def hospital(folder: Path, people: Path, **settings: bool) -> AbstractContextManager[House]:
    """A console of a hospital with accounts of its own, that may have local ones as well."""
    (folder / "accounts.json").write_bytes(people.read_bytes())
    return house_in(folder, oidc=oidc(Provider()), settings=ConsoleSettings(oidc=SETTINGS, **settings))


def test_beside_the_hospitals_accounts_no_password_is_taken(tmp_path: Path, people: Path) -> None:
    with hospital(tmp_path, people) as house, Browser(house.app()) as browser:
        page = browser.get("/login").text
        assert "/login/oidc" in page
        assert 'name="password"' not in page
        form = {"csrf": browser.token("/login"), "name": "rad.suwon", "password": PASSWORD}
        assert browser.post("/login", data=form).status_code == 404
    with hospital(tmp_path, people, local_accounts=True) as house, Browser(house.app()) as browser:
        assert browser.sign_in("rad.suwon").status_code == 303


@pytest.mark.parametrize("name", ["rad.suwon", "Rad.Suwon"])
def test_two_people_of_one_name_do_not_both_come_in(tmp_path: Path, people: Path, name: str) -> None:
    provider = Provider(preferred_username=name)
    with hospital(tmp_path, people, local_accounts=True) as house:
        house.oidc = oidc(provider)
        with Browser(house.app()) as browser:
            answer = sign_on(browser, provider)
            assert answer.status_code == 403
            assert "Your name is also that of an account here" in answer.text
    with hospital(tmp_path, people) as house:
        house.oidc = oidc(provider)
        with Browser(house.app()) as browser:
            assert sign_on(browser, provider).status_code == 200, "nobody else can be meant"
