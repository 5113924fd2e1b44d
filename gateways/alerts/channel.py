"""A message to a recipient, and what every channel can do with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

from gateways.alerts.settings import Language
from schemas.failures import Unavailable


class Kind(StrEnum):
    """What a message is for."""

    PAGE = "page"
    WITHDRAWAL = "withdrawal"
    """To those who were told of an alert that does not stand any more."""
    DIGEST = "digest"
    """The alerts that were not to disturb anybody until now."""


class Line(NamedTuple):
    """A line that people read; with ``url`` it is a link."""

    text: str
    url: str = ""


@dataclass(frozen=True)
class Message:
    """What a recipient is told. The same page gives the same message, however often it is sent."""

    key: str
    """Names it: a receiver that has this key already has the message."""
    kind: Kind
    site: str
    recipient: str
    language: Language
    at: datetime
    thread: str
    """What messages about one study have in common. It identifies nobody."""
    alert_id: UUID | None
    """None in a digest."""
    title: str
    lines: tuple[Line, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    """The same for machines, as JSON."""
    picture: Callable[[], bytes | None] | None = field(default=None, compare=False)
    """Draws the key image (PNG), for channels that can show it; None where it cannot be drawn now."""


class Shut(Unavailable):
    """The far side is there and lets no message of ours in: an address or a password is wrong. A person has to see."""


class Channel(Protocol):
    """One way to a recipient. One caller at a time."""

    @property
    def kind(self) -> str:
        """What it is, as the configuration says: smtp, webhook, http."""
        ...

    def send(self, message: Message) -> str:
        """Send it; what the far side said when it took it.

        Raises :class:`schemas.failures.Unavailable` where the same message may go through later, and
        :class:`schemas.failures.Refused` where it will not on this channel. The text holds no address and no secret.
        """

    def reach(self) -> bool:
        """Ask whether the far side takes messages; False where that cannot be asked without sending one.

        Raises :class:`schemas.failures.Unavailable`.
        """


def plain(message: Message) -> str:
    """The message as plain text."""
    return "\n".join(f"{line.text}: {line.url}" if line.url else line.text for line in message.lines)
