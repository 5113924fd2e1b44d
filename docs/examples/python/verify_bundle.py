"""Check a bundle that `sinsok audit export --study` wrote, without sinsok and without a network.

    python verify_bundle.py BUNDLE.zip [audit.pub ...]

Needs Python 3.11 and the package cryptography. The public keys should come from the hospital on another way than the
bundle: the one that signs now, and those that did before. Without any, the bundle's own are used, and their ids printed
for you to compare. Exit code 1: something is wrong.
"""

import base64
import json
import struct
import sys
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key


def hexdigest(data: bytes) -> str:
    return "sha256:" + sha256(data).hexdigest()


def signed(keys: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether the key that it names signed the document: its canonical JSON (RFC 8785) without the signature itself."""
    rest = {name: value for name, value in document.items() if name != "signature"}
    # Ours hold integers and text only; for these, sorted keys and no spaces are canonical.
    data = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    try:
        keys[document["key"]].verify(bytes.fromhex(document["signature"]), data)
    except (InvalidSignature, KeyError):
        return False
    return True


def key_ring(pems: list[bytes]) -> dict[str, Any]:
    """Public keys by their ids, the sha256 of the raw key."""
    keys = [load_pem_public_key(pem) for pem in pems]
    return {hexdigest(key.public_bytes(Encoding.Raw, PublicFormat.Raw)): key for key in keys}


def event_digest(event: dict[str, Any]) -> str:
    """Timestamp, key, value, number of headers, names and values; each text behind its length, big-endian."""

    def framed(data: bytes | None) -> bytes:
        return b"\xff\xff\xff\xff" if data is None else struct.pack(">I", len(data)) + data

    def bytes_of(text: str | None) -> bytes | None:
        return None if text is None else base64.b64decode(text)

    parts = [struct.pack(">q", event["timestamp_ms"]), framed(bytes_of(event["key"])), framed(bytes_of(event["value"]))]
    parts.append(struct.pack(">I", len(event["headers"])))
    for name, value in event["headers"]:
        parts += [framed(name.encode()), framed(bytes_of(value))]
    return hexdigest(b"".join(parts))


def root(leaf: bytes, path: list[tuple[str, str]]) -> str:
    """The Merkle root (RFC 9162, 2.1) that a leaf and its path lead to."""
    reached = sha256(b"\x00" + leaf).digest()
    for side, sibling in path:
        pair = bytes.fromhex(sibling) + reached if side == "left" else reached + bytes.fromhex(sibling)
        reached = sha256(b"\x01" + pair).digest()
    return "sha256:" + reached.hex()


def faults(files: dict[str, bytes], keys: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a bundle, one line each."""
    manifest = json.loads(files["manifest.json"])
    if not signed(keys, manifest):
        yield f"changed: manifest.json: its signature does not fit {manifest['key']}, or that key was not given"
    for name, digest in manifest["files"].items():
        if hexdigest(files.get(name, b"")) != digest:
            yield f"changed: {name}: its digest is not the manifest's"
    checkpoints = {}
    for text in json.loads(files["checkpoints.json"]):
        checkpoint = json.loads(text)
        checkpoints[checkpoint["sequence"]] = checkpoint
        if not signed(keys, checkpoint):
            said = f"its signature does not fit {checkpoint['key']}, or that key was not given"
            yield f"changed: checkpoint {checkpoint['sequence']}: {said}"
    events = {(one["topic"], one["partition"], one["offset"]): one for one in json.loads(files["events.json"])}
    for entry in json.loads(files["records.json"]):
        record, leaf = json.loads(entry["record"]), sha256(entry["record"].encode()).digest()
        where = record["where"]
        event = events.pop((where["topic"], where["partition"], where["offset"]), None)
        named = f"{record['type']} at {where['topic']}/{where['partition']}/{where['offset']}"
        if record["study"] != manifest["study"]:
            yield f"inserted: audit record {record['sequence']}: it is about another study"
        checkpoint = checkpoints.get(entry["checkpoint"])
        if entry["checkpoint"] is not None:
            covered = checkpoint and checkpoint["first"] <= record["sequence"] <= checkpoint["last"]
            if not covered or root(leaf, entry["path"]) != checkpoint["root"]:
                yield f"changed: audit record {record['sequence']}: it does not lead to a signed checkpoint"
        if event is None:
            yield f"removed: event {named}"
        elif event_digest(event) != record["digest"]:
            yield f"changed: event {named}"
    for topic, partition, offset in events:
        yield f"inserted: event at {topic}/{partition}/{offset}: no audit record knows it"


def main() -> None:
    try:
        with zipfile.ZipFile(sys.argv[1]) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        given = [Path(name).read_bytes() for name in sys.argv[2:]]
        keys = key_ring(given or [files[name] for name in files if name.endswith(".pub")])
        print("\n".join(f"key {name}" for name in keys))
        entries = json.loads(files["records.json"])
        found = list(faults(files, keys))
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        sys.exit(f"changed: the bundle cannot be read: {type(error).__name__}: {error}")
    print("\n".join(found) or f"all {len(entries)} records are as they were written")
    if unsigned := sum(entry["checkpoint"] is None for entry in entries):
        print(f"{unsigned} of them no checkpoint signed yet: the manifest's signature alone stands for them")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
