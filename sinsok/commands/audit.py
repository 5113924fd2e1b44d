"""``sinsok audit``: is the audit trail as it was written, and what leaves the house of it."""

import ssl
import sys
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from gateways.audit import keys
from gateways.audit.chain import Broken
from gateways.audit.fault import Fault
from gateways.audit.head import Heads, UnusableHead
from gateways.audit.keys import UnusableKey
from gateways.audit.syslog import SyslogServer
from gateways.audit.tails import accepted
from gateways.audit.verification import TrailInspection
from gateways.process import Taken, hold
from gateways.tls import TlsSettings
from schemas.audit import INSTALLATION
from schemas.topics import AUDIT_TRAIL
from sinsok import auditing
from sinsok.atna import send_messages
from sinsok.bundle import write_bundle
from sinsok.errors import UsageError, UserError
from sinsok.history import going_on, read_history
from sinsok.parameters import TIME
from sinsok.settings import Settings, load
from sinsok.wording import printable

_TELL_EVERY: Final = 250_000


@click.group()
def command() -> None:
    """Verify and export the audit trail."""


@command.command()
def init() -> None:
    """Make the key that signs the trail, readable by you only, and its public part beside it.

    `sinsok run auditor` makes one itself where neither a key nor a chain is there.
    """
    settings = load()
    if auditing.heads(settings).chains() and not settings.audit.retired:
        where = auditing.heads(settings).folder
        raise UserError(f"there are chains in {where}, which another key has signed: name it in audit.retired first")
    try:
        made = keys.create(auditing.key_place(settings))
    except UnusableKey as error:
        raise UserError(str(error)) from None
    place = auditing.key_place(settings)
    click.echo(
        f"key {made.id}\n  {place}\n  {keys.public_place(place)}\nkeep a copy of the first, and give out the second"
    )


@command.command()
@click.option("--chain", "name", metavar="NAME", help="Only this one: a site, or sinsok for the installation.")
@click.option("--stream", is_flag=True, help="Also hold every event topic against the trail.")
def verify(name: str | None, stream: bool) -> None:
    """Check every record, link and signature of the trail, and where each chain ends. Exit code 1 on any fault.

    One line for each fault: what kind, which records of which chain, and where they stand. What is damaged in the
    archive is told beside, and what can be read is checked.
    """
    if stream and name:
        raise UsageError("--stream is about all chains: leave --chain out")
    settings = load()
    heads = auditing.heads(settings)
    names = {*settings.sites, INSTALLATION, *heads.chains()} if heads.chains() else set()
    with going_on() as on_fault:
        inspection = _inspected(settings, names, heads, on_fault, remember=stream)
        faults = inspection.finish()
        shown = {chain: one for chain, one in inspection.chains.items() if name in (None, chain)}
        if not shown:
            if not inspection.chains:
                raise UserError("there is no audit trail yet: `sinsok run auditor` writes it")
            raise UserError(f"there is no chain {name!r}; chains are {', '.join(sorted(inspection.chains))}")
        for chain, one in shown.items():
            newest = f", the newest {len(one.unsigned)} not signed yet" if one.unsigned else ""
            click.echo(f"{chain}: {one.records} records, {one.checkpoints} of them checkpoints{newest}")
        found = [fault for fault in faults if name in (None, fault.chain)]
        if stream:
            found += _compared(settings, inspection, on_fault)
        for fault in found:
            click.echo(printable(str(fault)))
        click.echo(f"{len(found)} faults" if found else "as it was written")
    if found:
        sys.exit(1)


@command.command()
@click.option("--chain", "name", metavar="NAME", required=True, help="A site, or sinsok for the installation.")
def accept(name: str) -> None:
    """Accept a chain as it stands, after a loss that is explained.

    For a chain that lost its end, or its head, or that somebody else wrote behind, as after the broker came back from a
    backup. It goes on behind the newest record that a checkpoint or the head vouches for; where the head's own is gone,
    behind the newest that is there. What the head knew is kept beside it. The auditor must not run.
    """
    settings = load()
    heads, signer, verifier = auditing.heads(settings), auditing.own_signer(settings), auditing.verifier(settings)
    if name not in {*settings.sites, INSTALLATION, *heads.chains()}:
        raise UsageError(f"there is no chain {name!r}: choose one of {', '.join([*settings.sites, INSTALLATION])}")
    try:
        with closing(hold(heads.folder / "auditor.lock")):
            try:
                known = heads.read(name, verifier)
            except UnusableHead:
                known = None
            standing, passed = accepted(name, read_history(settings, [AUDIT_TRAIL.name]), known, verifier)
            place = heads.place(name)
            if place.exists():
                place.rename(place.with_name(f"{name}.head.{datetime.now(UTC):%Y%m%dT%H%M%SZ}"))
            heads.write(standing.head, signer)
    except Taken as error:
        raise UserError(f"the auditor (pid {error.pid}) runs: `sinsok down auditor` stops it") from None
    except Broken as error:
        raise UserError(f"chain {name}: {error}: only a missing end can be accepted; `sinsok audit verify`") from None
    click.echo(f"chain {name} goes on behind record {standing.chain.newest.sequence}")
    if passed:
        click.echo(f"{passed} records under its key are not the chain's and passed over: `sinsok audit verify`")


