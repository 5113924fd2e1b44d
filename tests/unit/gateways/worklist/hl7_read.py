"""Messages read back: by python-hl7 for values, by hl7apy for their structure."""

import contextlib
import re
from tempfile import NamedTemporaryFile
from typing import Any

import hl7
from hl7apy.exceptions import ValidationError
from hl7apy.parser import parse_message

from gateways.worklist.charset import encode
from gateways.worklist.settings import Hl7Settings

_OTHER_CHOICE = re.compile(r"Missing required child ORM_O01_(CHOICE|OBRRQD\w+)\.(RQD|RQ1|RXO|ODS|ODT)$")
"""hl7apy wants every kind of order detail where the standard wants one of them."""


def values(message: str, name: str, number: int) -> list[str]:
    """A field of every segment of a name, as it stands in the message."""
    return [
        str(segment[number]) if number < len(segment) else ""
        for segment in hl7.parse(message)
        if str(segment[0]) == name
    ]


def value(message: str, name: str, number: int) -> str:
    (only,) = values(message, name, number)
    return only


def names(message: str) -> list[str]:
    return [str(segment[0]) for segment in hl7.parse(message)]


def assert_conforms(message: str, settings: Hl7Settings) -> Any:
    """Hold a message, as it goes over the wire, against the standard's structure, data types and tables."""
    parsed = parse_message(encode(message, settings.charset).decode(settings.charset), find_groups=True)
    with NamedTemporaryFile("r", encoding="utf-8") as report:
        with contextlib.suppress(ValidationError):
            parsed.validate(report_file=report.name)
        complaints = [line.rstrip() for line in report if line.startswith("Error")]
    assert [complaint for complaint in complaints if not _OTHER_CHOICE.search(complaint)] == []
    return parsed
