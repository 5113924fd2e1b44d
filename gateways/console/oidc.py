"""Sign-on with a hospital's identity provider: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636).

The provider says who somebody is and which groups they are in; the configuration says what a group may do where. What
a sign-on under way has to remember is in a signed cookie of its browser: strangers who begin thousands cost nothing.
"""

import asyncio
import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import quote_plus, urlencode

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError

from gateways.console.accounts import User, rights
from gateways.console.settings import OidcSettings, is_private
from schemas.paging import Name

ANSWER_S: Final = 10.0
"""For all that is asked of the provider in one step."""
_KNOWN_FOR_S: Final = 3600.0
_WAIT_S: Final = 600.0
_LEEWAY_S: Final = 60
_LONGEST_PATH: Final = 1000
_ALGORITHMS: Final = ["RS256", "ES256", "PS256"]
_NAME: Final = TypeAdapter(Name)
_GROUPS: Final = TypeAdapter(list[str])


class NotSignedIn(Exception):
    """The provider is away, or what it says does not let the person in; the text is for the log."""


class SignedOn(NamedTuple):
    """Who has come back from the provider, where they wanted to go, and what the provider said of them."""

    user: User
    go_to: str
    id_token: str


class _Begun(BaseModel):
    """A sign-on under way."""

    at: float
    state: str
    nonce: str
    verifier: str
    go_to: str


def _private(url: str) -> str:
    if not is_private(url):
        raise ValueError("not through TLS")
    return url


_Address = Annotated[str, AfterValidator(_private)]


class _Provider(BaseModel):
    """Of its discovery document, what is used (OpenID Connect Discovery 1.0, RP-Initiated Logout 1.0)."""

    issuer: str
    authorization_endpoint: _Address
    token_endpoint: _Address
    jwks_uri: _Address
    end_session_endpoint: _Address | None = None


class Oidc:
    """The provider. ``base_url`` is where people find the console; ``sites`` are those of the configuration.

    ``transport`` replaces the network in tests. The provider is asked without holding up anybody else's request.
    """

    def __init__(
        self,
        settings: OidcSettings,
        base_url: str,
        sites: Collection[str],
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._base_url = base_url
        self._redirect_uri = f"{base_url}/login/oidc/callback"
        self._sites = sites
        self._transport = transport
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._known: tuple[float, _Provider] | None = None

    async def begin(self, go_to: str, *, anew: bool = False) -> tuple[str, str]:
        """Where to send the browser, and what its cookie has to keep. ``anew`` has the provider ask for the password.

        Raises :class:`NotSignedIn`.
        """
        begun = _Begun(
            at=self._clock(),
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(64),
            go_to=go_to if len(go_to) <= _LONGEST_PATH else "/",  # browsers drop a cookie of more than 4 KB
        )
        async with self._asking() as client:
            endpoint = (await self._provider(client)).authorization_endpoint
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": urlsafe_b64encode(sha256(begun.verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **({"prompt": "login"} if anew else {}),
        }
        text = urlsafe_b64encode(begun.model_dump_json().encode()).decode()
        return _with(endpoint, asked), f"{text}.{self._signature(text)}"

    async def finish(self, state: str, cookie: str, code: str) -> SignedOn:
        """The person whom the provider has sent back. Raises :class:`NotSignedIn`."""
        begun = self._begun(state, cookie)
        secret = self._settings.client_secret.get_secret_value()
        try:
            async with self._asking() as client:
                provider = await self._provider(client)
                answer = await client.post(
                    provider.token_endpoint,
                    data={
                        "grant_type": "authorization_code",
                        "code": code,
                        "redirect_uri": self._redirect_uri,
                        "code_verifier": begun.verifier,
                    },
                    # RFC 6749, 2.3.1: both are encoded like a form first.
                    auth=(quote_plus(self._settings.client_id), quote_plus(secret)),
                )
                id_token = str(answer.raise_for_status().json()["id_token"])
                keys = (await client.get(provider.jwks_uri)).raise_for_status().json()
            claims = self._claims(id_token, keys, begun.nonce)
        except (httpx.HTTPError, JoseError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise NotSignedIn(f"the provider's answer does not hold: {type(error).__name__}") from None
        return SignedOn(self._user(claims), begun.go_to, id_token)

    async def end(self, id_token: str) -> str | None:
        """Where to send the browser so that the provider signs its person out too; None where it offers no such way."""
        try:
            async with self._asking() as client:
                endpoint = (await self._provider(client)).end_session_endpoint
        except NotSignedIn:
            return None
        asked = {"client_id": self._settings.client_id, "post_logout_redirect_uri": f"{self._base_url}/login"}
        return _with(endpoint, asked | ({"id_token_hint": id_token} if id_token else {})) if endpoint else None

    def _begun(self, state: str, cookie: str) -> _Begun:
        """The sign-on that this browser has begun, and that the provider speaks of."""
        text, _, signature = cookie.partition(".")
        # As bytes: of text, compare_digest takes ASCII only, and raises at what strangers may send.
        if hmac.compare_digest(self._signature(text).encode(), signature.encode()):
            begun = _Begun.model_validate_json(urlsafe_b64decode(text))
            if hmac.compare_digest(begun.state.encode(), state.encode()) and self._clock() - begun.at <= _WAIT_S:
                return begun
        raise NotSignedIn("no sign-on with this state is under way in this browser")

    def _signature(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), sha256).hexdigest()

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[httpx.AsyncClient]:
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                httpx.AsyncClient(timeout=ANSWER_S, transport=self._transport) as client,
            ):
                yield client
        except TimeoutError:
            raise NotSignedIn("the provider does not answer") from None

    async def _provider(self, client: httpx.AsyncClient) -> _Provider:
        known = self._known
        if known is not None and 0 <= self._clock() - known[0] < _KNOWN_FOR_S:
            return known[1]
        url = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            provider = _Provider.model_validate_json((await client.get(url)).raise_for_status().content)
        except httpx.HTTPError as error:
            raise NotSignedIn(f"the provider cannot be asked: {type(error).__name__}") from None
        except ValidationError as error:
            faults = ", ".join(
                f"{fault['loc'][0] if fault['loc'] else 'all'}: {fault['msg']}" for fault in error.errors()
            )
            raise NotSignedIn(f"the provider's discovery document does not hold: {faults}") from None
        if provider.issuer != self._settings.issuer:
            raise NotSignedIn(f"the provider is not {self._settings.issuer}")
        self._known = self._clock(), provider
        return provider

    def _claims(self, id_token: str, keys: Any, nonce: str) -> dict[str, Any]:
        """What the ID token says, once it is proven (OpenID Connect Core 1.0, 3.1.3.7)."""
        token = jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=_ALGORITHMS)
        client = self._settings.client_id
        several = isinstance(token.claims.get("aud"), list) and len(token.claims["aud"]) > 1
        jwt.JWTClaimsRegistry(
            now=int(self._clock()),
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": client},
            azp={"essential": several, "value": client},
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
        said = claims.get(self._settings.groups_claim)
        try:
            # Some providers say a single group without a list around it.
            groups = _GROUPS.validate_python([said] if isinstance(said, str) else said or [])
        except ValidationError:
            raise NotSignedIn(f"the claim {self._settings.groups_claim} holds no list of names") from None
        grants = [self._settings.groups[group] for group in groups if group in self._settings.groups]
        held = rights(grants, self._sites)
        if not held:
            raise NotSignedIn(f"{name} is in no group that may do anything here")
        return User(name, held)


def _with(endpoint: str, asked: dict[str, str]) -> str:
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"
