"""Segments of HL7 v2 from plain values: nesting by type, escaping by python-hl7 (HL7 v2.5.1, sections 2.5 and 2.7).

A field is a string, a tuple of components (a tuple in it: subcomponents), or a list of such repetitions.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import hl7

Component = str | tuple[str, ...]
Repetition = str | tuple[Component, ...]
Value = Repetition | list[Repetition]

_FRAME = hl7.Message("\r")
_ASCII = re.compile(r"[\r -~]+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class FormattedText(str):
    """FT: its line breaks are kept (section 2.7.6). In every other string they become spaces."""

    __slots__ = ()


def segment(name: str, fields: Mapping[int, Value]) -> Any:
    """A segment with the fields that have a value."""
    filled = {number: value for number, value in fields.items() if _says(value)}
    return hl7.Segment("|", [_field(name)] + [_field(filled.get(n, "")) for n in range(1, max(filled, default=0) + 1)])


def header(fields: Mapping[int, Value]) -> Any:
    """MSH: its first two fields are the separators themselves (section 2.14.9)."""
    msh = segment("MSH", {**fields, 1: "-", 2: "-"})
    msh[1:3] = [hl7.Field("~", ["|"]), hl7.Field("~", ["^~\\&"])]
    return msh


def message(segments: list[Any]) -> str:
    """The segments as one message, each ended by a carriage return."""
    return str(hl7.Message("\r", segments))


def timestamp(at: datetime) -> str:
    """TS with its time zone (section 2.A.77)."""
    return f"{at:%Y%m%d%H%M%S.%f}"[:-3] + f"{at:%z}"


def _field(value: Value) -> Any:
    repetitions = value if isinstance(value, list) else [value]
    return hl7.Field("~", [_repetition(one) for one in repetitions])


def _repetition(value: Repetition) -> Any:
    components = (value,) if isinstance(value, str) else _trimmed(value)
    return hl7.Repetition("^", [_component(one) for one in components])


def _component(value: Component) -> Any:
    subcomponents = (value,) if isinstance(value, str) else _trimmed(value)
    return hl7.Component("&", [_escaped(one) for one in subcomponents])


def _trimmed(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    filled = [number for number, part in enumerate(parts, 1) if _says(part)]
    return parts[: max(filled, default=0)]


def _says(value: Value) -> bool:
    return bool(value) if isinstance(value, str) else any(_says(part) for part in value)


def _escaped(value: str) -> str:
    # python-hl7 writes every other character as the hexadecimal of its code point, which no character set declares.
    return _ASCII.sub(lambda run: str(_FRAME.escape(run[0])), _clean(value))


def _clean(value: str) -> str:
    if not isinstance(value, FormattedText):
        return _CONTROLS.sub(" ", value)
    return "\r".join(_CONTROLS.sub(" ", line) for line in value.splitlines())
