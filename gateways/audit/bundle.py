"""A study's record as a file that anybody can check without us: events, audit records, proofs, and who signed."""

import base64
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import rfc8785

from gateways.audit import merkle
from gateways.audit.chain import Broken, Stood, Strand
from gateways.audit.head import Mark
from gateways.audit.keys import Signer, Verifier, public_pem
from gateways.kafka import Record
from schemas.failures import Unreadable
from schemas.identity import digest
from schemas.trail import AuditRecord, Checkpoint, genesis

VERSION: Final = 1
_README: Final = """This is what sinsok recorded of one study.

events.json        the records of the study as they stood on their topics; key, headers and value in base64
records.json       for each its record in the audit trail as it stands there, and its path to a checkpoint's root
checkpoints.json   these checkpoints, signed when they were written
audit.pub          the public key that signed this file
retired-*.pub      those that signed checkpoints before it, if any did
manifest.json      the study, the digests of the files above, and a signature

docs/audit.md of sinsok says how each digest is made, and docs/examples/python/verify_bundle.py checks all of it.
A key in here proves nothing by itself: compare its id with the one that the hospital gave you on another way.
"""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Proven:
    """An audit record as it stands, and the way from it to the root of a checkpoint; None where none signs it yet."""

    value: bytes
    link: AuditRecord
    checkpoint: int | None = None
    path: tuple[merkle.Step, ...] = ()


class Excerpt:
    """A study's part of a chain, which is read in order: with what proves it, the checkpoints signed at the time."""

    def __init__(self, chain: str, study: str, verifier: Verifier) -> None:
        self._key = chain.encode()
        self._study = study
        self._verifier = verifier
        self._strand = Strand(chain, Mark(sequence=-1, digest=genesis(chain)))
        self._proven: list[Proven] = []
        self.checkpoints: dict[int, bytes] = {}
        """Those that sign records of the study, as they stand, by sequence."""
        self.keys: dict[str, bytes] = {}
        """The keys that signed these, in PEM, by id."""

    @property
    def unsigned(self) -> list[Proven]:
        """What no checkpoint signs yet."""
        return [Proven(one.value, link) for one in self._strand.longest() if (link := self._about(one)) is not None]

    @property
    def records(self) -> list[Proven]:
        """All that is known of the study."""
        return self._proven + self.unsigned

    def take(self, record: Record) -> None:
        """The next record of the trail. Raises :class:`Unreadable` where a checkpoint does not sign what it should."""
        if record.key != self._key:
            return
        try:
            section = self._strand.close(record, self._verifier)
        except Broken as broken:
            at = f"{record.topic}/{record.partition}/{record.offset}"
            said = f"chain {self._key.decode()} at {at}: {broken}; `sinsok audit verify` says more"
            raise Unreadable(said) from None
        ours = [(index, one, link) for index, one in enumerate(section) if (link := self._about(one)) is not None]
        if not ours:
            return
        signed = section[-1]
        assert isinstance(signed.link, Checkpoint)
        leaves = [bytes.fromhex(one.mark.digest.removeprefix("sha256:")) for one in section[:-1]]
        for index, one, link in ours:
            self._proven.append(Proven(one.value, link, signed.mark.sequence, merkle.path(leaves, index)))
        self.checkpoints[signed.mark.sequence] = signed.value
        self.keys[signed.link.key] = public_pem(self._verifier.public(signed.link.key))

    def _about(self, stood: Stood) -> AuditRecord | None:
        link = stood.link
        return link if isinstance(link, AuditRecord) and link.study == self._study else None


def bundle(
    site: str, study_uid: str, study: str, excerpt: Excerpt, events: Sequence[Record], signer: Signer, time: datetime
) -> bytes:
    """The bytes of a bundle."""
    retired = [pem for key, pem in excerpt.keys.items() if key != signer.id]
    files = {
        "events.json": _json([_event(one) for one in events]),
        "records.json": _json([_record(one) for one in excerpt.records]),
        "checkpoints.json": _json([value.decode() for _, value in sorted(excerpt.checkpoints.items())]),
        "audit.pub": public_pem(signer.public),
        **{f"retired-{number}.pub": pem for number, pem in enumerate(retired, start=1)},
        "README.txt": _README.encode(),
    }
    manifest: dict[str, Any] = {
        "bundle": VERSION,
        "site": site,
        "study_uid": study_uid,
        "study": study,
        "time": time.isoformat().replace("+00:00", "Z"),
        "files": {name: digest(data) for name, data in files.items()},
        "key": signer.id,
    }
    manifest["signature"] = signer.sign(rfc8785.dumps(manifest))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {"manifest.json": _json(manifest), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _event(record: Record) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": _base64(record.key),
        "headers": [[name, _base64(value)] for name, value in record.headers],
        "value": _base64(record.value),
    }


def _record(proven: Proven) -> dict[str, Any]:
    return {
        "record": proven.value.decode(),
        "checkpoint": proven.checkpoint,
        "path": [[side, sibling.hex()] for side, sibling in proven.path],
    }


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"
