"""A run: what was asked for, the record it works on, and what came of each study. One SQLite file in a folder.

Everything is written in transactions, so a run that was killed goes on where it stood.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from schemas.base import Event, Record, Site, Utc
from schemas.steps import PortAnswer, StepTaken
from schemas.topics import topic_of
from sinsok.errors import UsageError
from sinsok.replay.compare import Compared
from sinsok.replay.story import Recorded
from streams.site import SiteRules

FILE: Final = "run.sqlite"
VERSION: Final = 1
MARGIN: Final = timedelta(seconds=10)
"""What a step names may stand so much later on its topic than the step itself."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS options (json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, partition)
);
CREATE TABLE IF NOT EXISTS counts (records INTEGER NOT NULL, steps INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL,
    study_key TEXT NOT NULL, type TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (topic, partition, offset)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identities (asked TEXT PRIMARY KEY, answer TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS studies (
    study_key TEXT PRIMARY KEY, first_ms INTEGER NOT NULL, compared TEXT, steps INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS said (
    study_key TEXT NOT NULL, number INTEGER NOT NULL, topic TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (study_key, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS done (what TEXT PRIMARY KEY);
"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS by_study ON records (study_key)"


class Options(Record):
    """What is to be replayed, and how."""

    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    begun_at: Utc
    site: Site | None = None
    study_uid: str | None = None
    begin: Utc | None = None
    end: Utc | None = None
    topics: tuple[str, ...] = ()
    model: str | None = None
    policy: str | None = Field(default=None, description="The configuration whose rules these are")
    rules: dict[Site, SiteRules] | None = Field(default=None, description="As the policy has them; None: those of then")
    infer: bool = False
    speed: Annotated[float, Field(gt=0)] | None = Field(default=None, description="Times the pace of then")
    workers: Annotated[int, Field(ge=1, le=64)] = 1

    @property
    def until(self) -> datetime:
        """Where the record ends for this run: what is under way at that moment is not there as a whole."""
        return min(self.end or self.begun_at, self.begun_at - MARGIN)

    @property
    def until_ms(self) -> int:
        """The same in milliseconds since the epoch."""
        return int(self.until.timestamp() * 1000)

    @property
    def differs(self) -> tuple[str, ...]:
        """In what it differs from then."""
        model = (f"model {self.model}",) if self.model else ()
        policy = (f"policy {self.policy} ({self._policy_digest})",) if self.policy else ()
        return (*model, *policy, *(("new readings",) if self.infer else ()))

    @property
    def _policy_digest(self) -> str:
        rules = {site: one.model_dump(mode="json") for site, one in (self.rules or {}).items()}
        return sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:12]


class Decision(NamedTuple):
    """What came of a study."""

    study_key: str
    compared: Compared
    steps: int
    said: Sequence[Event]
    """What the hops sent this time."""


class Run:
    """See the module. Several processes may have it open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._db = sqlite3.connect(folder / FILE, isolation_level=None, timeout=60.0)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def begin(self, options: Options) -> None:
        """Write down what a new run is about."""
        self._db.executescript(_SCHEMA)
        with self._transaction():
            self._db.execute("INSERT INTO options VALUES (?)", (options.model_dump_json(),))
            self._db.execute(f"PRAGMA user_version={VERSION}")

    @property
    def begun(self) -> bool:
        """Whether it got as far as saying what it is about."""
        return bool(self._db.execute("PRAGMA user_version").fetchone()[0])

    @property
    def options(self) -> Options:
        """What it is about. Raises :class:`UsageError` for a run of another version."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise UsageError(f"{self.folder} was made by another version of sinsok: begin a new run")
        (text,) = self._db.execute("SELECT json FROM options").fetchone()
        return Options.model_validate_json(text)

    # --- the record ---------------------------------------------------------------------------------------------------

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset to take of each partition."""
        rows = self._db.execute("SELECT topic, partition, next FROM positions")
        return {(topic, partition): after for topic, partition, after in rows}

    def keep(
        self,
        records: Iterable[tuple[str, Recorded]],
        positions: dict[tuple[str, int], int],
        identities: Iterable[PortAnswer],
    ) -> None:
        """Take records into the run, by study key, and note where to go on."""
        records = list(records)
        steps = sum(one.type == StepTaken.TYPE for _, one in records)
        with self._transaction():
            self._db.execute("INSERT INTO counts VALUES (?, ?)", (len(records), steps))
            for key, one in records:
                self._db.execute(
                    "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (one.topic, one.partition, one.offset, one.timestamp_ms, key, one.type, one.value),
                )
                self._db.execute(
                    "INSERT INTO studies (study_key, first_ms) VALUES (?, ?)"
                    " ON CONFLICT DO UPDATE SET first_ms = min(first_ms, excluded.first_ms)",
                    (key, one.timestamp_ms),
                )
            self._db.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)",
                [(*place, after) for place, after in positions.items()],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO identities VALUES (?, ?)",
                [(answer.asked, answer.model_dump_json()) for answer in identities],
            )

    def collected(self) -> bool:
        """Whether the whole record of the period is in."""
        return self._db.execute("SELECT 1 FROM done WHERE what = 'collected'").fetchone() is not None

    def end_of_record(self) -> None:
        """The whole record of the period is in."""
        with self._transaction():
            self._db.execute(_INDEX)
            self._db.execute("INSERT OR IGNORE INTO done VALUES ('collected')")

    def identities(self) -> dict[str, PortAnswer]:
        """Which model versions were served, by the question."""
        rows = self._db.execute("SELECT asked, answer FROM identities")
        return {asked: PortAnswer.model_validate_json(answer) for asked, answer in rows}

    def records_of(self, study_key: str) -> list[Recorded]:
        """All that is recorded of a study."""
        query = "SELECT topic, partition, offset, timestamp_ms, type, value FROM records WHERE study_key = ?"
        return [Recorded(*row) for row in self._db.execute(query, (study_key,))]

    # --- the studies --------------------------------------------------------------------------------------------------

    def open_studies(self, part: int, parts: int) -> list[tuple[str, int]]:
        """Studies that are to be decided again in a part of the work, oldest first, with their first timestamp."""
        query = "SELECT study_key, first_ms FROM studies WHERE compared IS NULL ORDER BY first_ms, study_key"
        return [(key, first) for key, first in self._db.execute(query) if int(key[:8], 16) % parts == part]

    def first_ms(self) -> int:
        """The oldest timestamp of any study that is to be decided again."""
        return int(self._db.execute("SELECT min(first_ms) FROM studies WHERE compared IS NULL").fetchone()[0] or 0)

    def decided(self, decisions: Iterable[Decision]) -> None:
        """Write down what came of studies."""
        with self._transaction():
            for key, compared, steps, said in decisions:
                self._db.execute(
                    "UPDATE studies SET compared = ?, steps = ? WHERE study_key = ?",
                    (compared.model_dump_json(), steps, key),
                )
                self._db.executemany(
                    "INSERT OR REPLACE INTO said VALUES (?, ?, ?, ?, ?)",
                    [(key, number, topic_of(one), one.key, one.model_dump_json()) for number, one in enumerate(said)],
                )

    def progress(self) -> tuple[int, int, int]:
        """Records taken in, studies known, studies decided."""
        (records,) = self._db.execute("SELECT total(records) FROM counts").fetchone()
        studies, decided = self._db.execute("SELECT count(*), count(compared) FROM studies").fetchone()
        return int(records), studies, decided

    def steps(self) -> int:
        """Steps in the record."""
        return int(self._db.execute("SELECT total(steps) FROM counts").fetchone()[0])

    def results(self) -> Iterator[tuple[str, Compared]]:
        """What came of each study, by its key."""
        for key, text in self._db.execute("SELECT study_key, compared FROM studies ORDER BY study_key"):
            if text is not None:
                yield key, Compared.model_validate_json(text)

    def said(self) -> Iterator[tuple[str, str, str]]:
        """What the hops sent this time, study by study: topic, key and value of each event."""
        yield from self._db.execute("SELECT topic, key, value FROM said ORDER BY study_key, number")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
