"""What the pages need behind them, made once by the process."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from fastapi import Request

from gateways.console.accounts import Accounts
from gateways.console.acts import Acts
from gateways.console.live import Hub
from gateways.console.oidc import Oidc
from gateways.console.patient import Patients
from gateways.console.probes import Probes
from gateways.console.settings import ConsoleSettings, SiteConsole
from gateways.console.stack import Stack, Window
from gateways.console.study import Clocks
from gateways.console.throttle import Throttle
from gateways.kafka import Record
from gateways.letters.acts import Outbound
from gateways.letters.letter import Place
from schemas.base import ObjectRef
from schemas.events import Finding

_DEVELOPERS: Final = 8


class Pictures(Protocol):
    """Pictures of stored series. Raises :class:`schemas.failures.PortFailure`, and IndexError for no such slice."""

    def stack(self, manifest: ObjectRef, label_map: ObjectRef | None = None, findings: Sequence[Finding] = ()) -> Stack:
        """How the slices of a series stand."""

    def picture(self, manifest: ObjectRef, index: int, window: Window) -> bytes:
        """A slice as PNG."""

    def tile(self, manifest: ObjectRef, index: int) -> bytes:
        """The voxels of a slice, encoded."""

    def outlines(self, manifest: ObjectRef, label_map: ObjectRef) -> dict[int, dict[int, str]]:
        """The borders of what is marked: slice, label, path data."""


class Letters(Protocol):
    """Dead letters with their bytes. Raises :class:`schemas.failures.PortFailure`, within seconds."""

    def fetch(self, place: Place) -> Record | None:
        """A letter; None where there is none (any more)."""

    def outbound(self) -> Outbound:
        """Where letters go back to."""


class Condition(NamedTuple):
    """How much the pages can be relied on now."""

    complete: bool
    """Whether all that stood on the topics at the start has been read."""
    away_since: datetime | None
    """Since when the broker has not answered."""
    waiting: int
    """Acts that the broker has not taken yet."""


@dataclass(frozen=True)
class Backstage:
    """Everything but the view, which pages see through :mod:`gateways.console.access` only."""

    settings: ConsoleSettings
    clocks: Clocks
    sites: Mapping[str, SiteConsole]
    zone: ZoneInfo
    now: Callable[[], datetime]
    accounts: Accounts
    throttle: Throttle
    acts: Acts
    hub: Hub
    probes: Probes
    pictures: Pictures
    patients: Patients
    letters: Letters
    oidc: Oidc | None
    condition: Callable[[], Condition]
    sorting: Lock = field(default_factory=Lock)
    """Held while a letter is fetched or sent: while Kafka hangs, those who ask wait for no more than one thread."""
    darkroom: Executor = field(default_factory=lambda: ThreadPoolExecutor(_DEVELOPERS, "pictures"))
    """Where pictures are made: while the store hangs all its threads may, and every other page goes on."""


def backstage(request: Request) -> Backstage:
    """Of the app that answers a request."""
    behind: Backstage = request.app.state.backstage
    return behind
