"""Sign-on with a hospital's identity provider: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636).

The provider says who somebody is and which groups they are in; the configuration says what a group may do where.
"""

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection
from hashlib import sha256
from threading import Lock
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus, urlencode

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import TypeAdapter, ValidationError

from gateways.console.accounts import User, rights
from gateways.console.settings import OidcSettings
from schemas.paging import Name

ANSWER_S: Final = 10.0
_WAIT_S: Final = 600.0
_WAITING: Final = 1000
_LEEWAY_S: Final = 60
_ALGORITHMS: Final = ["RS256", "ES256", "PS256"]
_NAME: Final = TypeAdapter(Name)


class NotSignedIn(Exception):
    """The provider is away, or what it says does not let the person in; the text is for the log."""


class _Begun(NamedTuple):
    """A sign-on under way."""

    at: float
    nonce: str
    verifier: str
    go_to: str


class Oidc:
    """The provider. ``sites`` are those of the configuration; ``transport`` replaces the network in tests."""

    def __init__(
        self,
        settings: OidcSettings,
        redirect_uri: str,
        sites: Collection[str],
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._sites = sites
        self._transport = transport
        self._clock = clock
        self._lock = Lock()
        self._begun: dict[str, _Begun] = {}

    def begin(self, go_to: str) -> tuple[str, str]:
        """Where to send the browser, and the state that its cookie has to keep. Raises :class:`NotSignedIn`."""
        state, begun = (
            secrets.token_urlsafe(32),
            _Begun(self._clock(), secrets.token_urlsafe(32), secrets.token_urlsafe(64), go_to),
        )
        with self._client() as client:
            endpoint = self._discover(client)["authorization_endpoint"]
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": state,
            "nonce": begun.nonce,
            "code_challenge": urlsafe_b64encode(sha256(begun.verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        with self._lock:
            waiting = {key: one for key, one in self._begun.items() if begun.at - one.at < _WAIT_S}
            self._begun = dict(list(waiting.items())[-_WAITING:]) | {state: begun}
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}", state

    def finish(self, state: str, cookie: str, code: str) -> tuple[User, str]:
        """The person whom the provider has sent back, and where they wanted to go. Raises :class:`NotSignedIn`."""
        with self._lock:
            begun = self._begun.pop(state, None) if secrets.compare_digest(state, cookie) else None
        if begun is None or self._clock() - begun.at > _WAIT_S:
            raise NotSignedIn("no sign-on with this state is under way in this browser")
        secret = self._settings.client_secret.get_secret_value()
        with self._client() as client:
            try:
                found = self._discover(client)
                answer = client.post(
                    found["token_endpoint"],
                    data={
                        "grant_type": "authorization_code",
                        "code": code,
                        "redirect_uri": self._redirect_uri,
                        "code_verifier": begun.verifier,
                    },
                    # RFC 6749, 2.3.1: both are encoded like a form first.
                    auth=(quote_plus(self._settings.client_id), quote_plus(secret)),
                ).raise_for_status()
                token = answer.json()
                keys = client.get(found["jwks_uri"]).raise_for_status().json()
                claims = self._claims(str(token["id_token"]), keys, begun.nonce)
            except (httpx.HTTPError, JoseError, KeyError, TypeError, ValueError) as error:
                raise NotSignedIn(f"the provider's answer does not hold: {type(error).__name__}") from None
        return self._user(claims), begun.go_to

    def _client(self) -> httpx.Client:
        return httpx.Client(timeout=ANSWER_S, transport=self._transport)

    def _discover(self, client: httpx.Client) -> dict[str, str]:
        url = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            found: dict[str, str] = client.get(url).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise NotSignedIn(f"the provider cannot be asked: {type(error).__name__}") from None
        if found.get("issuer") != self._settings.issuer:
            raise NotSignedIn(f"the provider is not {self._settings.issuer}")
        return found

    def _claims(self, id_token: str, keys: Any, nonce: str) -> dict[str, Any]:
        """What the ID token says, once it is proven (OpenID Connect Core 1.0, 3.1.3.7)."""
        token = jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=_ALGORITHMS)
        jwt.JWTClaimsRegistry(
            now=int(self._clock()),
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": self._settings.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(token.claims)
        return dict(token.claims)

    def _user(self, claims: dict[str, Any]) -> User:
        try:
            name = _NAME.validate_python(claims.get(self._settings.name_claim))
        except ValidationError:
            raise NotSignedIn(f"the claim {self._settings.name_claim} holds no name for events") from None
        groups = claims.get(self._settings.groups_claim) or []
        grants = [self._settings.groups[group] for group in groups if group in self._settings.groups]
        held = rights(grants, self._sites)
        if not held:
            raise NotSignedIn(f"{name} is in no group that may do anything here")
        return User(name, held)
