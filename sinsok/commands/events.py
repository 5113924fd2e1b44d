"""``sinsok events``: what stands on topics."""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from heapq import heappop, heappush
from typing import Any, Final

import click

from gateways.archive import history
from gateways.kafka import Record, Start, read
from gateways.kafka_topics import names
from gateways.objects import FileStore
from schemas.base import StudyEvent
from schemas.envelope import NotAnEvent, decode
from schemas.topics import DEAD_LETTERS
from sinsok.errors import UsageError
from sinsok.history import going_on, read_history
from sinsok.settings import load
from sinsok.timeline import about, value_of
from sinsok.wording import kind, printable, summary
from streams.dead_letters import read_obituary

NEWEST: Final = 20
"""So many events of each topic are shown where neither --all nor --follow is given."""


@click.command()
@click.argument("topics", metavar="TOPIC...", nargs=-1, required=True)
@click.option("--all", "everything", is_flag=True, help="From the beginning; the archive too, but for --follow.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--study", "study_uid", metavar="UID", help="Only events about this StudyInstanceUID, at any site.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; bytes that hold none as base64.")
def command(topics: tuple[str, ...], everything: bool, follow: bool, study_uid: str | None, as_json: bool) -> None:
    """Print the events of topics. TOPIC may be a pattern such as 'alerts.*'.

    Without --follow it ends at the present end of the topics and prints in the order of time. With --follow alone it
    prints what comes from now on; with neither --all nor --follow, the newest 20 events of each topic.
    """
    settings = load()
    bootstrap, store = settings.kafka.bootstrap_servers, FileStore(settings.store)
    with going_on() as on_fault, suppress(KeyboardInterrupt):
        records: Iterable[Record]
        if everything and not follow:
            chosen = _choose(topics, history.topics(bootstrap, store), bootstrap)
            records = read_history(settings, chosen, on_fault=on_fault)
        else:
            start: Start = "beginning" if everything or not follow else "end"
            records = read(bootstrap, _choose(topics, names(bootstrap), bootstrap), start=start, follow=follow)
        if study_uid is not None:
            records = (record for record, _ in about(records, study_uid))
        if not follow:
            records = sorted(records if everything else _newest(records), key=lambda record: record.timestamp_ms)
        for record in records:
            click.echo(json.dumps(_described(record), ensure_ascii=False) if as_json else _told(record))


def _choose(patterns: Iterable[str], known: frozenset[str], bootstrap: str) -> list[str]:
    chosen: dict[str, None] = {}
    for pattern in patterns:
        matching = sorted(name for name in known if fnmatchcase(name, pattern))
        if not matching:
            there = ", ".join(sorted(known)) or "none at all; `sinsok topics --apply` creates them"
            raise UsageError(f"no topic {pattern!r} at {bootstrap}: the topics are {there}")
        chosen.update(dict.fromkeys(matching))
    return list(chosen)


def _newest(records: Iterable[Record]) -> Iterator[Record]:
    """The newest few of each topic, by time: partitions are read side by side, what comes last need not be newest."""
    kept: dict[str, list[tuple[int, int, int, Record]]] = defaultdict(list)
    for record in records:
        topic = kept[record.topic]
        heappush(topic, (record.timestamp_ms, record.partition, record.offset, record))
        if len(topic) > NEWEST:
            heappop(topic)
    for topic in kept.values():
        yield from (record for *_, record in topic)


def _described(record: Record) -> dict[str, Any]:
    value = value_of(record)
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "key": _text(record.key),
        "headers": {name: raw.decode(errors="backslashreplace") for name, raw in record.headers},
        "value": _base64(record.value) if value is None else value,
    }


def _text(raw: bytes | None) -> Any:
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return _base64(raw)


def _base64(raw: bytes | None) -> dict[str, str] | None:
    return None if raw is None else {"base64": base64.b64encode(raw).decode()}


def _told(record: Record) -> str:
    at = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
    where = f"{at:%Y-%m-%d %H:%M:%S}.{record.timestamp_ms % 1000:03} {record.topic:<16}"
    size = len(record.value or b"")
    try:
        if record.topic == DEAD_LETTERS.name:
            return f"{where} {'DeadLetter':<19} {size} bytes, {printable(summary(read_obituary(record.headers)))}"
        event = decode(record.headers, record.value)
    except (NotAnEvent, ValueError) as error:
        return f"{where} {'?':<19} {size} bytes: {printable(str(error))}"
    study = f" study {event.study_uid}" if isinstance(event, StudyEvent) else ""
    return f"{where} {kind(event):<19} {event.site}{printable(study)} {printable(summary(event))}"
