"""``sinsok alarms``: what is wrong with the installation, and since when."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from gateways.kafka import read
from gateways.watch.alarms import alarms
from gateways.watch.ledger import Ledger
from gateways.watch.studies import Late, unread
from schemas.alarms import AlarmRaised
from schemas.audit import INSTALLATION
from schemas.topics import ALARMS
from sinsok.errors import UsageError, UserError
from sinsok.settings import Settings, load
from sinsok.wording import printable


@click.command()
@click.option("--all", "everything", is_flag=True, help="Those too that are over, and when they were.")
@click.option("--ai", is_flag=True, help="Instead: every study at which no AI has looked in time.")
@click.option("--site", help="Only those of this site, and of the installation as a whole.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(everything: bool, ai: bool, site: str | None, as_json: bool) -> None:
    """Show what is wrong now, the longest first, since when, and what to do.

    The watcher says so, also that it is over. With --ai: the studies that are to be read in turn, since no AI has
    looked at them; read from the watcher's ledger, on the machine where it runs.
    """
    settings = load()
    if ai and everything:
        raise UsageError("--ai lists what waits now: it goes without --all")
    if site is not None and site not in settings.sites:
        raise UsageError(f"there is no site {site!r}: choose one of {', '.join(settings.sites)}")
    if ai:
        studies = [one for one in _unread(settings) if site in (None, one.study.site)]
        for late in studies:
            click.echo(json.dumps(_described_study(late), ensure_ascii=False) if as_json else _told_study(late))
        if not studies and not as_json:
            click.echo("no study waits for an AI that did not look")
        return
    found = [(event, over_at) for event, over_at in _alarms(settings) if everything or over_at is None]
    found = [one for one in found if site is None or one[0].site in (site, INSTALLATION)]
    for event, over_at in found:
        click.echo(json.dumps(_described(event, over_at), ensure_ascii=False) if as_json else _told(event, over_at))
    if not found and not as_json:
        click.echo("no alarm was ever raised" if everything else "nothing is wrong")


def _alarms(settings: Settings) -> list[tuple[AlarmRaised, datetime | None]]:
    return alarms(read(settings.kafka.bootstrap_servers, [ALARMS.name])).all


def _unread(settings: Settings) -> list[Late]:
    path = settings.home / "watch" / "ledger.sqlite"
    if not path.exists():
        raise UserError(f"there is no ledger at {path}: the watcher has never run here; `sinsok up` starts it")
    try:
        ledger = Ledger(path)
        try:
            studies = list(ledger.under_way())
        finally:
            ledger.close()
    except sqlite3.Error as error:
        raise UserError(f"the ledger at {path} cannot be used: {error}") from None
    now = datetime.now(UTC)
    found: Iterator[Late | None] = (unread(study, settings.watch, now) for study in studies)
    return sorted((late for late in found if late is not None), key=lambda late: late.since)


def _described(event: AlarmRaised, over_at: datetime | None) -> dict[str, Any]:
    return {
        "site": event.site,
        "kind": event.kind,
        "subject": event.subject,
        "since": event.since.isoformat(),
        "cleared": over_at.isoformat() if over_at else None,
        "detail": event.detail,
    }


def _told(event: AlarmRaised, over_at: datetime | None) -> str:
    over = f", over since {_utc(over_at)}" if over_at else ""
    return printable(f"{event.kind:14} {event.site:10} since {_utc(event.since)}{over}  {event.detail}")


def _described_study(late: Late) -> dict[str, Any]:
    study = late.study
    return {
        "site": study.site,
        "study_uid": study.study_uid,
        "revision": study.assembled,
        "since": late.since.isoformat(),
        "reason": late.what,
    }


def _told_study(late: Late) -> str:
    study = late.study
    return printable(
        f"{study.site:10} since {_utc(late.since)}  study {study.study_uid}  revision {study.assembled}: {late.what}"
    )


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
