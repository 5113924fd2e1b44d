"""``sinsok study``: one study's timeline."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from schemas.identity import study_key, trace_id
from schemas.topics import all_topics
from sinsok.errors import UsageError, UserError
from sinsok.history import going_on, read_history
from sinsok.settings import load
from sinsok.timeline import Entry, timelines
from sinsok.wording import details, kind, printable, summary


@click.command()
@click.argument("study_uid", metavar="UID")
@click.option("--site", help="Only the study of this site; else of every site that has one with this UID.")
@click.option("--steps", is_flag=True, help="Also what each hop did with each event.")
@click.option("--bundle", type=click.Path(path_type=Path), metavar="FILE", help="Export it, signed (docs/audit.md).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(study_uid: str, site: str | None, steps: bool, bundle: Path | None, as_json: bool) -> None:
    """Show everything that happened to the study with this StudyInstanceUID, in order, and why.

    Times are those at which the events stood on their topics. Exit code 1 where no topic knows the study, or the
    archive is not whole: then what can be read of it is shown.
    """
    settings = load()
    if site is not None and site not in settings.sites:
        raise UsageError(f"there is no site {site!r}: choose one of {', '.join(settings.sites)}")
    if bundle is not None:
        # Here and not above: what signs takes its time to import.
        from sinsok.bundle import write_bundle

        made = write_bundle(settings, study_uid, site, bundle, lambda line: click.echo(line, err=True))
        click.echo(f"{made.place}: {made.records} records of {made.site}, signed with {made.key}", err=as_json)
    topics = [topic.name for topic in all_topics(settings.sites)]
    with going_on() as on_fault:
        found = timelines(read_history(settings, topics, on_fault=on_fault), study_uid, steps=steps)
        if site is not None:
            found = {name: entries for name, entries in found.items() if name == site}
        if not found:
            where = f"site {site}" if site else "any site"
            raise UserError(
                f"no event about study {printable(study_uid)} at {where}: `sinsok events dicom.series` shows what"
                " arrived"
            )
        if as_json:
            sites = [_described(name, study_uid, entries) for name, entries in found.items()]
            click.echo(json.dumps({"study_uid": study_uid, "sites": sites}, ensure_ascii=False))
            return
        for number, (name, entries) in enumerate(found.items()):
            click.echo(("\n" if number else "") + "\n".join(_told(name, study_uid, entries)))


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
    key = study_key(site, study_uid)
    return {"site": site, "study_key": key, "trace_id": trace_id(key), "events": events}


def _told(site: str, study_uid: str, entries: list[Entry]) -> list[str]:
    begin = entries[0].timestamp_ms
    at = datetime.fromtimestamp(begin / 1000, UTC)
    key = study_key(site, study_uid)
    lines = [
        f"study {printable(study_uid)} at {printable(site)}",
        f"study key {key}, first event {at:%Y-%m-%d %H:%M:%S}.{begin % 1000:03} UTC",
        f"trace {trace_id(key)}",
        "",
        "   since first    since previous",
    ]
    for entry, wait in zip(entries, _waits(entries), strict=True):
        since = f"{(entry.timestamp_ms - begin) / 1000:12.3f} s {wait:+15.3f} s"
        again = f"  (delivered {entry.copies} times)" if entry.copies > 1 else ""
        lines.append(f"{since}  {kind(entry.what):<15} {printable(summary(entry.what))}{again}")
        lines += [f"{'':36}{printable(line)}" for line in details(entry.what)]
    return lines
