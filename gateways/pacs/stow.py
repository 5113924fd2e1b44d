"""The request and the answer of STOW-RS (PS3.18, 10.5): objects as they lie on disk, and what became of each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

import requests

from gateways.pacs.peer import Answer, Instance, content_of

_FAILED: Final = "00081198"
"""Failed SOP Sequence."""
_STORED: Final = "00081199"
"""Referenced SOP Sequence."""
_SOP_UID: Final = "00081155"
_FAILURE_REASON: Final = "00081197"
_WARNING_REASON: Final = "00081196"
_REASONS: Final = {
    0xA7: "out of resources",
    0xA9: "data set does not match SOP class",
    0xC0: "cannot understand",
}
"""By the first byte of the Failure Reason (0008,1197), PS3.18, I.2.2."""
_DUPLICATE_SOP_INSTANCE: Final = 0x0111
_REASON_CODES: Final = {
    0x0110: "processing failure",
    _DUPLICATE_SOP_INSTANCE: "duplicate SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorized",
    0xC122: "referenced transfer syntax not supported",
}
_OUT_OF_RESOURCES: Final = 0xA7
_OK: Final = 200


def message(instances: Sequence[Instance]) -> tuple[str, bytes]:
    """The content type and the body of a request."""
    boundary = uuid4().hex
    parts = []
    for instance in instances:
        parts += [f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(), content_of(instance), b"\r\n"]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    return f'multipart/related; type="application/dicom"; boundary={boundary}', body


def answers(response: requests.Response, instances: Sequence[Instance]) -> list[Answer]:
    """What became of each object (PS3.18, 10.5.3 and annex I)."""
    status = f"HTTP {response.status_code}"
    try:
        module = response.json()
    except ValueError:
        module = {}
    failed = dict(_references(module, _FAILED, _FAILURE_REASON))
    stored = dict(_references(module, _STORED, _WARNING_REASON))
    return [_answer(instance.sop_instance_uid, response.status_code, status, failed, stored) for instance in instances]


def _answer(
    uid: str, code: int, status: str, failed: Mapping[str, int | None], stored: Mapping[str, int | None]
) -> Answer:
    if uid in failed:
        reason = failed[uid]
        if reason is None:
            return Answer(uid, status, False, False, "no reason given")
        words = _REASON_CODES.get(reason) or _REASONS.get(reason >> 8, "unknown reason")
        # Under our UID there are only our bytes: a PACS that has it already was sent it before a crash.
        accepted = reason == _DUPLICATE_SOP_INSTANCE
        return Answer(uid, f"0x{reason:04X}", accepted, reason >> 8 == _OUT_OF_RESOURCES, words)
    if uid in stored or code == _OK:
        warning = stored.get(uid)
        return Answer(uid, status, True, False, f"warning 0x{warning:04X}" if warning else "stored")
    return Answer(uid, status, False, False, "not said to be stored")


def _references(module: Any, sequence: str, reason: str) -> Iterator[tuple[str, int | None]]:
    items = module.get(sequence) if isinstance(module, Mapping) else None
    for item in (items.get("Value") or ()) if isinstance(items, Mapping) else ():
        uid, code = _first(item, _SOP_UID), _first(item, reason)
        if isinstance(uid, str):
            yield uid, code if isinstance(code, int) else None


def _first(item: Any, tag: str) -> Any:
    values = item.get(tag, {}).get("Value") if isinstance(item, Mapping) else None
    return values[0] if isinstance(values, list) and values else None
