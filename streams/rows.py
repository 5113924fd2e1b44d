"""The rows of a hop's table: states of studies as JSON, and which of them wait for a deadline that has passed."""

from collections.abc import Iterator, MutableMapping
from datetime import datetime
from typing import Generic

from pydantic import ValidationError

from streams.hop import S


class UnreadableRowError(RuntimeError):
    """A row was written by a version of sinsok that this one cannot read."""


class Rows(Generic[S]):
    """Typed access to a table of bytes. The mapping may change under it; each row is parsed when it is used."""

    def __init__(self, table: MutableMapping[bytes, bytes], state: type[S]) -> None:
        self._table = table
        self._state = state
        self._deadlines: dict[bytes, tuple[bytes, datetime | None]] = {}

    def __len__(self) -> int:
        return len(self._table)

    def get(self, key: bytes) -> S | None:
        """The state of a study. Raises :class:`UnreadableRowError`."""
        row = self._table.get(key)
        return None if row is None else self._parse(row)

    def dump(self, state: S) -> bytes:
        """A state as a row."""
        return state.model_dump_json().encode()

    def put(self, key: bytes, row: bytes | None) -> None:
        """Write a row; None forgets the study. A row that says what the table says already is not written again."""
        if row is None:
            if key in self._table:
                del self._table[key]
        elif row != self._table.get(key):
            self._table[key] = row

    def due(self, now: datetime) -> Iterator[tuple[bytes, S]]:
        """Studies whose deadline has passed."""
        self.index()
        for key, (row, deadline) in list(self._deadlines.items()):
            if deadline is not None and deadline <= now:
                yield key, self._parse(row)

    def index(self) -> None:
        """Note the deadline of each row; one that is as it was is not parsed again. Raises UnreadableRowError."""
        known = self._deadlines
        self._deadlines = {}
        for key, row in list(self._table.items()):
            seen = known.get(key)
            self._deadlines[key] = seen if seen and seen[0] is row else (row, self._parse(row).deadline)

    def _parse(self, row: bytes) -> S:
        try:
            return self._state.model_validate_json(row)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise UnreadableRowError(f"a row is no {self._state.__name__}: {place}: {first['type']}") from None
