"""The gateway's memory: which instances are stored, which series an association has touched, what is to be published.

How it lies on disk, and the outbox in it, is gateways/outbox/database.py's.
"""

from dataclasses import dataclass
from typing import Final

from gateways.dicom.facts import Facts
from gateways.outbox.database import OutboxDatabase

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS instance (
    id INTEGER PRIMARY KEY,
    site TEXT NOT NULL,
    study_key TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    sop_uid TEXT NOT NULL,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    transfer_syntax TEXT NOT NULL,
    sending_ae TEXT NOT NULL,
    called_ae TEXT NOT NULL,
    received_at REAL NOT NULL,
    missing INTEGER NOT NULL DEFAULT 0,
    facts TEXT NOT NULL,
    UNIQUE (study_key, digest)
);
CREATE INDEX IF NOT EXISTS instance_of_series ON instance (study_key, series_uid);
CREATE INDEX IF NOT EXISTS instance_by_uid ON instance (study_key, sop_uid);
CREATE TABLE IF NOT EXISTS touched (
    association TEXT NOT NULL,
    study_key TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    idle INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (association, study_key, series_uid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS touched_series ON touched (study_key, series_uid);
CREATE TABLE IF NOT EXISTS batch (
    study_key TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    batch INTEGER NOT NULL,
    manifest TEXT NOT NULL,
    batch_end TEXT NOT NULL,
    open_associations INTEGER NOT NULL,
    PRIMARY KEY (study_key, series_uid)
) WITHOUT ROWID;
"""
_INSTANCE: Final = """id, site, study_key, digest, size_bytes, transfer_syntax, sending_ae, called_ae, received_at,
    missing, facts, EXISTS (
        SELECT 1 FROM instance AS other WHERE other.study_key = instance.study_key
        AND other.sop_uid = instance.sop_uid AND other.id < instance.id AND NOT other.missing
    )"""


@dataclass(frozen=True)
class StoredInstance:
    """An instance as the journal holds it. ``conflict``: another object with its UID is there and came first."""

    site: str
    study_key: str
    digest: str
    size_bytes: int
    transfer_syntax: str
    sending_ae: str
    called_ae: str
    received_at: float
    facts: Facts
    missing: bool = False
    conflict: bool = False


@dataclass(frozen=True)
class Batch:
    """What was last published of a series."""

    number: int
    manifest: str
    batch_end: str
    open_associations: int


class Journal(OutboxDatabase):
    """See the module. Every method raises ``sqlite3.Error`` where the disk or the file fails."""

    SCHEMA = _SCHEMA

    # --- instances -------------------------------------------------------------------------------------------------

    def add(self, instance: StoredInstance, association: str) -> bool:
        """Note an instance and that the association touched its series; whether it is new and a conflict.

        The same object again changes nothing, but brings a missing one back.
        """
        facts = instance.facts
        added = self._db.execute(
            "INSERT INTO instance (site, study_key, series_uid, sop_uid, digest, size_bytes, transfer_syntax,"
            " sending_ae, called_ae, received_at, facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (study_key, digest) DO NOTHING",
            (
                instance.site,
                instance.study_key,
                facts.series_uid,
                facts.sop_uid,
                instance.digest,
                instance.size_bytes,
                instance.transfer_syntax,
                instance.sending_ae,
                instance.called_ae,
                instance.received_at,
                facts.model_dump_json(exclude_defaults=True),
            ),
        ).rowcount
        if not added:
            self.set_missing(instance.study_key, instance.digest, missing=False)
        self.touch(association, instance.study_key, facts.series_uid)
        return (
            bool(added)
            and self._count(
                "instance WHERE study_key = ? AND sop_uid = ? AND NOT missing", instance.study_key, facts.sop_uid
            )
            > 1
        )

    def series(self, study_key: str, series_uid: str) -> list[StoredInstance]:
        """All instances of a series, oldest first, those whose file is gone included."""
        rows = self._rows(
            f"SELECT {_INSTANCE} FROM instance WHERE study_key = ? AND series_uid = ? ORDER BY id",  # noqa: S608
            study_key,
            series_uid,
        )
        return [_instance(row) for row in rows]

    def digests(self, study_key: str) -> dict[str, tuple[str, float, bool]]:
        """Of a study: digest of each object -> its series, when it was received, and whether it is missing."""
        rows = self._rows(
            "SELECT digest, series_uid, received_at, missing FROM instance WHERE study_key = ?", study_key
        )
        return {digest: (series_uid, at, bool(missing)) for digest, series_uid, at, missing in rows}

    def next_study(self, after: str) -> tuple[str, str] | None:
        """Site and key of the study whose key follows; None at the end."""
        rows = self._rows("SELECT site, study_key FROM instance WHERE study_key > ? ORDER BY study_key LIMIT 1", after)
        return rows[0] if rows else None

    def set_missing(self, study_key: str, digest: str, missing: bool) -> None:
        """Note that the file of an instance is gone, or there again."""
        self._db.execute(
            "UPDATE instance SET missing = ? WHERE study_key = ? AND digest = ?", (missing, study_key, digest)
        )

    # --- touched series --------------------------------------------------------------------------------------------

    def touch(self, association: str, study_key: str, series_uid: str) -> None:
        """Note that the association has changed something about a series that is not published yet."""
        self._db.execute(
            "INSERT INTO touched (association, study_key, series_uid) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET idle = 0",
            (association, study_key, series_uid),
        )

    def touched(self, association: str) -> list[tuple[str, str]]:
        """Study key and series UID of what the association has touched and may still add to."""
        return self._rows("SELECT study_key, series_uid FROM touched WHERE association = ?", association)

    def active(self, association: str) -> list[tuple[str, str]]:
        """Study key and series UID of what the association has touched since it was last idle."""
        return self._rows("SELECT study_key, series_uid FROM touched WHERE association = ? AND NOT idle", association)

    def touching(self) -> set[str]:
        """The associations that have touched anything."""
        return {row[0] for row in self._rows("SELECT DISTINCT association FROM touched")}

    def set_idle(self, association: str, study_key: str, series_uid: str) -> None:
        """The association has gone quiet: it no longer counts as sending this series."""
        self._db.execute(
            "UPDATE touched SET idle = 1 WHERE association = ? AND study_key = ? AND series_uid = ?",
            (association, study_key, series_uid),
        )

    def forget(self, association: str, study_key: str, series_uid: str) -> None:
        """The association is over, and what it touched of this series is published."""
        self._db.execute(
            "DELETE FROM touched WHERE association = ? AND study_key = ? AND series_uid = ?",
            (association, study_key, series_uid),
        )

    def others_sending(self, association: str, study_key: str, series_uid: str) -> int:
        """How many other associations are sending the series and have not gone quiet."""
        return self._count(
            "touched WHERE study_key = ? AND series_uid = ? AND association != ? AND NOT idle",
            study_key,
            series_uid,
            association,
        )

    # --- batches ----------------------------------------------------------------------------------------

    def last_batch(self, study_key: str, series_uid: str) -> Batch | None:
        """The newest published batch of a series."""
        rows = self._rows(
            "SELECT batch, manifest, batch_end, open_associations FROM batch WHERE study_key = ? AND series_uid = ?",
            study_key,
            series_uid,
        )
        return Batch(*rows[0]) if rows else None

    def study_batches(self, study_key: str) -> int:
        """How many batches of a study, over all its series, are published."""
        return int(self._rows("SELECT coalesce(sum(batch), 0) FROM batch WHERE study_key = ?", study_key)[0][0])

    def set_batch(self, study_key: str, series_uid: str, batch: Batch) -> None:
        """Note the newest published batch of a series."""
        self._db.execute(
            "INSERT OR REPLACE INTO batch VALUES (?, ?, ?, ?, ?, ?)",
            (study_key, series_uid, batch.number, batch.manifest, batch.batch_end, batch.open_associations),
        )


def _instance(row: tuple) -> StoredInstance:  # type: ignore[type-arg]
    _, site, study_key, digest, size, syntax, sending, called, at, missing, facts, conflict = row
    return StoredInstance(
        site,
        study_key,
        digest,
        size,
        syntax,
        sending,
        called,
        at,
        Facts.model_validate_json(facts),
        bool(missing),
        bool(conflict) and not missing,
    )
