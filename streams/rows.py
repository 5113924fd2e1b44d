"""The rows of a hop's table: states as JSON, and which of them wait for a deadline that has passed."""

from collections.abc import Iterator, MutableMapping
from datetime import datetime
from typing import Generic, NamedTuple

from pydantic import ValidationError

from schemas.base import Digest
from schemas.identity import digest
from streams.hop import S


class UnreadableRowError(RuntimeError):
    """A row was written by a version of sinsok that this one cannot read."""


class _Entry(NamedTuple):
    """The times of a row, and the row they were read from."""

    row: bytes
    deadline: datetime | None
    open_since: datetime | None


class Rows(Generic[S]):
    """Typed access to a table of bytes. The mapping may change under it; each row is parsed when it is used."""

    def __init__(self, table: MutableMapping[bytes, bytes], state: type[S]) -> None:
        self._table = table
        self._state = state
        self._index: dict[bytes, _Entry] = {}

    def __len__(self) -> int:
        return len(self._table)

    def get(self, key: bytes) -> S | None:
        """The state of a key. Raises :class:`UnreadableRowError`."""
        row = self._table.get(key)
        return None if row is None else self._parse(row)

    def digest(self, key: bytes) -> Digest | None:
        """Of the row of a key; None where there is none."""
        row = self._table.get(key)
        return None if row is None else digest(row)

    def dump(self, state: S) -> bytes:
        """A state as a row."""
        return state.model_dump_json().encode()

    def put(self, key: bytes, row: bytes, state: S) -> None:
        """Write the row of a state. One that says what the table says already is not written again."""
        if row != self._table.get(key):
            self._table[key] = row
            self._index[key] = _Entry(row, state.deadline, state.open_since)

    def forget(self, key: bytes) -> None:
        """Remove a row, if there is one."""
        if key in self._table:
            del self._table[key]

    def due(self, now: datetime) -> Iterator[tuple[bytes, S]]:
        """Rows whose deadline has passed."""
        self.index()
        for key, entry in list(self._index.items()):
            if entry.deadline is not None and entry.deadline <= now:
                yield key, self._parse(entry.row)

    def oldest_open(self) -> datetime | None:
        """Since when the oldest study waits for its end, as of the last :meth:`due` or :meth:`index`."""
        return min((entry.open_since for entry in self._index.values() if entry.open_since), default=None)

    def index(self) -> None:
        """Note the times of each row; one that is as it was is not parsed again. Raises UnreadableRowError."""
        known = self._index
        self._index = {}
        for key, row in list(self._table.items()):
            seen = known.get(key)
            self._index[key] = seen if seen and seen.row is row else self._entry(row)

    def _entry(self, row: bytes) -> _Entry:
        state = self._parse(row)
        return _Entry(row, state.deadline, state.open_since)

    def _parse(self, row: bytes) -> S:
        try:
            return self._state.model_validate_json(row)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise UnreadableRowError(f"a row is no {self._state.__name__}: {place}: {first['type']}") from None
