"""A whole installation of its own, to be hurt at will: the production parts and configuration on free ports."""

import dataclasses
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Self, TypeVar

from gateways import kafka
from gateways.dicom.scu import read_instance
from gateways.inference.repository import models, stamp, versions
from gateways.objects import FileStore
from schemas.base import Event
from schemas.deliveries import ResultArchived
from schemas.envelope import NotAnEvent, decode
from schemas.events import AlertRaised, InstanceQuarantined, SeriesReceived, StudyAssembled, StudyTriaged
from schemas.failures import Unavailable
from schemas.manifest import Manifest
from schemas.topics import DEAD_LETTERS, DELIVERIES, DICOM_SERIES, RESULTS, STUDIES, alerts
from sinsok.settings import load
from sinsok.stack.part import CHECKOUT, Part
from sinsok.stack.parts import parts
from sinsok.stack.processes import PROCESSES
from tests.e2e.scanner import Acknowledged, Study
from tests.stack import RunningPart, first_of_free_ports, free_port, wait_until

SITES = {"suwon": "SUWON_AI", "anseong": "ANSEONG_AI", "icheon": "ICHEON_AI"}
"""suwon reads with a model that is shipped; the others with models for tests: HEAD with bright, SKULL with slow."""
TOPICS: dict[type[Event], tuple[str, ...]] = {
    SeriesReceived: (DICOM_SERIES.name,),
    InstanceQuarantined: (DICOM_SERIES.name,),
    StudyAssembled: (STUDIES.name,),
    StudyTriaged: (RESULTS.name,),
    AlertRaised: tuple(alerts(site).name for site in SITES),
    ResultArchived: (DELIVERIES.name,),
}
WAITING = "AI did not run yet"
"""So begins the reason of a result that only says that there is none yet."""
SESSION_S = 6.0
"""The shortest session timeout a broker allows: what is silent for longer is taken for dead."""

E = TypeVar("E", bound=Event)
_CONFIGURATION = Template("""
home = "home"
model_repository = "models"
[kafka]
bootstrap_servers = "127.0.0.1:$kafka"
controller_port = $controller
[triton]
grpc_url = "127.0.0.1:$grpc"
http_url = "127.0.0.1:$http"
metrics_url = "127.0.0.1:$metrics"
[dicom]
port = $dicom
idle_s = 2
min_free_mb = 0
[orthanc]
dicom_port = $pacs
http_port = $pacs_http
[writer]
port = $commitment
[console]
port = $console
[pacs]
absent_study = "write"
[health]
first_port = $health
[stack]
start = $start
[streams]
session_timeout_s = $session
heartbeat_s = 1.5
report_waiting_after_s = 5
retry_cap_s = 2
[completeness]
quiet_s = 2
cap_s = 60
[alerts]
page = ["stat"]
[[alerts.rules]]
finding = ["SCT:1386000", "SCT:274100004"]
min_volume_ml = 0.3
priority = "stat"
[[routes]]
model = "bright"
body_part = ["HEAD"]
min_slices = 4
[[routes]]
model = "slow"
body_part = ["SKULL"]
min_slices = 4
[sites.suwon]
called_ae = "SUWON_AI"
[[sites.suwon.routes]]
$suwon
[sites.anseong]
called_ae = "ANSEONG_AI"
[sites.icheon]
called_ae = "ICHEON_AI"
""")


