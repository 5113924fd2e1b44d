"""Who is owed which message and what became of it, on disk: a page once taken off the topic is not lost.

Every message has a key, which is also its idempotency key on the wire: of a page the alert, the attempt and the
recipient. A key stands here once, so an event that is read again changes nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

import structlog
from pydantic import ValidationError

from gateways.alerts.channel import Kind
from gateways.outbox.database import OutboxDatabase
from schemas.base import utc
from schemas.envelope import encode
from schemas.events import AlertEvent, AlertWithdrawn
from schemas.paging import AlertDeferred, AlertDelivered, AlertHandedOn, AlertPaged, AlertUndelivered
from schemas.topics import alerts

log = structlog.get_logger()

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS owed (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    site TEXT NOT NULL,
    recipient TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    attempt INTEGER,
    shift TEXT,
    digest TEXT,
    event BLOB NOT NULL,
    rank INTEGER NOT NULL,
    due_at REAL NOT NULL,
    give_up_at REAL NOT NULL,
    state TEXT NOT NULL,
    tried INTEGER NOT NULL DEFAULT 0,
    failures TEXT NOT NULL DEFAULT '{}',
    reason TEXT NOT NULL DEFAULT '',
    ended_at REAL
);
CREATE INDEX IF NOT EXISTS owed_due ON owed (site, recipient, rank, id) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS owed_of_alert ON owed (alert_id);
CREATE INDEX IF NOT EXISTS owed_of_shift ON owed (site, shift) WHERE shift IS NOT NULL;
CREATE INDEX IF NOT EXISTS owed_of_digest ON owed (digest) WHERE digest IS NOT NULL;
CREATE TABLE IF NOT EXISTS ended (
    alert_id TEXT PRIMARY KEY,
    how TEXT NOT NULL,
    replaced_by TEXT,
    at REAL NOT NULL
) WITHOUT ROWID;
"""
_BEST_EFFORT_S: Final = 3600.0
"""So long a withdrawal or a digest is tried. No event tells of it: nobody else would be asked in its place."""
_LEAST_URGENT: Final = 100


