"""Whom a site tells of its alerts, over which channels, and what the messages may say."""

import json
import re
from datetime import time
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from gateways.alerts import placeholders

Language = Literal["ko", "en"]
Said = Literal["priority", "finding", "side", "volume", "picture"]
"""What a message says beside the link and the notice."""
SAYS: Final[frozenset[Said]] = frozenset({"priority", "finding", "side", "volume"})
"""Unless a site says otherwise. A picture of a patient's head in a mail is for the site to allow."""

Seconds = Annotated[float, Field(gt=0)]
Address = Annotated[str, Field(pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$", max_length=254)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#]+\S*$", repr=False)]
"""Webhook addresses of chat services are secrets themselves: they stand in no log and in no exception of ours."""
Token = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
"""A name of an HTTP header (RFC 9110, 5.6.2)."""
_HEADER: Final = re.compile(r"([!-~]([ -~]*[!-~])?)?")
"""A value of an HTTP header (RFC 9110, 5.5), without what is obsolete."""


def _for_alerts(template: str) -> str:
    if not placeholders.names(placeholders.checked(template, ("alert_id",))):
        raise ValueError("{alert_id} has to stand in it: every alert has a page of its own")
    return template


def _for_messages(template: str) -> str:
    return placeholders.checked(template, placeholders.MESSAGE)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SmtpChannel(_Section):
    """A mail address, reached over the server of ``[notifier.smtp]``."""

    kind: Literal["smtp"]
    to: Address


class WebhookChannel(_Section):
    """An address that takes JSON: a receiver of the site's own, or a chat service."""

    kind: Literal["webhook"]
    url: Url
    secret: SecretStr | None = Field(default=None, description="Signs what is sent (HMAC-SHA256)")
    style: Literal["sinsok", "slack", "teams", "mattermost"] = "sinsok"
    ca: Path | None = Field(default=None, description="Who may have signed its certificate; else the system's")

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.style == "sinsok" and (self.secret is None or len(self.secret.get_secret_value()) < 16):
            raise ValueError("secret: style sinsok is signed and needs one of 16 characters or more")
        return self


class HttpChannel(_Section):
    """Any gateway for SMS or pagers that takes an HTTP request."""

    kind: Literal["http"]
    url: Annotated[Url, AfterValidator(_for_messages)]
    method: Literal["POST", "PUT", "GET"] = "POST"
    headers: dict[Token, SecretStr] = Field(default={"Content-Type": SecretStr("application/json")})
    body: Annotated[str, AfterValidator(_for_messages)] = ""
    expect: re.Pattern[str] | None = Field(
        default=None, description="What has to be found in the answer: some gateways answer 200 to what they refuse"
    )
    ca: Path | None = Field(default=None, description="Who may have signed its certificate; else the system's")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.body and not placeholders.names(self.url):
            raise ValueError("body: there is none, and no placeholder in the url: the message would be empty")
        return self

    @model_validator(mode="after")
    def _is_json(self) -> Self:
        if self.body and "json" in self.content_type:
            try:
                json.loads(placeholders.filled(self.body, dict.fromkeys(placeholders.MESSAGE, "x"), str))
            except ValueError:
                raise ValueError("body: is no JSON, as the Content-Type says; put {text} into quotes") from None
        return self

    @model_validator(mode="after")
    def _headers_can_be_sent(self) -> Self:
        for name, value in self.headers.items():
            if not _HEADER.fullmatch(value.get_secret_value()):
                raise ValueError(f"headers: the value of {name} is to be of printable ASCII, with no space around it")
        return self

    @property
    def content_type(self) -> str:
        """What the headers say of the body, in small letters."""
        said = (value for name, value in self.headers.items() if name.lower() == "content-type")
        return next((value.get_secret_value().lower() for value in said), "")


ChannelSettings = Annotated[SmtpChannel | WebhookChannel | HttpChannel, Field(discriminator="kind")]
"""One way to a recipient."""


class Recipient(_Section):
    """A person, or a group that reads together."""

    language: Language = "ko"
    channels: Annotated[tuple[ChannelSettings, ...], Field(min_length=1, description="In the order of preference")]


class SmtpSettings(_Section):
    """The mail server that takes our mail on."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    starttls: Literal["required", "if-offered", "never"] = "required"
    username: str | None = None
    password: SecretStr | None = None
    sender: Address = "sinsok@localhost"
    ca: Path | None = Field(default=None, description="Who may have signed its certificate; else the system's")

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        if self.username is not None and self.starttls != "required":
            raise ValueError('starttls: a password is sent only where it is "required"')
        return self


class NotifierSettings(_Section):
    """The process that tells people."""

    smtp: SmtpSettings = SmtpSettings()
    link: Annotated[str, AfterValidator(_for_alerts)] = Field(
        default="http://127.0.0.1:8080/alerts/{alert_id}", description="The page of a study"
    )
    timeout_s: Seconds = Field(default=10.0, description="For a channel's answer as a whole; then the next is used")
    retry_first_s: Seconds = Field(
        default=1.0, description="First pause while a channel is away; each is twice the last"
    )
    retry_longest_s: Seconds = 30.0
    digest_at: Annotated[tuple[time, ...], Field(min_length=1)] = Field(
        default=(time(7), time(18)), description="When deferred alerts are told, in the time zone of the site"
    )
    keep_days: Annotated[int, Field(ge=1, description="So long it remembers whom it told what")] = 90
