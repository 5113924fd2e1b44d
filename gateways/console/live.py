"""Open pages learn of changes (server-sent events): which study changed, and they ask for what they show.

Changes are collected for a moment and handed to every listener that may know of them. A listener that does not keep
up is told to load everything anew; nobody holds up anybody.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Final, NamedTuple

from gateways.console.view import Change

COLLECT_S: Final = 0.05
"""What one event brings about at once is told together; any longer, and an alert waits for it."""
QUEUE: Final = 64
"""Changes that wait for one listener; of more it is told to load everything anew."""
BEAT_S: Final = 15.0
"""Between signs of life: they show a broken connection, and end that of a person who was signed out."""
LISTENERS: Final = 500


class TooMany(Exception):
    """No more listeners are taken."""


class _Listener(NamedTuple):
    sites: frozenset[str]
    queue: asyncio.Queue[Change]
    behind: asyncio.Event


class Hub:
    """Between the thread that reads Kafka and the loop that serves pages."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[_Listener] = set()
        self._pending: dict[str, Change] = {}
        self._closed = asyncio.Event()
        self._told = count(1)
        self.version = 0
        """Another one after each change: who asks once it was told of a change finds it in what has this version."""

    @property
    def listeners(self) -> int:
        """How many pages listen."""
        return len(self._listeners)

    def open(self) -> None:
        """Begin; called in the loop that serves pages."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._closed.set)

    def tell(self, change: Change) -> None:
        """Note a change that can be seen by now; from any thread."""
        self.version = next(self._told)
        loop = self._loop
        if loop is not None and self._listeners:
            loop.call_soon_threadsafe(self._note, change)

    def _note(self, change: Change) -> None:
        if not self._pending:
            asyncio.get_running_loop().call_later(COLLECT_S, self._spread)
        known = self._pending.get(change.key)
        self._pending[change.key] = change if known is None or change.alert else known

    def _spread(self) -> None:
        pending, self._pending = list(self._pending.values()), {}
        for listener in self._listeners:
            for change in pending:
                if change.site in listener.sites:
                    try:
                        listener.queue.put_nowait(change)
                    except asyncio.QueueFull:
                        listener.behind.set()
                        break

    async def follow(self, sites: frozenset[str], may_go_on: Callable[[], bool]) -> AsyncIterator[str]:
        """The stream of one page, as lines of ``text/event-stream``. Raises :class:`TooMany` before the first."""
        if len(self._listeners) >= LISTENERS:
            raise TooMany
        listener = _Listener(sites, asyncio.Queue(QUEUE), asyncio.Event())
        self._listeners.add(listener)
        try:
            yield "retry: 3000\nevent: open\ndata: \n\n"
            while not self._closed.is_set():
                change = await self._next(listener)
                if not may_go_on():
                    yield "event: signed-out\ndata: \n\n"
                    return
                yield _said(listener, change)
        finally:
            self._listeners.discard(listener)

    async def _next(self, listener: _Listener) -> Change | None:
        """The next change; None for a sign of life, and when all ends."""
        getting = asyncio.ensure_future(listener.queue.get())
        closing = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({getting, closing}, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            getting.cancel()
            closing.cancel()


def _said(listener: _Listener, change: Change | None) -> str:
    if change is None:
        return ": still here\n\n"
    if listener.behind.is_set():
        listener.behind.clear()
        while not listener.queue.empty():
            listener.queue.get_nowait()
        return "event: everything\ndata: \n\n"
    return f"event: {'alert' if change.alert else 'change'}\ndata: {change.key}\n\n"
