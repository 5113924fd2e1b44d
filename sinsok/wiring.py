"""The composition root: the one place where ports meet gateways and settings meet the code they are for.

mypy proves here that every gateway fits the port it is given to.
"""

import signal
import threading
from collections.abc import Callable
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import structlog

from gateways import kafka
from gateways.health import Complaints, HealthServer
from gateways.objects import FileStore
from gateways.process import CannotStart, Process
from schemas.base import ObjectRef
from schemas.events import Series
from schemas.models import ModelIdentity
from schemas.topics import AUDIT_TRAIL, all_topics
from sinsok.consistency import archive_contradictions
from sinsok.errors import UsageError, UserError
from sinsok.settings import Settings
from sinsok.stack.parts import health_ports
from sinsok.stack.processes import HOPS, PROCESSES
from streams.answers import Heard
from streams.hop import StatefulHop, StatelessHop
from streams.log_limit import LogLimit
from streams.pipeline import pipeline
from streams.ports import Inference
from streams.settings import StreamSettings

log = structlog.get_logger()


def stream_hop(settings: Settings, name: str, inference: Inference) -> StatelessHop | StatefulHop[Any]:
    """A hop of the table by its name. Raises :class:`UsageError` where there is none."""
    for hop in pipeline(settings.rules, inference):
        if hop.name == name and isinstance(hop, StatelessHop | StatefulHop):
            return hop
    raise UsageError(f"there is no hop {name!r}: choose one of {', '.join(HOPS)}")


def stream_settings(settings: Settings, name: str) -> StreamSettings:
    """How a hop runs. One that asks models is given the time that a reading may take: then it is not stuck."""
    streams, longest_s = settings.streams, _longest_reading_s(settings, name)
    return streams.model_copy(
        update={
            "bootstrap_servers": settings.kafka.bootstrap_servers,
            "datadir": settings.home / "streams",
            "stalled_after_s": max(streams.stalled_after_s, 1.5 * longest_s),
            "rebalance_timeout_s": max(streams.rebalance_timeout_s, 1.5 * longest_s),
        }
    )


def _longest_reading_s(settings: Settings, name: str) -> float:
    """How long a hop may wait for a model, 0 for those that ask none."""
    return {"infer": settings.triton.timeout_s, "confirm": settings.triton.routine_timeout_s}.get(name, 0.0)


class NoModels:
    """For the hops that ask none, so that they need not wait for what reads images."""

    async def identify(self, model: str, version: str) -> NoReturn:
        """Raises ``AssertionError``: a hop that asks belongs into :func:`_longest_reading_s`."""
        raise AssertionError(f"asked for {model}@{version} by a hop that asks no model")

    async def read(
        self, site: str, study_uid: str, series: Series, model: ModelIdentity, *, urgent: bool = True
    ) -> NoReturn:
        """As :meth:`identify`."""
        await self.identify(model.name, model.version)


def run_streams(settings: Settings, name: str) -> None:
    """Run a hop in this process until SIGTERM."""
    # Here and not above, as in every role: a process that died is back the sooner the less it imports.
    from streams.worker import run

    models, answered_at = models_for(settings, name)
    hop = stream_hop(settings, name, Heard(models))
    streams = stream_settings(settings, name)

    def serve(health: Complaints) -> None:
        # A hop that is stuck ends itself: while it answers it is alive.
        _health(settings, f"streams-{name}", alive=list, ready=health).start()

    if code := run(hop, streams, on_health=serve, answered_at=answered_at, rules=_kept_rules(settings)):
        raise SystemExit(code)


def models_for(settings: Settings, name: str) -> tuple[Inference, Callable[[], float]]:
    """The models that a hop asks, and when they last answered (monotonic)."""
    if not _longest_reading_s(settings, name):
        return NoModels(), lambda: 0.0
    from gateways.inference.recorded import Recorded
    from gateways.inference.triton import TritonInference

    triton = TritonInference(settings.triton, FileStore(settings.store))
    return Recorded(triton, settings.store), lambda: triton.answered_at


def _kept_rules(settings: Settings) -> dict[str, ObjectRef]:
    """The rules of each site, kept where a replay finds them. A disk that is full must not keep a hop from deciding."""
    store = FileStore(settings.store)
    try:
        return {site: store.put(text.encode(), "rules", ".json") for site, text in settings.rules.as_json().items()}
    except OSError as error:
        log.error("the rules are not kept: replays of what is decided now need them given", error=error.strerror)
        return {}


def run_dicom_gateway(settings: Settings) -> None:
    """Run the DICOM gateway in this process until SIGTERM or SIGINT."""
    from gateways.dicom.gateway import DicomGateway

    bootstrap = settings.kafka.bootstrap_servers
    store = FileStore(settings.store)
    _run(
        "dicom-gateway",
        DicomGateway(settings.dicom, settings.sites, store, lambda: kafka.producer(bootstrap)),
        settings,
    )


