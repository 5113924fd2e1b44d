"""``sinsok deliveries``: what is owed to PACS and worklists, and why it is not there yet."""

import json
import sqlite3
import time
from datetime import UTC, datetime
from typing import Any

import click

from gateways.delivery.ledger import OPEN, Delivery, Ledger, State
from sinsok.errors import UserError
from sinsok.settings import Settings, load
from sinsok.wording import printable

_SHOWN = (*OPEN, State.REJECTED)


@click.command()
@click.option("--site", help="Only what is owed to this site.")
@click.option("--retry", is_flag=True, help="Try again what was rejected, first; the PACS writer takes it up at once.")
@click.option("--dismiss", metavar="STUDY_UID", help="What is held or rejected of this study is not to be written.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(site: str | None, retry: bool, dismiss: str | None, as_json: bool) -> None:
    """Show the results that are waiting, held or rejected, newest first, and why.

    *waiting*: nothing was sent. *sending*: some of it may be there. *stored*: accepted, the proof is to come. *held*:
    the study in the PACS has another patient, or is not there; looked at again every few minutes, and never written as
    it is. *rejected*: the far side said no; once the cause is mended, try again with --retry. What is not to be written
    any more is put aside with --dismiss.
    """
    settings = load()
    if site is not None and site not in settings.sites:
        raise UserError(f"there is no site {site!r}: choose one of {', '.join(settings.sites)}")
    ledger = _ledger(settings)
    try:
        names = [name for name in ledger.destinations() if _of(site, name)]
        if dismiss is not None:
            click.echo(f"{ledger.dismiss(dismiss, names, time.time())} results are put aside")
        if retry:
            click.echo(f"{ledger.retry(names, time.time())} rejected results are tried again")
        owed = [one for one in ledger.in_states(_SHOWN) if _of(site, one.destination)]
    except sqlite3.Error as error:
        raise UserError(f"the ledger in {settings.home / 'deliveries'} cannot be used: {error}") from None
    finally:
        ledger.close()
    for delivery in owed:
        click.echo(json.dumps(_described(delivery), ensure_ascii=False) if as_json else _told(delivery))
    if not owed and not as_json:
        click.echo("nothing is owed")


def _ledger(settings: Settings) -> Ledger:
    path = settings.home / "deliveries" / "ledger.sqlite"
    if not path.exists():
        raise UserError(f"there is no ledger at {path}: the PACS writer has never run here; `sinsok up` starts it")
    return Ledger(path)


def _of(site: str | None, destination: str) -> bool:
    return site is None or destination.startswith(f"{site}/")


def _described(delivery: Delivery) -> dict[str, Any]:
    result = delivery.result
    return {
        "destination": delivery.destination,
        "state": delivery.state,
        "reason": delivery.reason,
        "since": datetime.fromtimestamp(delivery.taken_at, UTC).isoformat(),
        "study_uid": result.study_uid,
        "revision": result.revision,
        "unconfirmed": result.unconfirmed,
        "outcome": result.outcome,
        "priority": result.priority,
        "result": str(result.event_id),
    }


def _told(delivery: Delivery) -> str:
    result = delivery.result
    since = datetime.fromtimestamp(delivery.taken_at).astimezone()
    line = (
        f"{delivery.state:9} {delivery.destination:16} since {since:%Y-%m-%d %H:%M:%S}  study {result.study_uid}"
        f"  revision {result.revision}{' (unconfirmed)' if result.unconfirmed else ''}, {result.outcome}"
    )
    return printable(f"{line}: {delivery.reason}" if delivery.reason else line)
