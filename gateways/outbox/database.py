"""A gateway's own SQLite file with an outbox in it: what it notes and what it will say of it are one transaction.

SQLite in WAL mode with ``synchronous=FULL``: what a committed transaction says survives a power cut. One connection,
one lock: whoever holds :meth:`OutboxDatabase.transaction` is the only reader and writer.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, RLock
from typing import ClassVar, Final

from schemas.envelope import Headers, Message

_OUTBOX: Final = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    key BLOB NOT NULL,
    headers TEXT NOT NULL,
    value BLOB NOT NULL,
    created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS rejected (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    key BLOB NOT NULL,
    headers TEXT NOT NULL,
    value BLOB NOT NULL,
    created_at REAL NOT NULL,
    reason TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class OutboxRow:
    """An event that the broker has not taken yet."""

    id: int
    topic: str
    message: Message


class OutboxDatabase:
    """The file and its outbox. Subclasses add the tables of :attr:`SCHEMA`.

    Every method raises ``sqlite3.Error`` where the disk or the file fails.
    """

    SCHEMA: ClassVar[str] = ""

    def __init__(self, path: Path) -> None:
        self.posted = Event()  # set whenever the outbox may have something new; the publisher clears it
        self._lock = RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_OUTBOX + self.SCHEMA)

    def close(self) -> None:
        """Close the file. Nothing is pending: every transaction is committed or rolled back by then."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is written inside."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
                self.posted.set()
            except BaseException:
                if self._db.in_transaction:  # SQLite has rolled back already where the disk was full
                    self._db.execute("ROLLBACK")
                raise

    def post(self, topic: str, message: Message, created_at: float) -> None:
        """Put an event into the outbox."""
        headers = "\n".join(f"{name}:{value.decode()}" for name, value in message.headers)
        self._db.execute(
            "INSERT INTO outbox (topic, key, headers, value, created_at) VALUES (?, ?, ?, ?, ?)",
            (topic, message.key, headers, message.value, created_at),
        )

    def outbox(self, limit: int) -> list[OutboxRow]:
        """The oldest events in the outbox, in the order they were put there."""
        rows = self._rows("SELECT id, topic, key, headers, value FROM outbox ORDER BY id LIMIT ?", limit)
        return [
            OutboxRow(row, topic, Message(key, _headers(headers), value)) for row, topic, key, headers, value in rows
        ]

    def delivered(self, rows: Iterable[int]) -> None:
        """Take events out of the outbox that the broker has."""
        with self.transaction():
            self._db.executemany("DELETE FROM outbox WHERE id = ?", [(row,) for row in rows])

    def reject(self, row: int, reason: str) -> None:
        """Move an event aside that the broker will never take, so that those behind it can go."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO rejected SELECT id, topic, key, headers, value, created_at, ? FROM outbox WHERE id = ?",
                (reason, row),
            )
            self._db.execute("DELETE FROM outbox WHERE id = ?", (row,))

    def rejected(self) -> int:
        """How many events lie aside."""
        return self._count("rejected")

    def outbox_state(self) -> tuple[int, float | None]:
        """How many events wait, and since when the oldest does (seconds since the epoch)."""
        ((depth, oldest),) = self._rows("SELECT count(*), min(created_at) FROM outbox")
        return depth, oldest

    def _rows(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _count(self, what: str, *values: object) -> int:
        return int(self._rows(f"SELECT count(*) FROM {what}", *values)[0][0])  # noqa: S608


def _headers(text: str) -> Headers:
    pairs = (line.partition(":") for line in text.split("\n"))
    return [(name, value.encode()) for name, _, value in pairs]