def run_pacs_writer(settings: Settings) -> None:
    """Run the PACS writer in this process until SIGTERM or SIGINT."""
    from gateways.delivery.intake import consumer
    from gateways.delivery.writer import ResultWriter
    from sinsok.destinations import couriers

    bootstrap = settings.kafka.bootstrap_servers
    ours = ResultWriter(
        settings.writer,
        settings.home / "deliveries",
        lambda *given: couriers(settings, *given),
        lambda: consumer(bootstrap),
        lambda: kafka.producer(bootstrap),
        {settings.pacs_of(site).calling_ae for site in settings.sites},
    )
    _run("pacs-writer", ours, settings)


def run_notifier(settings: Settings) -> None:
    """Run the notifier in this process until SIGTERM or SIGINT."""
    from gateways.alerts.intake import consumer
    from gateways.alerts.notifier import Notifier
    from sinsok.notifier import budgets, couriers

    bootstrap = settings.kafka.bootstrap_servers
    ours = Notifier(
        settings.notifier.keep_days,
        settings.home / "alerts",
        tuple(settings.sites),
        budgets(settings),
        lambda ledger: couriers(settings, ledger),
        lambda: consumer(bootstrap),
        lambda: kafka.producer(bootstrap),
    )
    _run("notifier", ours, settings)


def run_console(settings: Settings) -> None:
    """Run the console in this process until SIGTERM or SIGINT."""
    from gateways.console.console import Console

    bootstrap, host = settings.kafka.bootstrap_servers, settings.console.health_host or settings.health.host
    ports = health_ports(settings)
    ours = Console(
        settings.console,
        {name: site.console for name, site in settings.sites.items()},
        settings.home / "console",
        FileStore(settings.store),
        bootstrap,
        {name: f"{host.replace('{part}', name)}:{port}" for name, port in ports.items()},
        lambda: kafka.producer(bootstrap),
        ZoneInfo(settings.paging.timezone),
    )
    _run("console", ours, settings)


def run_watcher(settings: Settings) -> None:
    """Run the watcher in this process until SIGTERM or SIGINT."""
    from gateways.watch.watcher import Watcher
    from sinsok.watched import surroundings

    bootstrap = settings.kafka.bootstrap_servers
    ours = Watcher(
        settings.watch,
        settings.home / "watch",
        surroundings(settings),
        bootstrap,
        lambda: kafka.producer(bootstrap),
    )
    _run("watcher", ours, settings)


def run_tracer(settings: Settings) -> None:
    """Run the tracer in this process until SIGTERM or SIGINT. Raises :class:`UsageError` where nobody collects."""
    from gateways.traces.intake import consumer
    from gateways.traces.tracer import Tracer

    if settings.traces.endpoint is None:
        raise UsageError("the tracer has nobody to tell: set traces.endpoint to a collector's OTLP/HTTP address")
    bootstrap = settings.kafka.bootstrap_servers
    _run("tracer", Tracer(settings.traces, tuple(settings.sites), lambda: consumer(bootstrap)), settings)


def run_archiver(settings: Settings) -> None:
    """Run the archiver in this process until SIGTERM or SIGINT. Raises :class:`UsageError` for an unknown topic."""
    from gateways.archive.archiver import Archiver

    if wrong := archive_contradictions(settings):
        raise UsageError("; ".join(wrong))
    bootstrap, topics = settings.kafka.bootstrap_servers, all_topics(settings.sites)
    _run("archiver", Archiver(settings.archive, FileStore(settings.store), bootstrap, topics), settings)


def run_auditor(settings: Settings) -> None:
    """Run the writer of the audit trail in this process until SIGTERM, SIGINT, or until it may not go on."""
    from gateways.audit import transaction
    from gateways.audit.auditor import Auditor
    from sinsok import auditing
    from sinsok.history import read_history

    bootstrap = settings.kafka.bootstrap_servers
    ours = Auditor(
        settings.audit,
        auditing.heads(settings).folder,
        auditing.key_place(settings),
        bootstrap,
        [topic.name for topic in auditing.audited_topics(settings)],
        settings.sites,
        auditing.tell,
        lambda: read_history(settings, [AUDIT_TRAIL.name]),
        lambda: transaction.consumer(bootstrap),
        lambda: transaction.producer(bootstrap),
    )
    _run("auditor", ours, settings)
    if deaths := ours.deaths():
        raise UserError("; ".join(deaths))


def _run(part: str, ours: Process, settings: Settings) -> None:
    LogLimit.install(["librdkafka"])
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        ours.start()
    except CannotStart as error:
        raise UserError(str(error)) from None
    with _health(settings, part, alive=ours.deaths, ready=ours.health):
        ended.wait()
        ours.stop()


def _health(settings: Settings, part: str, alive: Complaints, ready: Complaints) -> HealthServer:
    port = settings.health.first_port + list(PROCESSES).index(part)
    try:
        return HealthServer(settings.health.host, port, alive=alive, ready=ready)
    except OSError as error:
        where = f"{settings.health.host}:{port}"
        raise UserError(f"{part} cannot serve its health on {where}: {error.strerror}; set health.first_port") from None
