"""What is owed to each destination and what became of it, on disk: a result once taken off the topic is not lost.

A *destination* is one system of one site (``suwon/pacs``, ``suwon/hl7``). A *delivery* is one result for one of them.
Of a study's deliveries to a destination one is under way at a time, in the order of their rank: revision first, and
within a revision the confirmed result above the unconfirmed one.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from gateways.delivery.weight import Weight, weight_of
from gateways.outbox.database import OutboxDatabase
from schemas.deliveries import DeliveryEvent, WrittenObject
from schemas.envelope import encode
from schemas.events import Priority, StudyTriaged
from schemas.topics import DELIVERIES

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS delivery (
    id INTEGER PRIMARY KEY,
    destination TEXT NOT NULL,
    study_key TEXT NOT NULL,
    result TEXT NOT NULL,
    revision INTEGER NOT NULL,
    confirmed INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    event BLOB NOT NULL,
    taken_at REAL NOT NULL,
    state TEXT NOT NULL,
    resent INTEGER NOT NULL DEFAULT 0,
    proofs INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    objects TEXT NOT NULL DEFAULT '[]',
    standing TEXT NOT NULL DEFAULT '[]',
    replaces TEXT,
    told TEXT,
    ended_at REAL,
    UNIQUE (destination, result)
);
CREATE INDEX IF NOT EXISTS delivery_of_study ON delivery (destination, study_key);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (destination, due_at) WHERE state IN ('waiting', 'sending', 'held');
CREATE INDEX IF NOT EXISTS delivery_stored ON delivery (destination, due_at) WHERE state = 'stored';
CREATE INDEX IF NOT EXISTS delivery_open ON delivery (destination, state, taken_at) WHERE ended_at IS NULL;
CREATE TABLE IF NOT EXISTS commitment (
    transaction_uid TEXT NOT NULL,
    delivery INTEGER NOT NULL,
    PRIMARY KEY (transaction_uid, delivery)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS commitment_of ON commitment (delivery);
"""
_DELIVERY: Final = (
    "id, destination, study_key, event, state, resent, proofs, tries, reason, objects, replaces, taken_at"
)
_OVERTAKES: Final = (
    "other.destination = one.destination AND other.study_key = one.study_key"
    " AND (other.revision, other.confirmed, other.id) > (one.revision, one.confirmed, one.id)"
    f" AND (other.weight = {Weight.STANDS:d} AND other.confirmed >= one.confirmed"
    f" OR other.weight >= {Weight.LOOKED:d} AND other.revision = one.revision AND other.confirmed > one.confirmed)"
)
"""Whether a delivery makes another one needless. One that says nothing, or has yet to be confirmed, takes no place."""
_CLEARED: Final = "event = CASE WHEN told IS NULL THEN x'' ELSE event END"
"""What a worklist was told may have to be taken back by name; no other result is needed once it has ended."""


