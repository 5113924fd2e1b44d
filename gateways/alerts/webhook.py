"""A message as signed JSON to an address of the site's own, or in the form that a chat service takes."""

import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Final

from gateways.alerts.channel import Message, plain
from gateways.alerts.far_side import request
from gateways.alerts.settings import WebhookChannel
from schemas.base import NOTICE

KEY: Final = "Idempotency-Key"
TIMESTAMP: Final = "Sinsok-Timestamp"
SIGNATURE: Final = "Sinsok-Signature"
_MARKUP: Final = re.compile(r"[\\\[\]<>*_~`#]")


class Webhook:
    """An address that takes JSON over HTTP. Delivered means 2xx."""

    kind = "webhook"

    def __init__(self, settings: WebhookChannel, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s

    def send(self, message: Message) -> str:
        """See :class:`gateways.alerts.channel.Channel`."""
        body = json.dumps(_STYLES[self._settings.style](message), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=utf-8", KEY: message.key}
        if self._settings.secret is not None:
            headers |= signed(self._settings.secret.get_secret_value(), int(time.time()), body)
        return request("POST", self._settings.url, headers, body, ca=self._settings.ca, timeout_s=self._timeout_s)

    def reach(self) -> bool:
        """See :class:`gateways.alerts.channel.Channel`."""
        return False


def signed(secret: str, at: int, body: bytes) -> dict[str, str]:
    """The headers that prove who sent a body and when: HMAC-SHA256 over the timestamp, a full stop and the body."""
    digest = hmac.digest(secret.encode(), f"{at}.".encode() + body, "sha256").hex()
    return {TIMESTAMP: str(at), SIGNATURE: f"v1={digest}"}


def _sinsok(message: Message) -> Mapping[str, object]:
    return {
        "key": message.key,
        "kind": message.kind,
        "site": message.site,
        "recipient": message.recipient,
        "time": message.at.isoformat().replace("+00:00", "Z"),
        "thread": message.thread,
        "title": message.title,
        "text": plain(message),
        **message.facts,
        "notice": NOTICE,
    }


def _slack(message: Message) -> Mapping[str, object]:
    def mrkdwn(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    lines = (f"<{line.url}|{mrkdwn(line.text)}>" if line.url else mrkdwn(line.text) for line in message.lines)
    return {"text": "\n".join(lines)}


def _mattermost(message: Message) -> Mapping[str, object]:
    return {"text": _markdown(message, "\n")}


def _teams(message: Message) -> Mapping[str, object]:
    block = {"type": "TextBlock", "text": _markdown(message, "\n\n"), "wrap": True}
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [block],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _markdown(message: Message, between: str) -> str:
    def literally(text: str) -> str:
        # No backslash keeps a chat service from calling everybody.
        return _MARKUP.sub(r"\\\g<0>", text).replace("@", "@\N{ZERO WIDTH SPACE}")

    lines = ((literally(line.text), line.url) for line in message.lines)
    return between.join(f"[{text}]({url})" if url else text for text, url in lines)


_STYLES: Final[dict[str, Callable[[Message], Mapping[str, object]]]] = {
    "sinsok": _sinsok,
    "slack": _slack,
    "teams": _teams,
    "mattermost": _mattermost,
}
