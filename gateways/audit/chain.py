"""A chain that grows: each record names the one before, and a signed checkpoint follows every so many."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, Self

from pydantic import ValidationError

from gateways.audit import merkle
from gateways.audit.account import Account
from gateways.audit.canonical import canonical, digest
from gateways.audit.head import Head, Mark
from gateways.audit.keys import Signer, Verifier
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
        try:
            link = LINK.validate_json(value)
        except ValidationError:
            raise Broken(f"what follows record {self.newest.sequence} is no record of a chain") from None
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

    def head(self, partition: int | None, since: int) -> Head:
        """What is to be noted of it outside the broker."""
        return Head(
            chain=self.name,
            newest=self.newest,
            signed=self.signed,
            partition=partition,
            since=since,
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


def genuine(checkpoint: Checkpoint, verifier: Verifier) -> bool:
    """Whether a key of ours has signed a checkpoint as it stands."""
    signed = canonical(checkpoint, without=frozenset({"signature"}))
    return verifier.verify(checkpoint.key, checkpoint.signature, signed)


def _raw(mark: Mark) -> bytes:
    return bytes.fromhex(mark.digest.removeprefix("sha256:"))
