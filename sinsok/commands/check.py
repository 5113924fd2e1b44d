"""``sinsok check``: is the configuration right, and does everything in it answer?"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import click

from gateways.alerts import far_side
from gateways.alerts.settings import SmtpChannel
from gateways.alerts.smtp import reach
from gateways.inference.server import NoSuchModel, TritonServer
from gateways.kafka_topics import differences
from gateways.pacs.settings import PacsSettings
from gateways.worklist.settings import WorklistSettings
from schemas.failures import NotInstalled, PortFailure
from sinsok.consistency import contradictions, paging_nobody
from sinsok.destinations import pacs_of, worklist_of, worklists_of
from sinsok.errors import UsageError
from sinsok.notifier import channels_of
from sinsok.settings import Settings, config_path, load
from sinsok.stack import parts, probe
from sinsok.stack.kafka import answering
from sinsok.stack.orthanc import echo
from sinsok.stack.part import NotReady


class Check(NamedTuple):
    """Something that has to answer. ``ask`` raises NotReady or a PortFailure where it does not."""

    name: str
    endpoint: str
    ask: Callable[[], None]
    remedy: str


@click.command()
def command() -> None:
    """Validate the configuration and reach every endpoint, one line each.

    A model that is not installed is named and fails nothing while another one reads for the site. Exit code 1 where
    something does not answer as it should, 2 where the configuration is wrong.
    """
    settings = load()
    if wrong := contradictions(settings):
        raise UsageError(f"{config_path()}: {'; '.join(wrong)}")
    click.echo(f"ok      configuration {config_path()}")
    if sites := paging_nobody(settings):
        click.echo(f"absent  paging {', '.join(sites)}: no chains; nobody is paged about alerts there")
    failed = False
    for check in checks(settings):
        try:
            check.ask()
        except NoSuchModel as error:
            failed = True
            click.echo(f"failed  {check.name} {check.endpoint}: {error}; correct the route, or add the model")
        except NotInstalled as error:
            click.echo(f"absent  {check.name} {check.endpoint}: {error}; its routes go on without it")
        except (NotReady, PortFailure) as error:
            failed = True
            click.echo(f"failed  {check.name} {check.endpoint}: {error}; {check.remedy}")
        else:
            click.echo(f"ok      {check.name} {check.endpoint}")
    if failed:
        sys.exit(1)


def checks(settings: Settings) -> Iterator[Check]:
    """What the configuration says there is."""
    yield from _kafka(settings)
    yield from _triton(settings)
    yield from _dicom(settings)
    yield from _mail(settings)
    yield from _hooks(settings)
    host = settings.health.host
    for name, port in parts.health_ports(settings).items():
        address = f"{host}:{port}"
        yield Check(name, f"http://{address}/readyz", _page(address, "/readyz"), _LOGS)


_START = "start it with `sinsok up`, or correct its address"
_LOGS = "`sinsok status` shows its state, .local/logs why"


def _kafka(settings: Settings) -> Iterator[Check]:
    bootstrap = settings.kafka.bootstrap_servers
    yield Check("kafka", bootstrap, lambda: answering(bootstrap), _START)
    yield Check("topics", bootstrap, lambda: _as_declared(settings), "`sinsok topics` shows more")


def _as_declared(settings: Settings) -> None:
    found = differences(settings.kafka.bootstrap_servers, parts.topics(settings))
    if found:
        raise NotReady(f"not as declared: {', '.join(sorted({one.topic for one in found}))}")


def _triton(settings: Settings) -> Iterator[Check]:
    address = settings.triton.http_url
    yield Check("triton", f"http://{address}", _page(address, "/v2/health/live"), _START)
    server = TritonServer(settings.triton)
    routes = (route for site in settings.sites for route in settings.rules.of(site).routes)
    for model, version in sorted({named for route in routes for named in route.models}):
        ready = partial(server.check_ready, model, version)
        yield Check("model", f"{model} {version}", ready, "Triton's log says why")
    for site in settings.sites:
        readers = tuple((route.model, route.version) for route in settings.rules.of(site).routes)
        if readers:
            yield Check(
                "reading", site, partial(_any_ready, server, readers), "`sinsok models list` shows what there is"
            )


def _any_ready(server: TritonServer, readers: tuple[tuple[str, str], ...]) -> None:
    """Raises the failure of the last where none is ready: nothing that is sent would be read."""
    failure: PortFailure | None = None
    for model, version in readers:
        try:
            return server.check_ready(model, version)
        except PortFailure as error:
            failure = error
    raise NotReady(f"no model of its routes is ready: {failure}")


def _dicom(settings: Settings) -> Iterator[Check]:
    gateway, pacs = settings.dicom, settings.orthanc
    for name, site in settings.sites.items():
        endpoint = f"{site.called_ae} {gateway.host}:{gateway.port}"
        yield Check(f"dicom {name}", endpoint, _echo(gateway.host, gateway.port, site.called_ae), _START)
    http = f"{pacs.host}:{pacs.http_port}"
    yield Check("pacs", f"http://{http}", _page(http, "/system"), _START)
    yield Check(
        "pacs", f"{pacs.aet} {pacs.host}:{pacs.dicom_port}", _echo(pacs.host, pacs.dicom_port, pacs.aet), _START
    )
    yield from _destinations(settings)


def _destinations(settings: Settings) -> Iterator[Check]:
    """The PACS of each site and its worklists, reached as results reach them."""
    for site, configured in settings.sites.items():
        pacs = settings.pacs_of(site)
        if pacs.objects.kinds:
            web = pacs.dicomweb_url if pacs.delivery == "dicomweb" else None
            endpoint = web or f"{pacs.called_ae} {pacs.host}:{pacs.port}"
            yield Check(f"pacs {site}", endpoint, partial(_reach_pacs, pacs), "correct pacs or sites.NAME.pacs")
        for name, worklist in worklists_of(site, configured.worklists):
            endpoint = worklist.url if worklist.protocol == "ups" else f"{worklist.host}:{worklist.port}"
            ask = partial(_reach_worklist, name, worklist)
            yield Check(f"worklist {name}", endpoint, ask, "correct sites.NAME.worklists")


def _reach_pacs(settings: PacsSettings) -> None:
    pacs = pacs_of(settings)
    try:
        pacs.reach()
    finally:
        pacs.close()


def _reach_worklist(name: str, settings: WorklistSettings) -> None:
    worklist = worklist_of(name, settings)
    try:
        worklist.reach()
    finally:
        worklist.close()


def _mail(settings: Settings) -> Iterator[Check]:
    """The mail server, where somebody is told by mail: greeted as for a page, with TLS and the password."""
    smtp = settings.notifier.smtp
    recipients = (recipient for site in settings.sites.values() for recipient in site.recipients.values())
    if any(isinstance(channel, SmtpChannel) for recipient in recipients for channel in recipient.channels):
        ask = partial(reach, smtp, settings.notifier.timeout_s)
        yield Check("mail", f"{smtp.host}:{smtp.port}", ask, "correct notifier.smtp")


def _hooks(settings: Settings) -> Iterator[Check]:
    """Whom the notifier asks over HTTP: connected to, with TLS, and asked for nothing. The address may be a secret."""
    for site, configured in settings.sites.items():
        for name, recipient in configured.recipients.items():
            for channel, said in channels_of(recipient):
                if not isinstance(said, SmtpChannel):
                    ask = partial(far_side.reach, said.url, said.ca, settings.notifier.timeout_s)
                    yield Check("hook", f"{site}/{name}/{channel}", ask, "correct the channel")


def _page(address: str, path: str) -> Callable[[], None]:
    def ask() -> None:
        probe.get(address, path)

    return ask


def _echo(host: str, port: int, called_ae: str) -> Callable[[], None]:
    return lambda: echo(host, port, called_ae)