@command.command()
@click.option("--study", "study_uid", metavar="UID", help="A bundle of this study, for whoever wants to check it.")
@click.option("--site", help="Whose study it is, where several sites have one with this UID.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="The bundle, a zip file.")
@click.option("--syslog", metavar="HOST:PORT", help="DICOM audit messages to an audit record repository, over TLS.")
@click.option("--ca", type=click.Path(path_type=Path), metavar="FILE", help="Who signed the repository's certificate.")
@click.option("--cert", type=click.Path(path_type=Path), metavar="FILE", help="Our certificate, where it asks for one.")
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="The certificate's key.")
@click.option("--from", "begin", type=TIME, help="Only events from this time on: 2026-11-26, 2026-11-26T03:00Z.")
@click.option("--to", "end", type=TIME, help="Only events before this time.")
def export(
    study_uid: str | None,
    site: str | None,
    out: Path | None,
    syslog: str | None,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    begin: datetime | None,
    end: datetime | None,
) -> None:
    """Take a part of the trail out: --study UID --out FILE, or --syslog HOST:PORT. Each export is an event itself.

    Times without an offset are UTC.
    """
    if (study_uid is None) == (syslog is None):
        raise UsageError("choose one: --study UID --out FILE, or --syslog HOST:PORT")
    of_syslog = {"--ca": ca, "--cert": cert, "--key": key, "--from": begin, "--to": end}
    chosen, others = ("--syslog", {"--site": site, "--out": out}) if study_uid is None else ("--study", of_syslog)
    if given := [option for option, value in others.items() if value is not None]:
        raise UsageError(f"{chosen} goes without {', '.join(given)}")
    settings = load()
    if study_uid is not None:
        if out is None:
            raise UsageError("--study needs --out FILE: where to write the bundle")
        made = write_bundle(settings, study_uid, site, out, lambda line: click.echo(line, err=True))
        click.echo(f"{made.place}: {made.records} records of {made.site}, signed with {made.key}")
        if made.unsigned:
            click.echo(f"{made.unsigned} of them no checkpoint signs yet: is the auditor running?")
        return
    server = SyslogServer(*_address(syslog or ""), _tls(ca, cert, key))
    sent = send_messages(settings, server, syslog or "", begin, end)
    click.echo(f"{sent.messages} messages sent to {syslog}; {sent.others} records have no counterpart in DICOM")
    if sent.gone:
        click.echo(f"{sent.gone} more are not on their topics as they were audited: `sinsok audit verify --stream`")
    if sent.foreign:
        click.echo(f"{sent.foreign} records on {AUDIT_TRAIL.name} are none of a chain: `sinsok audit verify`")
    if sent.gone or sent.foreign:
        sys.exit(1)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"--syslog {text}: give HOST:PORT")
    return host.strip("[]"), int(port)


def _tls(ca: Path | None, cert: Path | None, key: Path | None) -> TlsSettings:
    if ca is None:
        paths = ssl.get_default_verify_paths()
        ca = Path(paths.cafile or paths.openssl_cafile)
    return TlsSettings(ca=ca, certificate=cert, key=key)


def _inspected(
    settings: Settings, names: Collection[str], heads: Heads, on_fault: Callable[[str], None], *, remember: bool
) -> TrailInspection:
    verifier, most = auditing.verifier(settings), settings.audit.checkpoint_records
    inspection = TrailInspection(names, heads, verifier, most, remember=remember)
    for number, record in enumerate(read_history(settings, [AUDIT_TRAIL.name], on_fault=on_fault), start=1):
        inspection.take(record)
        if number % _TELL_EVERY == 0:
            click.echo(f"{number} records read", err=True)
    return inspection


def _compared(settings: Settings, inspection: TrailInspection, on_fault: Callable[[str], None]) -> list[Fault]:
    # A site that is not configured any more has left its topics and its records in the trail.
    topics = sorted({topic.name for topic in auditing.audited_topics(settings)} | inspection.topics)
    since = datetime.now(UTC) - timedelta(seconds=settings.watch.audit_after_s)
    found, waiting = inspection.compare(read_history(settings, topics, on_fault=on_fault), since)
    if waiting:
        click.echo(f"{waiting} records on the topics wait for their audit record")
    return found
