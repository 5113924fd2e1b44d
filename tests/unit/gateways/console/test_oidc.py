"""Sign-on with an identity provider that says what it should, and with one that does not."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from gateways.console.oidc import NotSignedIn, Oidc
from gateways.console.settings import OidcSettings
from schemas.audit import Role
from tests.unit.gateways.console.house import SITES, Browser, house_in

ISSUER = "https://idp.example/realms/hospital"
CALLBACK = "http://127.0.0.1:8080/login/oidc/callback"
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

    def __call__(self, request: httpx.Request) -> httpx.Response:
        match request.url.path.rsplit("/", 1)[-1]:
            case "openid-configuration":
                places = {name: f"{ISSUER}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
                return httpx.Response(200, json={"issuer": self.issuer, **places})
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
    return Oidc(SETTINGS, CALLBACK, SITES, httpx.MockTransport(provider), lambda: NOW)


def signed_on(provider: Provider) -> Any:
    sign_on = oidc(provider)
    url, state = sign_on.begin("/worklist")
    provider.asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    return sign_on.finish(state, state, "the code")


def test_groups_of_the_provider_are_rights_at_sites() -> None:
    user, go_to = signed_on(Provider())
    assert (user.name, user.rights, go_to) == ("dr.kim", {"suwon": {Role.RADIOLOGIST}}, "/worklist")


def test_the_browser_is_sent_with_all_that_protects_the_way_back() -> None:
    url, state = oidc(Provider()).begin("/")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{ISSUER}/authorization_endpoint?")
    assert asked["state"] == state
    assert (asked["response_type"], asked["code_challenge_method"], asked["scope"]) == (
        "code",
        "S256",
        "openid profile",
    )
    assert len(asked["nonce"]) > 30
    assert "s3cret" not in url


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
        oidc(other).begin("/")
    with pytest.raises(NotSignedIn, match="cannot be asked"):
        oidc(lambda _: httpx.Response(503)).begin("/")


def test_the_way_back_is_gone_once_and_by_the_browser_that_left() -> None:
    provider = Provider()
    sign_on = oidc(provider)
    url, state = sign_on.begin("/")
    provider.asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    for cookie in ("", "of another browser"):
        with pytest.raises(NotSignedIn, match="no sign-on"):
            sign_on.finish(state, cookie, "code")
    sign_on.finish(state, state, "code")
    with pytest.raises(NotSignedIn, match="no sign-on"):
        sign_on.finish(state, state, "code")


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[tuple[Browser, Provider]]:
    provider = Provider()
    with house_in(tmp_path, oidc=oidc(provider)) as house, Browser(house.app()) as browser:
        yield browser, provider


def test_a_person_signs_on_through_the_pages(signed: tuple[Browser, Provider]) -> None:
    browser, provider = signed
    assert "/login/oidc?next=/worklist" in browser.get("/login?next=/worklist").text
    sent = browser.get("/login/oidc?next=/worklist")
    provider.asked = {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}
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
