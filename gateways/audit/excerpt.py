"""A study's part of a chain, with what proves it: paths to checkpoints that were signed at the time."""

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from gateways.audit import merkle
from gateways.audit.canonical import digest
from gateways.audit.chain import genuine
from gateways.audit.keys import Verifier
from gateways.kafka import Place, Record
from schemas.audit import Origin
from schemas.failures import Unreadable
from schemas.trail import LINK, Checkpoint

_CHECKPOINT: Final = b'"kind":"checkpoint"'


@dataclass(frozen=True)
class Proven:
    """An audit record as it stands, and the way from it to the root of a checkpoint; None where none signs it yet."""

    value: bytes
    where: Origin
    time_ms: int
    """Of the record it is about."""
    checkpoint: int | None
    path: tuple[merkle.Step, ...] = ()


class Excerpt:
    """Reads a chain in order, and keeps what is about a study."""

    def __init__(self, chain: str, study: str, verifier: Verifier) -> None:
        self._key = chain.encode()
        self._study = study.encode()
        self._verifier = verifier
        self._leaves: list[bytes] = []
        self._waiting: list[tuple[int, bytes]] = []
        self._proven: list[Proven] = []
        self.checkpoints: dict[int, bytes] = {}
        """Those that sign records of the study, as they stand, by sequence."""
        self.reached: dict[Place, int] = {}
        """Where to read on."""

    @property
    def unsigned(self) -> int:
        """How many records of the study no checkpoint signs yet."""
        return len(self._waiting)

    @property
    def records(self) -> list[Proven]:
        """All that is known of the study."""
        return self._proven + [_proven(value, None, ()) for _, value in self._waiting]

    def take(self, record: Record) -> None:
        """The next record of the trail. Raises :class:`Unreadable` where a checkpoint does not sign what it should."""
        self.reached[record.topic, record.partition] = record.offset + 1
        value = record.value or b""
        if record.key != self._key:
            return
        if _CHECKPOINT in value and (checkpoint := self._checkpoint(value, record)) is not None:
            self._sign(checkpoint, value, record)
            return
        if self._study in value:
            self._waiting.append((len(self._leaves), value))
        self._leaves.append(bytes.fromhex(digest(value).removeprefix("sha256:")))

    def _checkpoint(self, value: bytes, record: Record) -> Checkpoint | None:
        try:
            link = LINK.validate_json(value)
        except ValidationError:
            raise _broken(record, "it is no record of a chain") from None
        return link if isinstance(link, Checkpoint) else None

    def _sign(self, checkpoint: Checkpoint, value: bytes, record: Record) -> None:
        if self._waiting:
            if not genuine(checkpoint, self._verifier):
                raise _broken(record, "the checkpoint is not signed with a key of this installation")
            if checkpoint.root != f"sha256:{merkle.root(self._leaves).hex()}":
                raise _broken(record, f"the checkpoint does not sign records {checkpoint.first} to {checkpoint.last}")
            self.checkpoints[checkpoint.sequence] = value
        for index, one in self._waiting:
            self._proven.append(_proven(one, checkpoint.sequence, merkle.path(self._leaves, index)))
        self._leaves, self._waiting = [], []


def _proven(value: bytes, checkpoint: int | None, path: tuple[merkle.Step, ...]) -> Proven:
    link = LINK.validate_json(value)
    assert link.kind == "event"
    return Proven(value, link.where, round(link.time.timestamp() * 1000), checkpoint, path)


def _broken(record: Record, why: str) -> Unreadable:
    at = f"{record.topic}/{record.partition}/{record.offset}"
    return Unreadable(f"chain {(record.key or b'').decode()} at {at}: {why}; `sinsok audit verify` says more")
