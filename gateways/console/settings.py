"""What can be set of the console, and of each site's part in it."""

import ipaddress
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from schemas.audit import Role

Language = Literal["en", "ko"]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")]


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def is_private(url: str) -> bool:
    """Whether nobody on the way can read or change what is said to an address: by TLS, or inside this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Grant(_Section):
    """Roles at sites; ``*`` stands for every site."""

    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    sites: Annotated[tuple[str, ...], Field(min_length=1)]


class OidcSettings(_Section):
    """Sign-on with the hospital's identity provider (OpenID Connect, authorization code with PKCE)."""

    issuer: HttpUrl = Field(description="As the provider names itself; its discovery document lies below")
    client_id: str
    client_secret: SecretStr = Field(description="Better set as SINSOK_CONSOLE__OIDC__CLIENT_SECRET")
    scopes: tuple[str, ...] = ("openid", "profile")
    name_claim: str = Field(default="preferred_username", description="Whose value names the person in events")
    groups_claim: str = "groups"
    groups: dict[str, Grant] = Field(description="What members of a group of the provider may do where")

    @field_validator("issuer")
    @classmethod
    def _issuer_is_private(cls, url: str) -> str:
        if not is_private(url):
            raise ValueError("the issuer is http: who signs on is asked through TLS only")
        return url


class ConsoleSettings(_Section):
    """The console as a process."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    base_url: HttpUrl | None = Field(
        default=None, description="What people type, where a proxy with TLS stands in front: https://sinsok.example"
    )
    proxies: tuple[str, ...] = Field(
        default=("127.0.0.1",), description="Whose X-Forwarded-For is believed, for the limit on failed logins"
    )
    keep_days: Annotated[int, Field(ge=1, le=365, description="Older studies are not shown")] = 30
    todo_hours: Annotated[float, Field(gt=0)] = Field(
        default=24.0, description="So long a study without an alert, read or not, stands among what is to do"
    )
    late_minutes: Annotated[float, Field(gt=0)] = Field(
        default=10.0, description="A study without a result for longer is shown as one that the AI did not read"
    )
    silent_minutes: Annotated[float, Field(gt=0)] = Field(
        default=40.0, description="A scanner without images for longer is pointed out to operators"
    )
    idle_minutes: Annotated[float, Field(gt=0, description="Unused for longer, a session ends")] = 60.0
    session_hours: Annotated[float, Field(gt=0, description="Used or not, a session ends")] = 12.0
    health_host: str | None = Field(
        default=None,
        description="Where the parts' health is; {part} stands for the name. As health.host where not said",
    )
    oidc: OidcSettings | None = None
    local_accounts: bool = Field(
        default=False, description="Beside console.oidc, passwords of `sinsok accounts` are taken as well"
    )

    @field_validator("base_url")
    @classmethod
    def _no_path(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).path not in ("", "/"):
            raise ValueError("the console wants a host of its own: base_url has no path")
        return url.rstrip("/") if url else url

    @model_validator(mode="after")
    def _others_reach_it_through_tls(self) -> Self:
        if self.base_url is not None and not self.base_url.startswith("https://") and not self.on_loopback:
            raise ValueError("base_url is http: a session cookie may leave this machine through TLS only")
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches it; a proxy on this machine may let in others."""
        return is_loopback(self.host)

    @property
    def takes_passwords(self) -> bool:
        """Whether people sign in with local accounts."""
        return self.oidc is None or self.local_accounts

    @property
    def url(self) -> str:
        """Where people find it."""
        return self.base_url or f"http://{self.host}:{self.port}"

    @property
    def secure(self) -> bool:
        """Whether cookies go through TLS only."""
        return self.url.startswith("https://") or not self.on_loopback


class SiteConsole(_Section):
    """How a site's studies are shown."""

    show_patient: bool = Field(
        default=False, description="Name, id and birth date on the study page, read from the stored image"
    )
    pacs_link: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = Field(
        default=None, description="Of a study in the PACS's viewer; {study_uid} stands for its UID"
    )
