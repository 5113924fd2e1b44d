"""The stack as a table: every part in the order of starting, made from the settings."""

from collections.abc import Iterable, Sequence

from gateways import kafka_topics
from schemas.failures import Unavailable
from schemas.topics import Topic, all_topics, changelog
from sinsok.errors import UsageError
from sinsok.settings import Settings
from sinsok.stack.kafka import answering, kafka
from sinsok.stack.orthanc import echo, orthanc
from sinsok.stack.part import External, Listener, NotReady, Part
from sinsok.stack.processes import PROCESSES, process
from sinsok.stack.triton import models_ready, triton


def parts(settings: Settings) -> tuple[Part, ...]:
    """What ``sinsok up`` starts, servers first."""
    servers = {"kafka": _kafka, "triton": _triton, "orthanc": _orthanc}
    started = tuple(make(settings) for name, make in servers.items() if name in settings.stack.start)
    return started + tuple(_process(settings, name) for name in health_ports(settings))


def chosen(stack: Iterable[Part], names: Sequence[str]) -> list[Part]:
    """The parts with these names. Raises :class:`UsageError` for a name that none has."""
    known = {part.name: part for part in stack}
    if strange := [name for name in names if name not in known]:
        raise UsageError(f"there is no part {strange[0]!r}: parts are {', '.join(known)}")
    return [known[name] for name in names]


def health_ports(settings: Settings) -> dict[str, int]:
    """The processes that run with these settings, each with its health port."""
    idle = set() if settings.traces.endpoint else {"tracer"}
    ports = {name: settings.health.first_port + number for number, name in enumerate(PROCESSES)}
    return {name: port for name, port in ports.items() if name not in idle}


def externals(settings: Settings) -> tuple[External, ...]:
    """What runs elsewhere (``stack.start`` does not name it): checked, never started or stopped."""
    orthanc_host, orthanc_port = settings.orthanc.host, settings.orthanc.dicom_port
    elsewhere = (
        External("kafka", settings.kafka.bootstrap_servers, lambda: answering(settings.kafka.bootstrap_servers)),
        External(
            "triton",
            settings.triton.grpc_url,
            lambda: models_ready(settings.triton.http_url, settings.model_repository),
        ),
        External(
            "orthanc",
            f"{settings.orthanc.aet} {orthanc_host}:{orthanc_port}",
            lambda: echo(orthanc_host, orthanc_port, settings.orthanc.aet),
        ),
    )
    return tuple(external for external in elsewhere if external.name not in settings.stack.start)


def topics(settings: Settings) -> tuple[Topic, ...]:
    """Every topic the broker must have: the events', and those behind the tables of the stateful hops."""
    return (
        *all_topics(settings.sites),
        changelog("sinsok-assemble", "studies"),
        changelog("sinsok-alert", "alerts"),
        changelog("sinsok-escalate", "pages"),
    )


def _kafka(settings: Settings) -> Part:
    host, port = _split(settings.kafka.bootstrap_servers.split(",")[0])
    declared = topics(settings)
    return kafka(
        settings.home,
        host,
        port,
        settings.kafka.controller_port,
        once_ready=lambda: create_topics(settings.kafka.bootstrap_servers, declared),
    )


def create_topics(bootstrap_servers: str, declared: Iterable[Topic]) -> None:
    """Create what is missing. Raises :class:`NotReady` when the broker refuses."""
    try:
        kafka_topics.create(bootstrap_servers, declared)
    except Unavailable as error:
        raise NotReady(str(error)) from None


def _triton(settings: Settings) -> Part:
    host, http = _split(settings.triton.http_url)
    _, grpc = _split(settings.triton.grpc_url)
    _, metrics = _split(settings.triton.metrics_url)
    return triton(settings.home, settings.model_repository, host, http, grpc, metrics)


def _orthanc(settings: Settings) -> Part:
    pacs = settings.orthanc
    gateway = settings.dicom
    return orthanc(
        settings.home,
        pacs.host,
        pacs.http_port,
        pacs.dicom_port,
        aet=pacs.aet,
        modalities=[
            *((site.called_ae, gateway.host, gateway.port) for site in settings.sites.values()),
            (settings.writer.aet, settings.writer.host, settings.writer.port),
        ],
    )


def _process(settings: Settings, name: str) -> Part:
    health, writer = settings.health, settings.writer
    if name == "pacs-writer":
        return process(
            name,
            health.host,
            health.first_port,
            endpoint=f"{writer.aet} {writer.host}:{writer.port}",
            listeners=(Listener(writer.host, writer.port, "writer.port"),),
        )
    if name == "console":
        console = settings.console
        return process(
            name,
            health.host,
            health.first_port,
            endpoint=console.url,
            listeners=(Listener(console.host, console.port, "console.port"),),
        )
    if name != "dicom-gateway":
        return process(name, health.host, health.first_port)
    host, port = settings.dicom.host, settings.dicom.port
    titles = ", ".join(site.called_ae for site in settings.sites.values())
    return process(
        name,
        health.host,
        health.first_port,
        endpoint=f"{titles} {host}:{port}",
        listeners=(Listener(host, port, "dicom.port"),),
    )


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
