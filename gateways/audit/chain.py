"""A chain that grows: each record names the one before, and a signed checkpoint follows every so many."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, Self

from pydantic import ValidationError

from gateways.audit import merkle
from gateways.audit.account import Account
from gateways.audit.canonical import canonical
from gateways.audit.head import Head, Mark
from gateways.audit.keys import Signer, Verifier
from gateways.kafka import Record
from schemas.identity import digest
from schemas.trail import LINK, AuditRecord, Checkpoint, genesis


class Broken(Exception):
    """What stands on the topic does not continue the chain; the text says where and how, in one line."""


class Appended(NamedTuple):
    """A record to be written."""

    sequence: int
    value: bytes


@dataclass
class Chain:
    """The end of a chain. It is copied before a transaction, and the copy thrown away where that is aborted."""

    name: str
    newest: Mark
    signed: Mark
    """The newest checkpoint; before the first, the genesis."""
    unsigned: list[bytes] = field(default_factory=list)
    """Digests of the records behind it."""

    @classmethod
    def at(cls, mark: Mark, name: str) -> Self:
        """A chain as it was at a checkpoint, or before its first record."""
        return cls(name, mark, mark)

    @classmethod
    def begin(cls, name: str) -> Self:
        """A chain without records."""
        return cls.at(Mark(sequence=-1, digest=genesis(name)), name)

    def copy(self) -> Self:
        """One that grows without this one."""
        return replace(self, unsigned=list(self.unsigned))

    def append(self, account: Account) -> Appended:
        """The next record."""
        sequence, previous = self._next()
        record = AuditRecord(chain=self.name, sequence=sequence, previous=previous, **account._asdict())
        value = canonical(record)
        self._grown(sequence, value)
        self.unsigned.append(_raw(self.newest))
        return Appended(sequence, value)

    def checkpoint(self, signer: Signer, time: datetime) -> Appended:
        """Sign what came since the last checkpoint."""
        sequence, previous = self._next()
        before = self.signed.sequence if self.signed.sequence >= 0 else None
        unsigned = Checkpoint(
            chain=self.name,
            sequence=sequence,
            previous=previous,
            time=time,
            first=self.signed.sequence + 1,
            last=self.newest.sequence,
            root=f"sha256:{merkle.root(self.unsigned).hex()}",
            before=before,
            key=signer.id,
            signature="0" * 128,
        )
        signature = signer.sign(canonical(unsigned, without=frozenset({"signature"})))
        value = canonical(unsigned.model_copy(update={"signature": signature}))
        self._grown(sequence, value)
        self._is_signed()
        return Appended(sequence, value)

    def resume(self, value: bytes, verifier: Verifier) -> AuditRecord | Checkpoint:
        """Take up a record as it stands on the topic. Raises :class:`Broken` where it does not come next."""
        link = _read(value)
        if link is None:
            raise Broken(f"what follows record {self.newest.sequence} is no record of a chain")
        sequence, previous = self._next()
        if (link.chain, link.sequence, link.previous) != (self.name, sequence, previous):
            raise Broken(f"record {link.sequence} does not follow record {self.newest.sequence}")
        if isinstance(link, Checkpoint):
            self._check(link, verifier)
        self._grown(sequence, value)
        if isinstance(link, Checkpoint):
            self._is_signed()
        else:
            self.unsigned.append(_raw(self.newest))
        return link

    def head(self, partition: int | None, since: int, seen: int = 0, reaching: Mark | None = None) -> Head:
        """What is to be noted of it outside the broker; ``reaching`` is where the transaction in hand takes it."""
        return Head(
            chain=self.name,
            newest=self.newest,
            signed=self.signed,
            next=reaching,
            partition=partition,
            since=since,
            seen=seen,
            key=genesis(self.name),  # who writes it puts its own
        )

    def _next(self) -> tuple[int, str]:
        return self.newest.sequence + 1, self.newest.digest

    def _grown(self, sequence: int, value: bytes) -> None:
        self.newest = Mark(sequence=sequence, digest=digest(value))

    def _is_signed(self) -> None:
        self.signed, self.unsigned = self.newest, []

    def _check(self, checkpoint: Checkpoint, verifier: Verifier) -> None:
        if not genuine(checkpoint, verifier):
            raise Broken(f"checkpoint {checkpoint.sequence} is not signed with a key of this installation")
        covers = (checkpoint.first, checkpoint.root)
        if covers != (self.signed.sequence + 1, f"sha256:{merkle.root(self.unsigned).hex()}"):
            raise Broken(f"checkpoint {checkpoint.sequence} does not sign the records before it")


class Stood(NamedTuple):
    """A record of a chain as it stands on the topic."""

    link: AuditRecord | Checkpoint
    value: bytes
    mark: Mark
    partition: int
    offset: int


class Strand:
    """Tells the records of a chain from whatever else stands under its key.

    Who may write to the topic can put a record there that names the newest: that is no secret. So a record is the
    chain's only once one behind it, or itself, is vouched for by a signature or a head.
    """

    def __init__(self, name: str, signed: Mark) -> None:
        self.signed = signed
        """The newest checkpoint that was found; at first where to begin."""
        self.foreign = 0
        """Records that do not even follow."""
        self._name = name
        self._behind: dict[str, Stood] = {}

    def __len__(self) -> int:
        """How many records are kept."""
        return len(self._behind)

    def keep(self, record: Record) -> Stood | None:
        """Take the next record under the key; None where it follows nothing that is known, and is passed over."""
        value = record.value or b""
        link = _read(value)
        before = self._mark(link.previous) if link else None
        if link is None or before is None or (link.chain, link.sequence) != (self._name, before.sequence + 1):
            self.foreign += 1
            return None
        mark = Mark(sequence=link.sequence, digest=digest(value))
        return self._behind.setdefault(mark.digest, Stood(link, value, mark, record.partition, record.offset))

    def way(self, mark: Mark) -> list[Stood] | None:
        """What leads to a record from behind :attr:`signed`, that record last; None where nothing does."""
        found, name = list[Stood](), mark.digest
        while name != self.signed.digest:
            if (stood := self._behind.get(name)) is None:
                return None
            found.append(stood)
            name = stood.link.previous
        return found[::-1] if mark == (found[0].mark if found else self.signed) else None

    def behind(self, mark: Mark, offset: int) -> Stood | None:
        """A record that names this one as the one before it, and stands at this offset or later."""
        return next(
            (one for one in self._behind.values() if one.link.previous == mark.digest and one.offset >= offset), None
        )

    def longest(self) -> list[Stood]:
        """The longest way from behind :attr:`signed`. Nobody vouches for it."""
        newest = max((one.mark for one in self._behind.values()), key=lambda mark: mark.sequence, default=self.signed)
        return self.way(newest) or []

    def close(self, record: Record, verifier: Verifier) -> list[Stood]:
        """As :meth:`keep`; where it is a checkpoint of ours, what it signs, itself last, and on from there.

        Raises :class:`Broken` where it does not sign the records before it as they stand.
        """
        stood, value = self.keep(record), record.value or b""
        checkpoint = stood.link if stood else _read(value)
        if not isinstance(checkpoint, Checkpoint) or checkpoint.sequence <= self.signed.sequence:
            return []
        if not genuine(checkpoint, verifier) or checkpoint.chain != self._name:
            return []
        section = self.way(stood.mark) if stood else None
        if section is None:
            raise Broken(f"checkpoint {checkpoint.sequence} does not sign the records before it as they stand")
        chain = Chain.at(self.signed, self._name)
        for one in section:
            chain.resume(one.value, verifier)
        self.signed = chain.signed
        self._behind.clear()
        return section

    def _mark(self, name: str) -> Mark | None:
        if name == self.signed.digest:
            return self.signed
        return self._behind[name].mark if name in self._behind else None


def _read(value: bytes) -> AuditRecord | Checkpoint | None:
    try:
        return LINK.validate_json(value)
    except ValidationError:
        return None


def genuine(checkpoint: Checkpoint, verifier: Verifier) -> bool:
    """Whether a key of ours has signed a checkpoint as it stands."""
    signed = canonical(checkpoint, without=frozenset({"signature"}))
    return verifier.verify(checkpoint.key, checkpoint.signature, signed)


def _raw(mark: Mark) -> bytes:
    return bytes.fromhex(mark.digest.removeprefix("sha256:"))
