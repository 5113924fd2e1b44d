"""Any gateway for SMS or pagers: a request as the configuration writes it, with what the message says filled in."""

import json
from collections.abc import Callable
from html import escape
from urllib.parse import quote, quote_plus

from gateways.alerts.channel import Message, plain
from gateways.alerts.far_side import request
from gateways.alerts.placeholders import filled
from gateways.alerts.settings import HttpChannel
from gateways.alerts.webhook import KEY


class HttpTemplate:
    """An HTTP request from a template. Delivered means 2xx, and the answer that is expected."""

    kind = "http"

    def __init__(self, settings: HttpChannel, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s

    def send(self, message: Message) -> str:
        """See :class:`gateways.alerts.channel.Channel`."""
        said = values(message)
        headers = {name: value.get_secret_value() for name, value in self._settings.headers.items()}
        return request(
            self._settings.method,
            filled(self._settings.url, said, lambda text: quote(text, safe="")),
            {KEY: message.key, **headers},
            filled(self._settings.body, said, escaping(self._settings.content_type)).encode(),
            ca=self._settings.ca,
            timeout_s=self._timeout_s,
            expect=self._settings.expect,
        )

    def reach(self) -> bool:
        """See :class:`gateways.alerts.channel.Channel`."""
        return False


def values(message: Message) -> dict[str, str]:
    """What the placeholders stand for; empty what the site does not say, or the message does not have."""
    return {
        "text": plain(message),
        "title": message.title,
        "link": next((line.url for line in message.lines if line.url), ""),
        "priority": str(message.facts.get("priority", "")),
        "site": message.site,
        "recipient": message.recipient,
        "alert_id": str(message.alert_id or ""),
        "key": message.key,
    }


def escaping(content_type: str) -> Callable[[str], str]:
    """How a text is written into a body of this type, so that it cannot end the place it stands in."""
    if "json" in content_type:
        return lambda text: json.dumps(text, ensure_ascii=False)[1:-1]
    if content_type.startswith("application/x-www-form-urlencoded"):
        return quote_plus
    if "xml" in content_type:
        return escape
    return str
