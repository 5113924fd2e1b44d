"""What a part of the stack is: a command, the ports it takes, and the checks that say whether it works."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
"""The project's folder: configuration of the parts lies in its ``deploy/``, the model repository beside it."""

INSTALLED: Final = CHECKOUT / ".local"
"""Where ``make setup`` puts the programs it installs. ``SINSOK_HOME`` moves the state, never the programs."""


class NotReady(Exception):
    """A check failed; the text says what is missing."""


class NotInstalled(Exception):
    """A program that the part needs is not on this machine; the text says which."""


@dataclass(frozen=True)
class Listener:
    """An address that a part binds, and the setting that moves it."""

    host: str
    port: int
    setting: str


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class External:
    """A server that the stack uses and somebody else runs."""

    name: str
    endpoint: str
    ready: Callable[[], None]
    """Raises :class:`NotReady` when it cannot be used."""


@dataclass(frozen=True)
class Part:
    """One process of the stack."""

    name: str
    command: tuple[str, ...]
    endpoint: str
    """Where users reach it."""
    listeners: tuple[Listener, ...]
    ready: Callable[[], None]
    """Raises :class:`NotReady` while the part cannot do its work."""
    alive: Callable[[], None]
    """Raises :class:`NotReady` when the part should be restarted; less strict than ``ready``."""
    arguments: Callable[[], tuple[str, ...]] = tuple
    """What follows the command, worked out anew at each start."""
    prepare: Callable[[], None] = _nothing
    """Writes what the part needs before its start. Raises :class:`NotInstalled`."""
    once_ready: Callable[[], None] = _nothing
    """Runs after each start, when the part became ready. Raises :class:`NotReady`; then it is tried again."""
    after: tuple[str, ...] = ()
    """Parts that have to be ready before this one starts for the first time."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    grace_s: float = 10.0
    """Seconds between SIGTERM and SIGKILL."""
    ready_within_s: float = 180.0
    """A part that is not ready after so many seconds is reported as failed, and killed where it does not even answer.

    Long: after a power failure everything on a machine starts at once, and what is killed then has to start once more.
    """