class House:
    """Parts by name, the stored objects, and what the topics say.

    ``servers`` are those of ``stack.start``; suwon reads with ``model``, and again with ``confirm`` where it is given,
    an ensemble of so many ``members``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        servers: Collection[str] = ("kafka", "triton"),
        model: str = "ich_hyperdensity",
        confirm: str | None = None,
        members: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shipped = [CHECKOUT / "triton_models" / name for name in (model, confirm) if name]
        for model_folder in (*shipped, *models(CHECKOUT / "tests" / "models")):
            copy = folder / "models" / model_folder.name
            shutil.copytree(model_folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
            if members and model_folder.name == confirm:
                _keep(members, copy)
            for version in versions(copy):
                stamp(copy, version)
        names = (
            "kafka",
            "controller",
            "grpc",
            "http",
            "metrics",
            "dicom",
            "pacs",
            "pacs_http",
            "commitment",
            "console",
        )
        ports = {name: free_port() for name in names} | {"health": first_of_free_ports(len(PROCESSES))}
        configuration = folder / "sinsok.toml"
        suwon = f'model = "{model}"' + (f'\nconfirm = "{confirm}@1"' if confirm else "")
        configuration.write_text(_CONFIGURATION.substitute(ports, session=SESSION_S, start=list(servers), suwon=suwon))
        self.environment = {**os.environ, "SINSOK_CONFIG": str(configuration)}
        self.settings = load(self.environment)
        self.home = self.settings.home
        self.bootstrap = self.settings.kafka.bootstrap_servers
        self.store = FileStore(self.settings.store)
        self._parts = {part.name: self._running(part, part.name) for part in parts(self.settings)}
        self._guests: list[RunningPart] = []
        self._read: dict[kafka.Place, list[kafka.Record]] = defaultdict(list)

    def __getitem__(self, name: str) -> RunningPart:
        return self._parts[name]

    def start(self) -> Self:
        """Start what does not run, servers first, and wait until all of it is ready."""
        started = [part for part in self._parts.values() if not part.running]
        ours = [part for part in started if part.part.name in PROCESSES]
        for group in ([part for part in started if part not in ours], ours):
            for part in group:
                part.kill()
                part.start(wait=False)
            for part in group:
                part.wait_ready()
        return self

    def kill(self) -> None:
        for part in reversed([*self._parts.values(), *self._guests]):
            part.kill()

    def guest(self, hop: str) -> RunningPart:
        """One more worker of a hop, with health ports of its own; not started yet."""
        first_port = first_of_free_ports(len(PROCESSES))
        settings = self.settings.model_copy(
            update={"health": self.settings.health.model_copy(update={"first_port": first_port})}
        )
        part = next(part for part in parts(settings) if part.name == f"streams-{hop}")
        guest = self._running(part, f"guest-{hop}", {"SINSOK_HEALTH__FIRST_PORT": str(first_port)})
        self._guests.append(guest)
        return guest

    def _running(self, part: Part, log: str, more: Mapping[str, str] | None = None) -> RunningPart:
        if part.name in PROCESSES:
            part = dataclasses.replace(part, environment={**self.environment, **(more or {})})
        return RunningPart(part, self.home / "logs" / f"{log}.log")

    # --- what the topics say -----------------------------------------------------------------------------------------

    def records(self, *topics: str) -> list[kafka.Record]:
        """All records of topics, in order within each partition. Nothing is fetched twice: tests ask over and over."""
        try:
            with kafka.reader(self.bootstrap) as consumer:
                ends = {place: high for place, (_, high) in kafka.spans(consumer, self.bootstrap, topics).items()}
                begin = {place: read[-1].offset + 1 if (read := self._read[place]) else 0 for place in ends}
                assert all(begin[place] <= end for place, end in ends.items()), "the broker has lost records"
                for record in kafka.records(consumer, self.bootstrap, begin, ends):
                    self._read[record.topic, record.partition].append(record)
        except Unavailable as away:
            raise AssertionError(str(away)) from None
        return [record for place in ends for record in self._read[place]]

    def events(self, kind: type[E], studies: Iterable[Study] | None = None) -> list[E]:
        """Events of a kind in the order of their partitions, all of them or those of some studies."""
        wanted = None if studies is None else {study.key for study in studies}
        found = []
        for record in self.records(*TOPICS[kind]):
            try:
                event = decode(record.headers, record.value)
            except NotAnEvent:
                continue
            if isinstance(event, kind) and (wanted is None or event.key in wanted or _study_key(event) in wanted):
                found.append(event)
        return found

    def dead_letters(self) -> list[kafka.Record]:
        return self.records(DEAD_LETTERS.name)

    # --- what must hold ----------------------------------------------------------------------------------------------

    def check_stored(self, studies: Iterable[Study], acknowledged: Acknowledged) -> dict[str, StudyAssembled]:
        """Every acknowledged instance is on disk, byte for byte, in exactly one series of its study's newest final
        revision, and nothing else is there. Returns that revision by study key.
        """
        studies = list(studies)
        newest: dict[str, StudyAssembled] = {}
        for event in self.events(StudyAssembled, studies):
            if event.final and (event.key not in newest or event.revision >= newest[event.key].revision):
                newest[event.key] = event
        for study in studies:
            assert study.key in newest, f"{study.name} has no final revision"
            found = Counter(self.contents(newest[study.key]))
            expected = Counter(acknowledged[study.key])
            assert found == expected, (
                f"{study.name}: {(expected - found).total()} instances missing, {(found - expected).total()} too many"
                f" in revision {newest[study.key].revision}"
            )
        return newest

    def contents(self, assembled: StudyAssembled) -> list[tuple[str, str]]:
        """SOP Instance UID and sha256 of the data set of every instance of a revision, read from disk."""
        return [
            (instance.sop_uid, sha256(read_instance(self.store.path(instance.stored)).data_set()).hexdigest())
            for series in assembled.series
            for instance in Manifest.model_validate_json(self.store.read(series.manifest)).instances
        ]

    def check_concluded(self, studies: Iterable[Study], newest: Mapping[str, StudyAssembled]) -> int:
        """Every study has the right result for its newest final revision, by one event id, and one alert if it
        is bright and none if it is not. Returns how many results and alerts stand on the wire more than once.
        """
        studies = list(studies)
        results: dict[object, list[StudyTriaged]] = defaultdict(list)
        for result in self.events(StudyTriaged, studies):
            if not result.reason.startswith(WAITING):
                results[result.assembled].append(result)
        raised: dict[str, list[AlertRaised]] = defaultdict(list)
        for alert in self.events(AlertRaised, studies):
            raised[_study_key(alert)].append(alert)
        repeated = 0
        for study in studies:
            answers, pages = results[newest[study.key].event_id], raised[study.key]
            assert answers, f"{study.name} has no result for revision {newest[study.key].revision}"
            assert all(answer == answers[0] for answer in answers), f"{study.name} has results that differ: {answers}"
            assert answers[0].outcome == study.outcome, f"{study.name}: {answers[0].outcome}, {answers[0].reason}"
            assert bool(pages) == study.bright, f"{study.name} has {len(pages)} alerts"
            assert all(page == pages[0] for page in pages), f"{study.name} raised alerts that differ: {pages}"
            repeated += max(0, len(answers) - 1) + max(0, len(pages) - 1)
        return repeated

    def check(self, studies: Iterable[Study], acknowledged: Acknowledged) -> int:
        """Both of the above; what stood on the wire more than once."""
        studies = list(studies)
        return self.check_concluded(studies, self.check_stored(studies, acknowledged))

    def finish(self, studies: Iterable[Study], acknowledged: Acknowledged, *, seconds: float = 180) -> int:
        """Wait until all of this holds."""
        studies, repeated = list(studies), 0

        def check() -> None:
            nonlocal repeated
            repeated = self.check(studies, acknowledged)

        wait_until(check, seconds=seconds, every_s=0.5)
        return repeated


def _keep(members: int, model: Path) -> None:
    """Make an ensemble smaller: it answers in less time."""
    for path in model.glob("*/member_*"):
        if int(path.stem.partition("_")[2]) > members:
            path.unlink()
    for configuration in (model / "config.pbtxt", *model.glob("configs/*")):
        text = configuration.read_text(encoding="utf-8")
        left = re.sub(r" ?member_(\d+)\.\w+", lambda one: one[0] if int(one[1]) <= members else "", text)
        configuration.write_text(left, encoding="utf-8")


def _study_key(event: Event) -> str:
    return Study.key_of(event.site, event.study_uid) if isinstance(event, AlertRaised) else event.key