class State(StrEnum):
    """Where a message stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    DEFERRED = "deferred"
    """The digest tells of it."""
    OVER = "over"
    """The alert was withdrawn, taken or closed before it went out."""


class Failure(NamedTuple):
    """How a channel failed for a message."""

    reason: str
    refused: bool
    """The channel is not tried again for it."""


@dataclass(frozen=True)
class Owed:
    """A message that a recipient is to get, as it stands in the ledger. What is derived raises where it is no JSON."""

    id: int
    key: str
    kind: Kind
    site: str
    recipient: str
    alert_id: str
    attempt: int | None
    """Of a page."""
    event: bytes
    """What it is about: of a withdrawal :class:`AlertWithdrawn`, of a page and a digest :class:`AlertPaged`."""
    give_up_at: float
    tried: bool
    """Whether it may have reached the recipient."""
    failed: str

    @property
    def failures(self) -> dict[str, Failure]:
        """By channel."""
        return {channel: Failure(*failure) for channel, failure in json.loads(self.failed).items()}

    @property
    def study_uid(self) -> str:
        """The study."""
        return str(json.loads(self.event)["study_uid"])

    @property
    def revision(self) -> int:
        """Of the study."""
        return int(json.loads(self.event)["revision"])


class Ledger(OutboxDatabase):
    """See the module. Every method raises ``sqlite3.Error`` where the disk or the file fails."""

    SCHEMA = _SCHEMA

    # --- taking: in a transaction ----------------------------------------------------------------------------------

    def knows(self, page: AlertPaged) -> bool:
        """Whether the page was taken before."""
        return bool(self._count("owed WHERE key = ?", _key(page, page.recipients[0])))

    def has_ended(self, page: AlertPaged) -> bool:
        """Whether the alert was taken, dismissed, closed or withdrawn: nobody is told of it any more."""
        return bool(self._count("ended WHERE alert_id = ?", page.key))

    def owe(self, page: AlertPaged, recipient: str, now: float, shift: str | None) -> None:
        """Note that a page is owed to a recipient; it is over at once where its alert has ended before."""
        self._add_page(page, recipient, State.OVER if self.has_ended(page) else State.WAITING, now, shift=shift)

    def refuse(self, page: AlertPaged, recipient: str, now: float, reason: str) -> None:
        """There is no way to the recipient."""
        self._add_page(page, recipient, State.UNDELIVERED, now, reason=reason)
        self._send(AlertUndelivered(**_fields(page, now), attempt=page.attempt, recipient=recipient, reason=reason))

    def defer(self, page: AlertPaged, now: float, until: float, reason: str) -> None:
        """Hold a page back for the digests of its recipients, and say so."""
        for recipient in page.recipients:
            digest = f"{page.site}/digest/{utc(until):%Y%m%dT%H%M}/{recipient}"
            self._add_page(page, recipient, State.DEFERRED, now, digest=digest, reason=reason)
            self._add(digest, Kind.DIGEST, page, recipient, due_at=until, give_up_at=until + _BEST_EFFORT_S)
        self._send(AlertDeferred(**_fields(page, now), attempt=page.attempt, until=utc(until), reason=reason))

    def pages_of(self, site: str, shift: str) -> int:
        """How many pages count against a shift's budget: those that went out, or are about to."""
        return self._count(
            "(SELECT DISTINCT alert_id, attempt FROM owed WHERE site = ? AND shift = ?"
            " AND state IN ('waiting', 'delivered'))",
            site,
            shift,
        )

    def end_alert(self, event: AlertEvent, now: float, replaced_by: str | None = None) -> None:
        """The alert is taken, dismissed, closed or withdrawn: what has not gone out yet, or is still to come, does not.

        Nothing comes after a withdrawal, and nobody takes what has ended.
        """
        how = type(event).__name__
        self._db.execute(
            "INSERT INTO ended (alert_id, how, replaced_by, at) VALUES (?, ?, ?, ?) ON CONFLICT (alert_id) DO UPDATE"
            " SET how = excluded.how, replaced_by = excluded.replaced_by, at = excluded.at"
            " WHERE how != 'AlertWithdrawn' AND excluded.how != 'AlertAcknowledged'",
            (event.key, how, replaced_by, now),
        )
        self._db.execute(
            "UPDATE owed SET state = 'over', reason = ?, ended_at = ? WHERE alert_id = ? AND kind = 'page'"
            " AND state IN ('waiting', 'deferred')",
            (how, now, event.key),
        )

    def hand_on(self, event: AlertHandedOn) -> list[str]:
        """Nobody has the alert any more; the recipients of pages that wait again.

        Those are of what was read once more after a crash: its acknowledgement came again, the pages behind do not.
        """
        self._db.execute("DELETE FROM ended WHERE alert_id = ? AND how = 'AlertAcknowledged'", (event.key,))
        again = self._rows(
            "UPDATE owed SET state = 'waiting', reason = '', ended_at = NULL WHERE alert_id = ? AND attempt > ?"
            " AND kind = 'page' AND state = 'over' AND reason = 'AlertAcknowledged' RETURNING recipient",
            event.key,
            event.attempt,
        )
        return [recipient for (recipient,) in again]

    def withdraw(self, event: AlertWithdrawn, now: float) -> list[str]:
        """The alert does not stand any more; the recipients who are told so, none where another alert took over.

        These are all whom a page may have reached, of this alert or of one that it took over from: of a request without
        an answer nobody knows. The topics of two alerts come in any order.
        """
        self.end_alert(event, now, str(event.replaced_by) if event.replaced_by else None)
        last = self._rows(
            "WITH RECURSIVE later (alert_id) AS (VALUES (?) UNION SELECT replaced_by FROM ended JOIN later"
            " USING (alert_id) WHERE replaced_by IS NOT NULL) SELECT alert_id FROM later JOIN ended USING (alert_id)"
            " WHERE how = 'AlertWithdrawn' AND replaced_by IS NULL",
            event.key,
        )
        if not last:
            return []
        ((alert,),) = last
        told = self._rows(
            "WITH RECURSIVE earlier (alert_id) AS (VALUES (?) UNION SELECT ended.alert_id FROM ended JOIN earlier"
            " ON replaced_by = earlier.alert_id) SELECT DISTINCT recipient FROM owed JOIN earlier USING (alert_id)"
            " WHERE tried AND kind = 'page'",
            alert,
        )
        return [
            recipient
            for (recipient,) in told
            if self._add(
                f"{alert}/withdrawn/{recipient}",
                Kind.WITHDRAWAL,
                event,
                recipient,
                due_at=now,
                give_up_at=now + _BEST_EFFORT_S,
            )
        ]

    # --- what is to be done ----------------------------------------------------------------------------------------

    def due(self, site: str, recipient: str, now: float) -> Owed | None:
        """The message to send next: the most urgent page, then the oldest."""
        rows = self._rows(
            "SELECT id, key, kind, site, recipient, alert_id, attempt, event, give_up_at, tried, failures FROM owed"
            " WHERE site = ? AND recipient = ? AND state = 'waiting' AND due_at <= ? ORDER BY rank, id LIMIT 1",
            site,
            recipient,
            now,
        )
        return next((Owed(number, key, Kind(kind), *rest) for number, key, kind, *rest in rows), None)

    def next_due_at(self, site: str, recipient: str) -> float | None:
        """When something is to be sent, if nothing new comes; None where nothing waits."""
        ((at,),) = self._rows(
            "SELECT min(due_at) FROM owed WHERE site = ? AND recipient = ? AND state = 'waiting'", site, recipient
        )
        return None if at is None else float(at)

    def deferred(self, digest: Owed) -> list[AlertPaged]:
        """The pages that a digest tells of; those whose alerts are over are left out, and what cannot be read."""
        rows = self._rows("SELECT key, event FROM owed WHERE digest = ? AND state = 'deferred' ORDER BY id", digest.key)
        pages = []
        for key, event in rows:
            try:
                pages.append(AlertPaged.model_validate_json(event))
            except ValidationError:
                log.error("page cannot be read, the digest goes without it", message=key)
        return pages

    # --- what became of it -----------------------------------------------------------------------------------------

    def trying(self, owed: Owed) -> bool:
        """From now on it may have reached the recipient; False where it is not to be sent any more."""
        with self.transaction():
            tried = self._db.execute(
                "UPDATE owed SET tried = 1 WHERE id = ? AND state = 'waiting'", (owed.id,)
            ).rowcount
            self._db.execute("UPDATE owed SET tried = 1 WHERE digest = ? AND state = 'deferred'", (owed.key,))
        return bool(tried)

    def put_off(self, owed: Owed, until: float, failures: Mapping[str, Failure]) -> None:
        """Try it again then."""
        with self.transaction():
            self._db.execute(
                "UPDATE owed SET due_at = ?, failures = ? WHERE id = ?", (until, json.dumps(failures), owed.id)
            )

    def arrived(self, owed: Owed, channel: str, answer: str, now: float) -> None:
        """A far side has it, which holds as well where the alert has ended in the meantime."""
        with self.transaction():
            self._end(owed, State.DELIVERED, f"{channel}: {answer}", now)
            if owed.kind is Kind.PAGE:
                self._say(AlertDelivered, owed, now, channel=channel, answer=answer)

    def undelivered(self, owed: Owed, reason: str, now: float, *, tried: bool = True) -> None:
        """Nothing more is tried; that is said of a page, unless its alert has ended in the meantime."""
        with self.transaction():
            if self._end(owed, State.UNDELIVERED, reason, now) and owed.kind is Kind.PAGE:
                self._say(AlertUndelivered, owed, now, reason=reason, tried=tried)

    def drop(self, owed: Owed, now: float) -> None:
        """There is nothing to say any more."""
        with self.transaction():
            self._end(owed, State.OVER, "", now)

    # --- forgetting ------------------------------------------------------------------------------------------------

    def forget(self, before: float) -> int:
        """Forget what ended before a time, or was for who is no recipient any more; how many messages that were."""
        with self.transaction():
            self._db.execute("DELETE FROM ended WHERE at < ?", (before,))
            return self._db.execute("DELETE FROM owed WHERE ended_at < ? OR give_up_at < ?", (before, before)).rowcount

    # --- inside ----------------------------------------------------------------------------------------------------

    def _add_page(
        self,
        page: AlertPaged,
        recipient: str,
        state: State,
        now: float,
        *,
        shift: str | None = None,
        digest: str | None = None,
        reason: str = "",
    ) -> None:
        self._add(
            _key(page, recipient),
            Kind.PAGE,
            page,
            recipient,
            due_at=now,
            give_up_at=page.deliver_by.timestamp(),
            attempt=page.attempt,
            rank=page.priority.rank,
            state=state,
            shift=shift,
            digest=digest,
            reason=reason,
            ended_at=None if state is State.WAITING else now,
        )

    def _add(
        self,
        key: str,
        kind: Kind,
        event: AlertEvent,
        recipient: str,
        *,
        due_at: float,
        give_up_at: float,
        state: State = State.WAITING,
        rank: int = _LEAST_URGENT,
        **more: object,
    ) -> bool:
        row = {
            "key": key,
            "kind": kind,
            "site": event.site,
            "recipient": recipient,
            "alert_id": event.key,
            "event": event.model_dump_json().encode(),
            "rank": rank,
            "due_at": due_at,
            "give_up_at": give_up_at,
            "state": state,
            **more,
        }
        added = self._db.execute(
            f"INSERT OR IGNORE INTO owed ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
            tuple(row.values()),
        )
        return bool(added.rowcount)

    def _end(self, owed: Owed, state: State, reason: str, now: float) -> bool:
        """Whether it was still waiting."""
        waited = self._count("owed WHERE id = ? AND state = 'waiting'", owed.id)
        if waited or state is State.DELIVERED:
            self._db.execute(
                "UPDATE owed SET state = ?, reason = ?, ended_at = ? WHERE id = ?", (state, reason, now, owed.id)
            )
        return bool(waited)

    def _say(self, kind: type[AlertDelivered | AlertUndelivered], owed: Owed, now: float, **said: object) -> None:
        """What became of a page. It has ended, whether that can be said or not."""
        try:
            event = kind(**_fields(owed, now), attempt=owed.attempt, recipient=owed.recipient, **said)
        except (ValueError, KeyError, TypeError) as error:
            log.error("page cannot be read, no event tells of its end", message=owed.key, error=type(error).__name__)
        else:
            self._send(event)

    def _send(self, event: AlertEvent) -> None:
        self.post(alerts(event.site).name, encode(event), event.time.timestamp())


def _key(page: AlertPaged, recipient: str) -> str:
    return f"{page.alert_id}/{page.attempt}/{recipient}"


def _fields(about: AlertPaged | Owed, now: float) -> dict[str, Any]:
    """What every event about a page has."""
    return {
        "time": utc(now),
        "site": about.site,
        "study_uid": about.study_uid,
        "alert_id": about.alert_id,
        "revision": about.revision,
    }
