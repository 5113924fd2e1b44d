"""``sinsok study``: one study's timeline."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import click

from gateways.kafka import read
from gateways.kafka_topics import names
from schemas.failures import Unavailable
from schemas.identity import study_key
from schemas.topics import all_topics
from sinsok.errors import UserError
from sinsok.settings import Settings, load
from sinsok.timeline import Entry, timelines
from sinsok.wording import details, kind, printable, summary


@click.command()
@click.argument("study_uid", metavar="UID")
@click.option("--site", help="Only the study of this site; else of every site that has one with this UID.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(study_uid: str, site: str | None, as_json: bool) -> None:
    """Show everything that happened to the study with this StudyInstanceUID, in order, and why.

    Times are those at which the events stood on their topics. Exit code 1 where no topic knows the study.
    """
    found = _find(load(), study_uid)
    if site is not None:
        found = {name: entries for name, entries in found.items() if name == site}
    if not found:
        where = f"site {site}" if site else "any site"
        raise UserError(
            f"no event about study {printable(study_uid)} at {where}: `sinsok events dicom.series` shows what arrived"
        )
    if as_json:
        sites = [_described(name, study_uid, entries) for name, entries in found.items()]
        click.echo(json.dumps({"study_uid": study_uid, "sites": sites}, ensure_ascii=False))
        return
    for number, (name, entries) in enumerate(found.items()):
        click.echo(("\n" if number else "") + "\n".join(_told(name, study_uid, entries)))


def _find(settings: Settings, study_uid: str) -> dict[str, list[Entry]]:
    bootstrap = settings.kafka.bootstrap_servers
    try:
        present = names(bootstrap)
        topics = [topic.name for topic in all_topics(settings.sites) if topic.name in present]
        return timelines(read(bootstrap, topics), study_uid)
    except Unavailable as error:
        raise UserError(f"{error}; `sinsok status` shows what runs") from None


def _waits(entries: list[Entry]) -> list[float]:
    """Seconds from the event before, for each entry; 0 for the first."""
    return [0.0] + [(after.timestamp_ms - before.timestamp_ms) / 1000 for before, after in pairwise(entries)]


def _described(site: str, study_uid: str, entries: list[Entry]) -> dict[str, Any]:
    begin = entries[0].timestamp_ms
    events = [
        {
            "topic": entry.topic,
            "timestamp": entry.timestamp_ms,
            "since_first_s": (entry.timestamp_ms - begin) / 1000,
            "since_previous_s": wait,
            "type": kind(entry.what),
            "copies": entry.copies,
            "event": entry.value,
        }
        for entry, wait in zip(entries, _waits(entries), strict=True)
    ]
    return {"site": site, "study_key": study_key(site, study_uid), "events": events}


def _told(site: str, study_uid: str, entries: list[Entry]) -> list[str]:
    begin = entries[0].timestamp_ms
    at = datetime.fromtimestamp(begin / 1000, UTC)
    lines = [
        f"study {printable(study_uid)} at {printable(site)}",
        f"study key {study_key(site, study_uid)}, first event {at:%Y-%m-%d %H:%M:%S}.{begin % 1000:03} UTC",
        "",
        "   since first    since previous",
    ]
    for entry, wait in zip(entries, _waits(entries), strict=True):
        since = f"{(entry.timestamp_ms - begin) / 1000:12.3f} s {wait:+15.3f} s"
        again = f"  (delivered {entry.copies} times)" if entry.copies > 1 else ""
        lines.append(f"{since}  {kind(entry.what):<15} {printable(summary(entry.what))}{again}")
        lines += [f"{'':36}{printable(line)}" for line in details(entry.what)]
    return lines
