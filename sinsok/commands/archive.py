"""``sinsok archive``: what the archive holds, and whether it is whole."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import click

from gateways.archive.archiver import lock
from gateways.archive.collector import forget
from gateways.archive.segment import Segment
from gateways.archive.store import SegmentStore, seams
from gateways.kafka import Place
from gateways.objects import FileStore
from gateways.process import Taken, hold
from schemas.failures import Unreadable
from sinsok.errors import UsageError, UserError
from sinsok.settings import load


@click.group()
def command() -> None:
    """List and verify what the archive holds, and begin anew."""


@command.command("list")
@click.argument("topic", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line a segment.")
def list_segments(topic: str | None, as_json: bool) -> None:
    """Show what is archived of each topic; of TOPIC, each segment."""
    store = _store()
    found = [one for name in _topics(store, topic) for place in _places(store, name) for one in store.segments(place)]
    if not found and not as_json:
        click.echo(f"nothing is archived in {store.root}")
    for name, group in groupby(found, lambda one: one.topic):
        segments = list(group)
        if as_json:
            click.echo("\n".join(json.dumps(_described(one)) for one in segments))
            continue
        partitions = _counted(len({one.partition for one in segments}), "partition")
        click.echo(f"{name}: {_counted(len(segments), 'segment')} of {partitions}, {_told(segments)}")
        for one in segments if topic is not None else ():
            click.echo(f"  {name}/{one.partition}  {one.first} to {one.last}, {_told([one])}")


@command.command()
@click.argument("topic", required=False)
def verify(topic: str | None) -> None:
    """Read every segment and name what is damaged or missing.

    Exit code 1 where anything is.
    """
    store, faults = _store(), 0
    for name in _topics(store, topic):
        records, segments, found = 0, 0, 0
        for place in _places(store, name):
            for outcome in _verified(store, place):
                if isinstance(outcome, int):
                    records, segments = records + outcome, segments + 1
                else:
                    found += 1
                    click.echo(f"damaged  {outcome}")
        faults += found
        whole = f"{_counted(segments, 'whole segment')} with {_counted(records, 'record')}"
        click.echo(f"{'differs' if found else 'ok':<8} {name}: {whole}")
    if faults:
        sys.exit(1)
    click.echo(f"everything in {store.root} is as it was archived")


@command.command()
def reset() -> None:
    """Have the archiver forget where it stood: it begins where the archive ends, or where the broker begins.

    For when the archive, or a part of it, is gone; docs/archive.md says when. The archiver must not run.
    """
    settings, store = load(), _store()
    try:
        with closing(hold(lock(store))):
            known = forget(settings.kafka.bootstrap_servers)
    except Taken as error:
        raise UserError(f"the archiver (pid {error.pid}) runs: `sinsok down archiver` stops it") from None
    except OSError as error:
        raise UserError(f"{lock(store)}: {error.strerror}: is the object store mounted?") from None
    click.echo(
        "the archiver begins anew; `sinsok up archiver`" if known else "the archiver stood nowhere: nothing to forget"
    )


def _verified(store: SegmentStore, place: Place) -> Iterator[int | str]:
    """For each segment of a partition the number of its records; and each thing that is wrong, in one line."""
    try:
        if missing := store.missing_in_front(place):
            yield missing
    except Unreadable as error:
        yield str(error)
    segments = store.segments(place)
    for segment in segments:
        try:
            segment.verify()
            yield segment.count
        except Unreadable as error:
            yield str(error)
    yield from (str(seam) for seam in seams(segments))
    yield from (f"{path}: is no segment" for path in store.strangers(place))


def _store() -> SegmentStore:
    return SegmentStore(FileStore(load().store))


def _topics(store: SegmentStore, topic: str | None) -> list[str]:
    known = store.topics()
    if topic is None:
        return known
    if topic not in known:
        raise UsageError(f"no topic {topic!r} in {store.root}: archived are {', '.join(known) or 'none'}")
    return [topic]


def _places(store: SegmentStore, topic: str) -> Iterator[Place]:
    return ((topic, partition) for partition in store.partitions(topic))


def _told(segments: Sequence[Segment]) -> str:
    size_bytes = sum(one.ref.size_bytes for one in segments)
    records = sum(one.count for one in segments)
    begin, end = (_time(ms) for ms in (min(o.earliest_ms for o in segments), max(o.latest_ms for o in segments)))
    return f"{_counted(records, 'record')} in {size_bytes / 1024:.0f} KiB, {begin} to {end}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _described(one: Segment) -> dict[str, Any]:
    return {
        "topic": one.topic,
        "partition": one.partition,
        "first": one.first,
        "last": one.last,
        "records": one.count,
        "earliest": one.earliest_ms,
        "latest": one.latest_ms,
        "size_bytes": one.ref.size_bytes,
        "sha256": one.digest,
        "path": str(one.path),
    }
