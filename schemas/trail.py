"""The audit trail: chains of records, each naming the one before by its digest, with signed checkpoints between them.

One chain for each site, and :data:`schemas.audit.INSTALLATION` for what belongs to no site. On ``audit.trail`` a record
is canonical JSON (RFC 8785), its key the chain's name; its digest is sha256 over exactly these bytes.
"""

from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import Field, TypeAdapter, model_validator

from schemas.audit import Origin
from schemas.base import Digest, Record, Site, Utc
from schemas.identity import digest

MISSING: Final = "missing"
"""Type of what is said of records that were gone before anybody audited them."""

Sequence = Annotated[int, Field(ge=0, description="Place in the chain: 0, 1, 2 ...")]
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$", description="Ed25519 (RFC 8032), in hex")]


def genesis(chain: str) -> str:
    """What stands for the digest of a record before the first one of a chain."""
    return digest(f"sinsok audit trail|{chain}".encode())


class ChainRecord(Record):
    """What every record of a chain has."""

    chain: Site
    sequence: Sequence
    previous: Digest = Field(description="Digest of the record before; for the first that of the chain's name")
    time: Utc


class AuditRecord(ChainRecord):
    """A record on an event topic: that it stood there, and what it said.

    ``time`` is that record's timestamp, from the clock of whoever wrote it; of what is missing it is the auditor's.
    """

    kind: Literal["event"] = "event"
    type: str = Field(
        description="Its ce_type; DeadLetter; undecodable; missing: records were gone before anybody audited them"
    )
    event_id: UUID | None
    study: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(description="Its study key")
    who: str = Field(description="The person's account, or the process")
    what: Annotated[str, Field(max_length=500)] = Field(description="In one line of words")
    where: Origin
    digest: Digest | None = Field(description="Of the record as it stands there, framed; None where it is missing")

    @model_validator(mode="after")
    def _names_a_digest(self) -> Self:
        """What names none is held against nothing: only what was gone may do that."""
        if (self.digest is None) != (self.type == MISSING):
            raise ValueError("only what is missing has no digest")
        return self


class Checkpoint(ChainRecord):
    """Signs the chain up to here: by ``previous`` all that was before, by ``root`` what came since the last checkpoint.

    A chain begins with one that covers nothing: it binds the chain to the key.
    """

    kind: Literal["checkpoint"] = "checkpoint"
    first: Sequence = Field(description="Sequence of the first record that the root covers")
    last: Annotated[int, Field(ge=-1)] = Field(description="Of the last; first - 1 where the root covers none")
    root: Digest = Field(description="Merkle tree hash (RFC 9162, 2.1.1) over the digests of these records")
    before: Annotated[int, Field(ge=0)] | None = Field(description="Sequence of the checkpoint before this one")
    key: Digest = Field(description="sha256 of the raw public key")
    signature: Signature = Field(description="Over the canonical JSON of all other fields")


Link = AuditRecord | Checkpoint
LINK: TypeAdapter[Link] = TypeAdapter(Annotated[Link, Field(discriminator="kind")])
"""Reads a record of a chain."""
