"""``sinsok demo``: the main job on synthetic studies, from C-STORE to alert, with the time every hop took."""

import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from gateways.console.settings import Grant
from gateways.dicom import scu
from schemas import topics
from schemas.audit import Role
from schemas.base import StudyEvent
from schemas.deliveries import ResultArchived, ResultRejected
from schemas.events import AlertRaised, AlertWithdrawn, SeriesReceived, StudyAssembled, StudyTriaged
from sinsok import demo, phantom, settings
from sinsok.commands import up
from sinsok.commands.accounts import accounts_of
from sinsok.errors import UserError
from sinsok.keyimage import write_key_image
from sinsok.settings import Settings

SITE = "suwon"
_PATIENCE_S = 900.0


@click.command(short_help="Run the main job on synthetic studies and show what happened.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Start the stack, send a head CT with a bleed, one without and a chest CT, and show what was decided and why.

    They go to the local PACS too, as from a scanner, and what the AI found is written there next to them.
    Exit code 0 only if every decision was right. Pictures and DICOM files are in SINSOK_HOME/demo.
    """
    configuration = settings.load()
    site = SITE if SITE in configuration.sites else next(iter(configuration.sites))
    ctx.invoke(up.command)
    folder = configuration.home / "demo" / time.strftime("%Y%m%dT%H%M%S")
    _heading("Making three synthetic studies")
    studies = {case.name: _make(case.name, folder / case.name) for case in demo.CASES}
    _heading(f"Sending them to {configuration.sites[site].called_ae} by C-STORE, the bleed last")
    journeys = [_send(configuration, site, case, *studies[case.name]) for case in reversed(demo.CASES)]
    _heading("Following them (seconds since the last image of the study was sent)")
    followed = (topics.DICOM_SERIES, topics.STUDIES, topics.RESULTS, topics.alerts(site), topics.DELIVERIES)
    names = [topic.name for topic in followed]
    demo.follow(configuration.kafka.bootstrap_servers, names, journeys, _tell, _PATIENCE_S)
    _heading("What was decided")
    right = [_conclude(configuration, folder, journey) for journey in journeys]
    _heading("Look at it")
    for journey in journeys:
        for alert in journey.alerts:
            click.echo(f"  {configuration.console.url}/alerts/{alert.alert_id}")
    _invite(configuration)
    click.echo("AI output. Not for diagnosis without a physician.")
    if not all(right):
        raise UserError("the demonstration did not decide as it should; the lines marked WRONG say where")
    click.echo("All decisions were right. `sinsok status` shows the parts, `sinsok down` stops them.")


def _make(name: str, folder: Path) -> tuple[str, tuple[Path, ...]]:
    started = time.monotonic()
    study = phantom.build(phantom.Case(name), seed=int(time.time()) % 1000, fresh=True)
    files = phantom.write(study, folder)
    truth = f"{study.truth.volume_ml:.0f} ml of blood" if study.truth else "no blood"
    click.echo(f"  {name:<9} {len(files)} images, {truth}  ({time.monotonic() - started:.1f} s)")
    return study.study_uid, files


def _send(configuration: Settings, site: str, case: demo.Case, study_uid: str, files: tuple[Path, ...]) -> demo.Journey:
    instances = [scu.read_instance(file) for file in files]
    pacs, gateway = configuration.orthanc, configuration.dicom
    to_pacs = "orthanc" in configuration.stack.start  # never into a PACS that is a hospital's
    if to_pacs:
        _store(case.name, instances, pacs.host, pacs.dicom_port, pacs.aet, "the PACS")
    started = time.monotonic()
    accepted = _store(
        case.name, instances, gateway.host, gateway.port, configuration.sites[site].called_ae, "the gateway"
    )
    sent_at = time.time()
    seconds = time.monotonic() - started
    click.echo(f"  {case.name:<9} {accepted} images accepted in {seconds:.1f} s, study {study_uid}")
    return demo.Journey(case, study_uid, sent_at, to_pacs=to_pacs)


def _store(name: str, instances: Sequence[scu.InstanceFile], host: str, port: int, called: str, whom: str) -> int:
    """C-STORE all of them; how many that were."""
    with click.progressbar(length=len(instances), label=f"  {name:<9}", file=sys.stderr) as bar:
        try:
            summary = scu.send(
                instances,
                host=host,
                port=port,
                called=called,
                calling="SINSOK_DEMO",
                on_result=lambda _: bar.update(1),
            )
        except scu.SendFailed as error:
            raise UserError(f"{name} could not be sent to {whom}: {error}; see `sinsok status`") from None
    if summary.refused:
        raise UserError(f"{whom} refused {summary.refused} images of {name}")
    return summary.accepted


def _tell(journey: demo.Journey, at: float, event: StudyEvent) -> None:
    match event:
        case SeriesReceived():
            what = f"received {event.series.instances} images, association {event.batch_end}"
        case StudyAssembled():
            state = "final" if event.final else "provisional"
            what = f"assembled, revision {event.revision} {state}: {event.reason}"
        case StudyTriaged():
            what = f"read, revision {event.revision}: {event.outcome} {event.priority}: {event.reason}"
        case AlertRaised():
            what = f"ALERT {event.priority}: {event.reason}"
        case AlertWithdrawn():
            what = f"alert withdrawn: {event.reason}"
        case ResultArchived():
            what = f"archived: {_in_words(event)} in {event.destination}, proof: {event.proof}"
        case ResultRejected():
            what = f"rejected by {event.destination}: {event.status or ''} {event.reason}"
        case _:
            what = event.TYPE
    click.echo(f"  {at - journey.sent_at:7.2f} s  {journey.case.name:<9} {what}")


def _conclude(configuration: Settings, folder: Path, journey: demo.Journey) -> bool:
    mistakes = journey.mistakes()
    click.echo(f"{journey.case.name}: {'WRONG' if mistakes else 'right'}")
    for mistake in mistakes:
        click.echo(f"  WRONG     {mistake}")
    result = journey.results[-1]
    hops = "  ".join(f"{name} {seconds:.2f} s" for name, seconds in journey.hops())
    click.echo(f"  outcome   {result.outcome}, {result.priority}: {result.reason}")
    for decision in result.series:
        click.echo(f"  series    {decision.model or 'no model'}: {decision.reason}")
    click.echo(f"  hops      {hops}")
    for alert in journey.alerts:
        seconds = journey.first(AlertRaised)
        click.echo(f"  alert     {alert.alert_id} on alerts.{alert.site}, {seconds:.2f} s after the last image")
        largest = alert.findings[0]
        click.echo(
            f"  finding   {largest.code.meaning}, {largest.volume_ml:.1f} ml, key slice {largest.key_instance_uid}"
        )
        picture = folder / f"{journey.case.name}-key-image.png"
        write_key_image(configuration, result, largest, journey.manifest(largest.series_uid), picture)
        click.echo(f"  picture   {picture}")
    if journey.archived is not None:
        pacs = configuration.orthanc
        click.echo(f"  in PACS   {_in_words(journey.archived)}; http://{pacs.host}:{pacs.http_port}/app/explorer.html")
    click.echo(f"  timeline  sinsok study {result.study_uid}")
    return not mistakes


def _invite(configuration: Settings) -> None:
    """The first time, an account for the console, where nobody but this machine reaches it: no proxy lets in others."""
    accounts, console = accounts_of(configuration), configuration.console
    if accounts.all() or console.oidc or console.base_url or not console.on_loopback:
        return
    password = secrets.token_urlsafe(12)
    accounts.add("demo", password, Grant(roles=(Role.RADIOLOGIST, Role.OPERATOR), sites=("*",)))
    click.echo(f"  sign in as demo with the password {password} (shown this once; `sinsok accounts` changes it)")


def _in_words(event: ResultArchived) -> str:
    return ", ".join(one.kind.replace("_", " ") for one in event.objects)


def _heading(text: str) -> None:
    click.echo(f"\n{text}")
