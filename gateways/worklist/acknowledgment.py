"""What a receiver's answer says (HL7 v2.5.1, section 2.9; MSA in 2.14.8, ERR in 2.14.5, tables 0008 and 0357).

Only codes are taken from an answer. Its free text may quote what we sent, names and all, and is repeated only where a
site wants it.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import hl7

from schemas.failures import Unavailable

_CONDITIONS: Final = {
    "100": "segment sequence error",
    "101": "required field missing",
    "102": "data type error",
    "103": "table value not found",
    "200": "unsupported message type",
    "201": "unsupported event code",
    "202": "unsupported processing id",
    "203": "unsupported version id",
    "204": "unknown key identifier",
    "205": "duplicate key identifier",
    "206": "application record locked",
    "207": "application internal error",
}
_SEGMENTS: Final = {"MSH", "PID", "PV1", "ORC", "TQ1", "OBR", "NTE", "OBX", "IPC", "ZDS"}
"""What we send, and a receiver can complain of."""
_LONGEST_TEXT: Final = 120


@dataclass(frozen=True)
class Acknowledgment:
    """An answer: its code, which message it answers, and what it complains of."""

    code: str
    """MSA-1: AA AE AR CA CE CR."""
    answers: str
    """MSA-2."""
    conditions: tuple[str, ...]
    """Known error codes of table 0357, with the place where the receiver named one: ``101 at PID-5``."""
    order_control: str
    """ORC-1 of an order response; UX and UA: the change cannot be made (table 0119)."""
    text: str = field(default="", repr=False)
    """MSA-3, ERR-3, ERR-7, ERR-8 in one printable line. May name a patient: some receivers quote us even in ERR-3."""
    control_id: str = ""
    wants_accept: bool = False
    """Whether this answer is itself to be acknowledged (MSH-15)."""

    @property
    def is_locked(self) -> bool:
        """The record is in use: the same message may succeed later."""
        return any(condition.startswith("206") for condition in self.conditions)

    def describe(self, *, repeat_text: bool) -> str:
        """One line; the receiver's own words only where the site wants them."""
        said = ", ".join(self.conditions)
        words = f' "{self.text}"' if repeat_text and self.text else ""
        return f"{self.code}{f' ({said})' if said else ''}{words}"


def parse(content: bytes, encoding: str) -> Acknowledgment:
    """Read an answer. Raises :class:`schemas.failures.Unavailable` where it is no HL7 acknowledgment."""
    text = re.sub(r"\r?\n", "\r", content.decode(encoding, errors="replace")).strip()
    try:
        message = hl7.parse(text)
        header, answer = message.segment("MSH"), message.segment("MSA")
    except Exception:  # noqa: BLE001 - what python-hl7 raises for bytes that are not HL7 has no end
        raise Unavailable("the worklist answered with something that is no HL7 acknowledgment") from None
    code = _field(answer, 1)
    if not re.fullmatch(r"[AC][AER]", code):
        raise Unavailable("the worklist's answer has no acknowledgment code (MSA-1)")
    errors = [segment for segment in message if str(segment[0]) == "ERR"]
    orders = [segment for segment in message if str(segment[0]) == "ORC"]
    words = [_field(answer, 3), *(_field(error, number) for error in errors for number in (3, 7, 8))]
    return Acknowledgment(
        code=code,
        answers=_field(answer, 2),
        conditions=tuple(filter(None, (_condition(error) for error in errors))),
        order_control=_field(orders[0], 1) if orders else "",
        text=_printable(" ".join(filter(None, words))),
        control_id=_field(header, 10),
        wants_accept=_field(header, 15) == "AL",
    )


def _condition(error: Any) -> str:
    """ERR-3 at ERR-2; before version 2.5 ERR-1, in which both stand together."""
    old = [part.split("&")[0] for part in _field(error, 1).split("~")[0].split("^")] + [""] * 4
    known = _CONDITIONS.get(_field(error, 3).split("^")[0]) or _CONDITIONS.get(old[3])
    if known is None:
        return ""
    code = next(code for code, condition in _CONDITIONS.items() if condition == known)
    location = _field(error, 2).split("~")[0].split("^") if _field(error, 2) else old[:3]
    segment = location[0] if location[0] in _SEGMENTS else ""
    number = location[2] if len(location) > 2 else ""
    place = f" at {segment}{f'-{number}' if re.fullmatch(r'[0-9]{1,3}', number) else ''}" if segment else ""
    return f"{code} {known}{place}"


def _field(segment: Any, number: int) -> str:
    return str(segment[number]) if number < len(segment) else ""


def _printable(text: str) -> str:
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= _LONGEST_TEXT else line[: _LONGEST_TEXT - 1] + "…"
