"""What was made lately, in memory up to a number of bytes; the least recently used goes first. Shared by threads."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar, cast

Value = TypeVar("Value")


class Cache:
    """Values by key, each made once for all who ask for it at the same time."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._making: dict[Hashable, Future[Any]] = {}
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        """What all that is kept takes; never more than the limit."""
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """The value of a key, made and kept where it is not there. What takes more than the limit is not kept.

        Raises what ``make`` raises, to all who wait for it; the next one makes it anew.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return cast(Value, self._kept[key][0])
            underway = self._making.get(key)
            if underway is None:
                mine = self._making[key] = Future[Any]()
        if underway is not None:
            return cast(Value, underway.result())
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            self._keep(key, value, size(value))
        mine.set_result(value)
        return value

    def _keep(self, key: Hashable, value: Any, size: int) -> None:
        if size > self._limit:
            return
        self._kept[key] = value, size
        self._bytes += size
        while self._bytes > self._limit:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed
