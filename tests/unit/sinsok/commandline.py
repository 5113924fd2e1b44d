"""The command line, run in this process; and records as a broker would give them."""

import contextlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple
from unittest import mock

from gateways.kafka import Record
from schemas.base import Event
from schemas.envelope import encode
from schemas.topics import topic_of
from sinsok.cli import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def sinsok(*arguments: str) -> Outcome:
    """What `sinsok ARGUMENTS` answers."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["sinsok", *arguments]),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    return Outcome(int(code), out.getvalue(), err.getvalue())


FAULT: Final = "archive of triage.results/0: records 10 to 14 are missing"
NOT_WHOLE: Final = "the archive is not whole, see above: `sinsok archive verify` names all that is damaged or missing,"


def lacking(read: Callable[..., Iterable[Record]]) -> Callable[..., Iterator[Record]]:
    """As :func:`gateways.archive.history.read` where the archive has lost something, for who wants to hear of it."""

    def reading(*given: Any) -> Iterator[Record]:
        *_, on_fault = given
        on_fault(FAULT)
        yield from read(*given)

    return reading


def record(event: Event, timestamp_ms: int, offset: int = 0, partition: int = 0) -> Record:
    message = encode(event)
    return Record(topic_of(event), partition, offset, timestamp_ms, message.key, message.headers, message.value)


def dead_letter(letter: Record, timestamp_ms: int, offset: int = 0) -> Record:
    """A record as it stands on ``dead.letters``."""
    told = {
        "error": "ValueError",
        "message": "it was too much",
        "hop": "infer",
        "attempts": "3",
        "topic": letter.topic,
        "partition": "4",
        "offset": "17",
        "first_failure": "2026-03-01T03:00:01+00:00",
    }
    headers = [*letter.headers, *((f"dl_{name}", value.encode()) for name, value in told.items())]
    return Record("dead.letters", 0, offset, timestamp_ms, letter.key, headers, letter.value)