class State(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    """Nothing was sent yet."""
    SENDING = "sending"
    """What is to be sent is fixed, and some of it may have arrived."""
    STORED = "stored"
    """All of it was accepted; the proof is to come."""
    HELD = "held"
    """It must not be written now; it is looked at again."""
    DONE = "done"
    REJECTED = "rejected"
    """A person has to look."""
    SUPERSEDED = "superseded"
    """A newer result has taken its place."""
    NOTHING = "nothing"
    """The site wants nothing written for such a result."""
    DISMISSED = "dismissed"
    """A person decided that it is not to be written."""


OPEN: Final = (State.WAITING, State.SENDING, State.STORED, State.HELD)


@dataclass(frozen=True)
class Delivery:
    """One result for one destination."""

    id: int
    destination: str
    study_key: str
    result: StudyTriaged
    state: State
    resent: int
    """How often it was sent again because the PACS did not have what it had accepted."""
    proofs: int
    """How often its proof was asked for without an answer."""
    tries: int
    """How often the PACS failed over it since it was begun, or since it was stored."""
    reason: str
    objects: tuple[WrittenObject, ...]
    """What was written or is to be, once that is fixed."""
    replaces: UUID | None
    """The result whose objects these replace."""
    taken_at: float


class Written(NamedTuple):
    """What there is of a study at a destination: what the last result was written as, and what it left in use."""

    result: UUID
    objects: tuple[WrittenObject, ...]


class Told(NamedTuple):
    """What a worklist was last told of a study."""

    priority: Priority
    result: StudyTriaged


@dataclass(frozen=True)
class Backlog:
    """What is open at a destination."""

    states: Mapping[State, int]
    oldest_at: float | None
    """When the oldest of those not held was taken, seconds since the epoch."""


class Ledger(OutboxDatabase):
    """See the module. Every method raises ``sqlite3.Error`` where the disk or the file fails."""

    SCHEMA = _SCHEMA

    # --- taking ----------------------------------------------------------------------------------------------------

    def owe(self, destination: str, result: StudyTriaged, now: float) -> bool:
        """Note that a result is owed to a destination; whether that is new. Call it in a transaction.

        One whose place another took before it came is noted as superseded.
        """
        added = self._db.execute(
            "INSERT INTO delivery (destination, study_key, result, revision, confirmed, weight, event, taken_at, state,"
            " due_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'waiting', ?) ON CONFLICT DO NOTHING",
            (
                destination,
                result.key,
                str(result.event_id),
                result.revision,
                not result.unconfirmed,
                weight_of(result),
                result.model_dump_json().encode(),
                now,
                now,
            ),
        )
        if not added.rowcount:
            return False
        late = self._db.execute(
            "UPDATE delivery AS one SET state = 'superseded', event = x'', ended_at = ? WHERE id = ?"  # noqa: S608
            f" AND EXISTS (SELECT 1 FROM delivery AS other WHERE {_OVERTAKES})",
            (now, added.lastrowid),
        )
        return not late.rowcount

    # --- what is to be done ----------------------------------------------------------------------------------------

    def due(self, destination: str, now: float, limit: int, busy: Collection[str] = ()) -> list[Delivery]:
        """Deliveries to work on, those due longest first: of each study that is not ``busy`` the one of least rank."""
        rows = self._rows(
            f"SELECT {_DELIVERY} FROM delivery AS one WHERE destination = ? AND due_at <= ?"  # noqa: S608
            f" AND study_key NOT IN ({_marks(busy)})"
            " AND state IN ('waiting', 'sending', 'held') AND NOT EXISTS ("
            "  SELECT 1 FROM delivery AS other WHERE other.destination = one.destination"
            "  AND other.study_key = one.study_key AND other.state IN ('waiting', 'sending', 'held')"
            "  AND (other.revision, other.confirmed, other.id) < (one.revision, one.confirmed, one.id))"
            " ORDER BY due_at, id LIMIT ?",
            destination,
            now,
            *busy,
            limit,
        )
        return [_delivery(row) for row in rows]

    def next_due_at(self, destination: str) -> float | None:
        """When something is to be done again there, if nothing new comes; None where nothing is open."""
        ((at,),) = self._rows(
            "SELECT min(due_at) FROM delivery WHERE destination = ? AND ended_at IS NULL", destination
        )
        return None if at is None else float(at)

    def overtaken(self, delivery: Delivery) -> bool:
        """Whether another result, newer or of a second reading, has taken its place."""
        return bool(
            self._rows(
                f"SELECT 1 FROM delivery AS one, delivery AS other WHERE one.id = ? AND {_OVERTAKES} LIMIT 1",  # noqa: S608
                delivery.id,
            )
        )

    def is_open(self, delivery: Delivery) -> bool:
        """Whether anything is still to be done for it."""
        return bool(self._rows("SELECT 1 FROM delivery WHERE id = ? AND ended_at IS NULL", delivery.id))

    def current(self, delivery: Delivery) -> Written | None:
        """What there is of the study at the destination before this delivery; None where nothing was written."""
        return self._written("id != ?", delivery)

    def left_by(self, delivery: Delivery) -> Written | None:
        """What there is, with what an earlier try of this delivery left there."""
        return self._written("id != ? OR state = 'waiting'", delivery)

    def _written(self, which: str, delivery: Delivery) -> Written | None:
        rows = self._rows(
            "SELECT result, objects, standing FROM delivery WHERE destination = ? AND study_key = ?"  # noqa: S608
            f" AND ({which}) AND (objects != '[]' OR standing != '[]')"
            " ORDER BY revision DESC, confirmed DESC, id DESC LIMIT 1",
            delivery.destination,
            delivery.study_key,
            delivery.id,
        )
        return Written(UUID(rows[0][0]), (*_objects(rows[0][1]), *_objects(rows[0][2]))) if rows else None

    # --- what became of it -----------------------------------------------------------------------------------------

    def fix(
        self,
        delivery: Delivery,
        objects: Sequence[WrittenObject],
        replaces: UUID | None,
        standing: Sequence[WrittenObject] = (),
    ) -> None:
        """From now on these objects are sent for it, and no others; ``standing`` ones stay in use beside them."""
        with self.transaction():
            self._db.execute(
                "UPDATE delivery SET state = 'sending', tries = 0, objects = ?, replaces = ?, standing = ?"
                " WHERE id = ? AND ended_at IS NULL",
                (_objects_json(objects), str(replaces) if replaces else None, _objects_json(standing), delivery.id),
            )

    def put_off(self, delivery: Delivery, until: float, reason: str) -> None:
        """Try it again then: the destination is away."""
        with self.transaction():
            self._db.execute("UPDATE delivery SET due_at = ?, reason = ? WHERE id = ?", (until, reason, delivery.id))

    def try_again(self, delivery: Delivery, until: float, reason: str) -> None:
        """Try it again then: the destination answered, and failed over this one. The try counts."""
        with self.transaction():
            self._db.execute(
                "UPDATE delivery SET due_at = ?, reason = ?, tries = tries + 1, proofs = 0 WHERE id = ?",
                (until, reason, delivery.id),
            )
            self._forget_questions(delivery)

    def hold(self, delivery: Delivery, until: float, reason: str, event: DeliveryEvent) -> None:
        """Look at it again then; the event is sent where the reason is a new one."""
        with self.transaction():
            self._db.execute(
                "UPDATE delivery SET state = 'held', due_at = ?, reason = ? WHERE id = ? AND ended_at IS NULL",
                (until, reason, delivery.id),
            )
            if (delivery.state, delivery.reason) != (State.HELD, reason):
                self._send(event)

    def release(self, delivery: Delivery, now: float) -> None:
        """It may be written again."""
        with self.transaction():
            self._db.execute(
                "UPDATE delivery SET state = CASE objects WHEN '[]' THEN 'waiting' ELSE 'sending' END, due_at = ?"
                " WHERE id = ? AND state = 'held'",
                (now, delivery.id),
            )

    def stored(self, delivery: Delivery, prove_at: float) -> None:
        """All its objects were accepted; the proof is to be asked for from then on."""
        with self.transaction():
            self._db.execute(
                "UPDATE delivery SET state = 'stored', tries = 0, due_at = ? WHERE id = ? AND ended_at IS NULL",
                (prove_at, delivery.id),
            )

    def end(
        self,
        delivery: Delivery,
        state: State,
        now: float,
        *,
        reason: str = "",
        event: DeliveryEvent | None = None,
        objects: Sequence[WrittenObject] | None = None,
        standing: Sequence[WrittenObject] | None = None,
        told: Priority | None = None,
    ) -> bool:
        """Nothing more is to be done for it, and this is what is said of it; False, and nothing, if it has ended.

        ``objects`` and ``standing`` are what there is of it now, where that is not what was fixed. Older ones of the
        study that were rejected need nobody any more once a newer one is there.
        """
        with self.transaction():
            ended = self._db.execute(
                "UPDATE delivery SET state = ?, reason = ?, ended_at = ?, told = coalesce(?, told),"
                " objects = coalesce(?, objects), standing = coalesce(?, standing),"
                # A rejected one may be tried again, and what was told may have to be taken back by name.
                " event = CASE WHEN ? OR told IS NOT NULL THEN event ELSE x'' END WHERE id = ? AND ended_at IS NULL",
                (
                    state,
                    reason,
                    now,
                    told,
                    None if objects is None else _objects_json(objects),
                    None if standing is None else _objects_json(standing),
                    state is State.REJECTED or told is not None,
                    delivery.id,
                ),
            ).rowcount
            if ended and state is State.DONE:
                self._db.execute(
                    f"UPDATE delivery AS one SET state = 'superseded', {_CLEARED} WHERE state = 'rejected' AND EXISTS"  # noqa: S608
                    f" (SELECT 1 FROM delivery AS other WHERE other.id = ? AND {_OVERTAKES})",
                    (delivery.id,),
                )
            if ended and event is not None:
                self._send(event)
        return bool(ended)

    def retry(self, destinations: Collection[str], now: float) -> int:
        """Open again what was rejected and no other has taken the place of; how many.

        What was accepted of it stays noted: the new try replaces that.
        """
        with self.transaction():
            return self._db.execute(
                "UPDATE delivery AS one SET state = 'waiting', due_at = ?, resent = 0, proofs = 0, tries = 0,"  # noqa: S608
                " ended_at = NULL WHERE state = 'rejected' AND event != x''"
                f" AND destination IN ({_marks(destinations)})"
                f" AND NOT EXISTS (SELECT 1 FROM delivery AS other WHERE {_OVERTAKES})",
                (now, *destinations),
            ).rowcount

    def dismiss(self, study_uid: str, destinations: Collection[str], now: float) -> int:
        """Nothing more is to be done for what is held or rejected of a study: a person says so; how many that were."""
        with self.transaction():
            ids = [
                row[0]
                for row in self._rows(
                    "SELECT id, event FROM delivery WHERE state IN ('held', 'rejected') AND event != x''"  # noqa: S608
                    f" AND destination IN ({_marks(destinations)})",
                    *destinations,
                )
                if StudyTriaged.model_validate_json(row[1]).study_uid == study_uid
            ]
            for number in ids:
                self._db.execute(
                    f"UPDATE delivery SET state = 'dismissed', {_CLEARED}, ended_at = ? WHERE id = ?",  # noqa: S608
                    (now, number),
                )
            return len(ids)

    # --- proof -----------------------------------------------------------------------------------------------------

    def unproven(self, destination: str, now: float, limit: int) -> list[Delivery]:
        """Stored deliveries whose proof is to be asked for now."""
        rows = self._rows(
            f"SELECT {_DELIVERY} FROM delivery WHERE destination = ? AND state = 'stored' AND due_at <= ?"  # noqa: S608
            " ORDER BY due_at, id LIMIT ?",
            destination,
            now,
            limit,
        )
        return [_delivery(row) for row in rows]

    def asked(self, transaction_uid: str, deliveries: Iterable[Delivery], again_at: float) -> None:
        """A commitment to these is about to be asked for; without an answer it is asked for again then."""
        with self.transaction():
            for delivery in deliveries:
                self._db.execute("INSERT OR IGNORE INTO commitment VALUES (?, ?)", (transaction_uid, delivery.id))
                self._db.execute(
                    "UPDATE delivery SET proofs = proofs + 1, due_at = ? WHERE id = ?", (again_at, delivery.id)
                )

    def ask_again(self, deliveries: Iterable[Delivery], at: float) -> None:
        """The question did not get through: it does not count."""
        with self.transaction():
            for delivery in deliveries:
                self._db.execute(
                    "UPDATE delivery SET proofs = ?, due_at = ? WHERE id = ? AND state = 'stored'",
                    (delivery.proofs, at, delivery.id),
                )

    def about(self, transaction_uid: str) -> list[Delivery]:
        """The stored deliveries that a commitment was asked for, and that wait for their proof."""
        rows = self._rows(
            f"SELECT {_DELIVERY} FROM delivery WHERE state = 'stored'"  # noqa: S608
            " AND id IN (SELECT delivery FROM commitment WHERE transaction_uid = ?) ORDER BY id",
            transaction_uid,
        )
        return [_delivery(row) for row in rows]

    def send_again(self, delivery: Delivery, at: float, reason: str) -> None:
        """The PACS does not have what it had accepted."""
        with self.transaction():
            self._db.execute(
                "UPDATE delivery SET state = 'sending', resent = resent + 1, proofs = 0, tries = 0, due_at = ?,"
                " reason = ? WHERE id = ? AND state = 'stored'",
                (at, reason, delivery.id),
            )
            self._forget_questions(delivery)

    # --- looking ---------------------------------------------------------------------------------------------------

    def told(self, delivery: Delivery) -> Told | None:
        """What the destination was told of the study before this delivery; None where it was told nothing."""
        rows = self._rows(
            "SELECT told, event FROM delivery WHERE destination = ? AND study_key = ? AND id != ?"
            " AND told IS NOT NULL ORDER BY ended_at DESC, id DESC LIMIT 1",
            delivery.destination,
            delivery.study_key,
            delivery.id,
        )
        return Told(Priority(rows[0][0]), StudyTriaged.model_validate_json(rows[0][1])) if rows else None

    def backlog(self, destination: str) -> Backlog:
        """What is open there."""
        rows = self._rows(
            "SELECT state, count(*), min(taken_at) FROM delivery WHERE destination = ? AND ended_at IS NULL"
            " GROUP BY state",
            destination,
        )
        since = [oldest for state, _, oldest in rows if state != State.HELD]
        return Backlog({State(state): count for state, count, _ in rows}, min(since, default=None))

    def rejected_count(self, destination: str) -> int:
        """How many a person has to look at."""
        return self._count("delivery WHERE destination = ? AND state = 'rejected'", destination)

    def in_states(self, states: Collection[State], limit: int = 1000) -> list[Delivery]:
        """Deliveries in some states, the newest first."""
        rows = self._rows(
            f"SELECT {_DELIVERY} FROM delivery WHERE state IN ({_marks(states)}) AND event != x''"  # noqa: S608
            " ORDER BY id DESC LIMIT ?",
            *states,
            limit,
        )
        return [_delivery(row) for row in rows]

    def destinations(self) -> list[str]:
        """Every destination that anything was ever owed to."""
        return [row[0] for row in self._rows("SELECT DISTINCT destination FROM delivery ORDER BY destination")]

    def forget(self, before: float) -> int:
        """Forget what ended before a time; how many that were."""
        with self.transaction():
            gone = self._db.execute("DELETE FROM delivery WHERE ended_at < ?", (before,)).rowcount
            self._db.execute("DELETE FROM commitment WHERE delivery NOT IN (SELECT id FROM delivery)")
            return gone

    def _forget_questions(self, delivery: Delivery) -> None:
        """A late answer to what was asked before says nothing about what is there now."""
        self._db.execute("DELETE FROM commitment WHERE delivery = ?", (delivery.id,))

    def _send(self, event: DeliveryEvent) -> None:
        self.post(DELIVERIES.name, encode(event), event.time.timestamp())


def _delivery(row: tuple) -> Delivery:  # type: ignore[type-arg]
    number, destination, study_key, event, state, resent, proofs, tries, reason, objects, replaces, taken_at = row
    return Delivery(
        number,
        destination,
        study_key,
        StudyTriaged.model_validate_json(event),
        State(state),
        resent,
        proofs,
        tries,
        reason,
        _objects(objects),
        UUID(replaces) if replaces else None,
        taken_at,
    )


def _objects(text: str) -> tuple[WrittenObject, ...]:
    return tuple(WrittenObject.model_validate(one) for one in json.loads(text))


def _objects_json(objects: Sequence[WrittenObject]) -> str:
    return json.dumps([one.model_dump(mode="json") for one in objects])


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))
