"""A study's record as a file that anybody can check without us: events, audit records, proofs, and who signed."""

import base64
import io
import json
import zipfile
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import rfc8785

from gateways.audit.excerpt import Excerpt, Proven
from gateways.audit.keys import Signer, public_pem
from gateways.kafka import Record

VERSION: Final = 1
_README: Final = """This is what sinsok recorded of one study.

events.json        the records of the study as they stood on their topics; key, headers and value in base64
records.json       for each its record in the audit trail as it stands there, and its path to a checkpoint's root
checkpoints.json   these checkpoints, signed when they were written
audit.pub          the public key that signed them and this file
manifest.json      the study, the digests of the files above, and a signature

docs/audit.md of sinsok says how each digest is made, and docs/examples/python/verify_bundle.py checks all of it.
The key in here proves nothing by itself: compare its id with the one that the hospital gave you on another way.
"""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def bundle(
    site: str, study_uid: str, study: str, excerpt: Excerpt, events: Sequence[Record], signer: Signer, time: datetime
) -> bytes:
    """The bytes of a bundle."""
    files = {
        "events.json": _json([_event(one) for one in events]),
        "records.json": _json([_record(one) for one in excerpt.records]),
        "checkpoints.json": _json([value.decode() for _, value in sorted(excerpt.checkpoints.items())]),
        "audit.pub": public_pem(signer.public),
        "README.txt": _README.encode(),
    }
    manifest: dict[str, Any] = {
        "bundle": VERSION,
        "site": site,
        "study_uid": study_uid,
        "study": study,
        "time": time.isoformat().replace("+00:00", "Z"),
        "files": {name: f"sha256:{sha256(data).hexdigest()}" for name, data in files.items()},
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
