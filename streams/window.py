"""Events under way: several at a time, those of a key one after the other, acknowledged in the order they came.

To wait for the broker once for each event costs a request each; events that are under way together share theirs.

The order of acknowledgement is what safety hangs on. Faust commits the end of the first run of acknowledged offsets,
wherever that run begins: an event acknowledged before an earlier one of its partition takes that one along, finished
or not. And once one was left, none behind it may be acknowledged until the partition is read again from there.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from streams.watchdog import Partition


class Interrupted(Exception):
    """A rebalance or the end of the process came while an event waited. It must not be acknowledged."""


class _Entry:
    """An event that was taken up. Held here, because Faust keeps no strong reference to it."""

    __slots__ = ("done", "ended", "event")

    def __init__(self, event: Any) -> None:
        self.event = event
        self.ended = False
        self.done = False


class _Queue:
    """The events of a partition, in the order they came."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._broken = False

    def add(self, entry: _Entry) -> None:
        self._entries.append(entry)

    def settle(self) -> None:
        """Acknowledge what is done, up to the first that was left; leave all from there on."""
        while self._entries and self._entries[0].ended:
            entry = self._entries.popleft()
            self._broken = self._broken or not entry.done
            if self._broken:
                # Faust acknowledges, and waits for, only what nobody has acknowledged yet.
                entry.event.message.acked = True
            else:
                entry.event.ack()


class Window:
    """The events of one stream that are under way, ``size`` at the most.

    ``work`` brings a message to its end, or raises :class:`Interrupted` or is cancelled: then the message is left, to
    be read again by whoever has the partition next. ``die`` ends the process; it is given what else was raised.
    """

    def __init__(self, size: int, work: Callable[[Any], Awaitable[None]], die: Callable[[BaseException], None]) -> None:
        self._work = work
        self._die = die
        # A permit is taken behind an event, not before it: nothing is read that cannot begin at once.
        self._room = asyncio.Semaphore(size - 1)
        self._queues: dict[Partition, _Queue] = {}
        self._last_of: dict[bytes | None, asyncio.Task[bool]] = {}
        self._tasks: set[asyncio.Task[bool]] = set()

    async def take_up(self, event: Any) -> None:
        """Start on an event, and return when there is room for another."""
        message = event.message
        message.incref()  # Faust gives its own reference back when it is asked for the next event.
        entry = _Entry(event)
        queue = self._queues.setdefault(Partition(message.topic, message.partition), _Queue())
        queue.add(entry)
        task = asyncio.create_task(self._run(entry, queue, self._last_of.get(message.key)))
        self._last_of[message.key] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await self._room.acquire()

    def start_over(self) -> None:
        """The partitions were assigned anew and are read again: what was left before holds up nothing from now on."""
        self._queues = {}
        self._last_of = {}

    def close(self) -> None:
        """Leave what is under way."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, entry: _Entry, queue: _Queue, before: "asyncio.Task[bool] | None") -> bool:
        """Whether the event was brought to its end."""
        message = entry.event.message
        try:
            if before is None or await _done(before):
                await self._work(message)
                entry.done = True
        except Interrupted:
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the edge: nobody asks for the result of this task
            self._die(error)
        finally:
            entry.ended = True
            queue.settle()
            if self._last_of.get(message.key) is asyncio.current_task():
                del self._last_of[message.key]
            self._room.release()
        return entry.done


async def _done(task: "asyncio.Task[bool]") -> bool:
    """Wait for the end of a task, however it ends: whether its event was brought to its end."""
    await asyncio.wait((task,))
    return not task.cancelled() and task.result()
