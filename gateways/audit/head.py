"""The newest record of each chain, noted outside the broker: without it nobody would miss the end of a chain.

It is written, whole and signed, before every transaction with the record that the chain is about to reach, and after it
with the one that it has reached. So what stands behind the newest is either that record, or not the auditor's.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from gateways.audit.canonical import canonical
from gateways.audit.keys import Signer, Verifier
from gateways.objects import write_whole
from schemas.base import Digest, Record, Site
from schemas.trail import Signature


class UnusableHead(Exception):
    """A head file says nothing that can be relied on; the text is one line."""


class Mark(Record):
    """A record of a chain; -1, with the chain's genesis, stands before the first."""

    sequence: Annotated[int, Field(ge=-1)]
    digest: Digest


class Head(Record):
    """How far a chain has come."""

    chain: Site
    newest: Mark
    signed: Mark = Field(description="The newest checkpoint")
    next: Mark | None = Field(default=None, description="Where the transaction in hand takes it, if it takes place")
    partition: int | None = Field(description="Where the chain stands; None before its first record")
    since: int = Field(description="Offset of that checkpoint: from there on the chain is read at a start")
    seen: int = Field(default=0, description="What follows before this offset, and is not known here, was looked at")
    key: Digest
    signature: Signature | None = None


class Heads:
    """The head files of an installation, one a chain, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, chain: str) -> Path:
        """The file of a chain."""
        return self.folder / f"{chain}.head"

    def chains(self) -> frozenset[str]:
        """Who has one."""
        return frozenset(place.stem for place in self.folder.glob("*.head"))

    def write(self, head: Head, signer: Signer) -> None:
        """Note a head. Raises ``OSError``."""
        head = head.model_copy(update={"key": signer.id})
        signature = signer.sign(canonical(head, without=frozenset({"signature"})))
        write_whole(self.place(head.chain), canonical(head.model_copy(update={"signature": signature})) + b"\n")

    def read(self, chain: str, verifier: Verifier) -> Head | None:
        """The head of a chain; None where it has no file. Raises :class:`UnusableHead`."""
        place = self.place(chain)
        mend = f"bring the newest back, or `sinsok audit verify`, then `sinsok audit accept --chain {chain}`"
        try:
            head = Head.model_validate_json(place.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnusableHead(f"{place} cannot be read: {error.strerror}; {mend}") from None
        except ValidationError:
            raise UnusableHead(
                f"{place} is no head of a chain: it was changed, or written by another version; {mend}"
            ) from None
        if not verifier.knows(head.key):
            raise UnusableHead(
                f"{place} is signed with {head.key}, no key of this installation: name its public part in audit.retired"
            )
        signed = canonical(head, without=frozenset({"signature"}))
        if head.chain != chain or not verifier.verify(head.key, head.signature or "", signed):
            raise UnusableHead(f"{place} was changed: its signature does not fit; {mend}")
        return head
