"""The watcher's memory: when each scanner was heard, which studies are under way, which alarms stand.

What it was told and what it will say of it are one transaction, so a restart neither forgets a silence nor raises its
alarm twice.
"""

import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from gateways.outbox.database import OutboxDatabase
from gateways.watch.condition import Key, Standing
from gateways.watch.silence import Scanner
from gateways.watch.studies import Study
from schemas.alarms import AlarmKind
from schemas.base import utc

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS began (one INTEGER PRIMARY KEY CHECK (one = 1), at REAL NOT NULL, reader TEXT NOT NULL,
    adopted INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS heard (site TEXT, scanner TEXT, at REAL NOT NULL, PRIMARY KEY (site, scanner)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS study (key TEXT PRIMARY KEY, done INTEGER NOT NULL, touched_at REAL NOT NULL,
    row TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS under_way ON study (done) WHERE done = 0;
CREATE INDEX IF NOT EXISTS touched ON study (touched_at);
CREATE TABLE IF NOT EXISTS standing (site TEXT, kind TEXT, subject TEXT, since REAL NOT NULL, detail TEXT NOT NULL,
    raised_at REAL, PRIMARY KEY (site, kind, subject)) WITHOUT ROWID;
"""


class Ledger(OutboxDatabase):
    """Every method raises ``sqlite3.Error`` where the disk or the file fails."""

    SCHEMA: ClassVar[str] = _SCHEMA

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        # A ledger that was lost begins anew, and reads the topics anew: under a name of its own.
        with self.transaction():
            new = (time.time(), f"sinsok-watcher-{secrets.token_hex(4)}")
            self._db.execute("INSERT OR IGNORE INTO began (one, at, reader) VALUES (1, ?, ?)", new)

    @property
    def began_at(self) -> datetime:
        """When watching began."""
        return utc(self._rows("SELECT at FROM began")[0][0])

    @property
    def reader(self) -> str:
        """The consumer group whose offsets belong to this ledger."""
        return str(self._rows("SELECT reader FROM began")[0][0])

    # --- what was heard ----------------------------------------------------------------------------------------------

    def hear(self, site: str, scanner: str, at: datetime) -> None:
        """A scanner has sent an image."""
        self._db.execute(
            "INSERT INTO heard VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
            (site, scanner, at.timestamp()),
        )

    def heard(self) -> dict[Scanner, datetime]:
        """The newest image of every scanner."""
        return {(site, scanner): utc(at) for site, scanner, at in self._rows("SELECT site, scanner, at FROM heard")}

    # --- studies -----------------------------------------------------------------------------------------------------

    def study(self, key: str) -> Study | None:
        """A study by its key."""
        rows = self._rows("SELECT row FROM study WHERE key = ?", key)
        return Study.model_validate_json(rows[0][0]) if rows else None

    def put(self, key: str, study: Study, at: datetime) -> None:
        """Note how far a study is, and when something happened to it."""
        self._db.execute(
            "INSERT INTO study VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " done = excluded.done, touched_at = max(touched_at, excluded.touched_at), row = excluded.row",
            (key, study.done, at.timestamp(), study.model_dump_json()),
        )

    def under_way(self) -> Iterator[Study]:
        """Studies of which something is to come."""
        for (row,) in self._rows("SELECT row FROM study WHERE done = 0"):
            yield Study.model_validate_json(row)

    def forget(self, before: datetime) -> None:
        """Drop the studies to which nothing has happened since."""
        with self.transaction():
            self._db.execute("DELETE FROM study WHERE touched_at < ?", (before.timestamp(),))

    # --- alarms ------------------------------------------------------------------------------------------------------

    @property
    def adopted(self) -> bool:
        """Whether the alarms of an earlier ledger stand here too."""
        return bool(self._rows("SELECT adopted FROM began")[0][0])

    def adopt(self) -> None:
        """They do."""
        self._db.execute("UPDATE began SET adopted = 1")

    def standing(self) -> dict[Key, Standing]:
        """The troubles that have not ended."""
        rows = self._rows("SELECT site, kind, subject, since, detail, raised_at FROM standing")
        return {
            Key(site, AlarmKind(kind), subject): Standing(utc(since), detail, utc(at) if at is not None else None)
            for site, kind, subject, since, detail, at in rows
        }

    def stand(self, standing: Mapping[Key, Standing]) -> None:
        """Note them anew."""
        self._db.execute("DELETE FROM standing")
        self._db.executemany(
            "INSERT INTO standing VALUES (?, ?, ?, ?, ?, ?)",
            [
                (*key, one.since.timestamp(), one.detail, one.raised_at.timestamp() if one.raised_at else None)
                for key, one in standing.items()
            ],
        )
