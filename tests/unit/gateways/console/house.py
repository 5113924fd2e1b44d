"""A console without Kafka: its app on a view that the test fills, with accounts for every role."""

import gzip
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import FastAPI
from starlette.testclient import TestClient

from gateways.console.access import Doorkeeper
from gateways.console.accounts import Accounts
from gateways.console.acts import Acts
from gateways.console.app import make_app
from gateways.console.backstage import Backstage, Condition
from gateways.console.live import Hub
from gateways.console.oidc import Oidc
from gateways.console.patient import Patients
from gateways.console.probes import PartHealth, Probes
from gateways.console.sessions import Sessions
from gateways.console.settings import ConsoleSettings, Grant, SiteConsole
from gateways.console.stack import Stack, Window
from gateways.console.throttle import Throttle
from gateways.console.view import View
from gateways.kafka import Record
from gateways.letters.letter import Place
from gateways.objects import FileStore
from gateways.outbox.database import OutboxDatabase
from schemas.audit import Role
from schemas.base import Event, ObjectRef
from schemas.codes import INTRACRANIAL_HEMORRHAGE
from schemas.envelope import decode
from schemas.events import (
    AlertRaised,
    AlertWithdrawn,
    BatchEnd,
    Finding,
    Outcome,
    Priority,
    Provenance,
    Reading,
    Series,
    SeriesDecision,
    SeriesReceived,
    StudyTriaged,
)
from schemas.failures import Unreadable
from schemas.identity import derived_id, study_key
from schemas.paging import AlertPaged, PageReason
from tests.letters import LetterRack

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"
DOES_NOT_ANSWER = "Triton does not answer"
SITES = ("suwon", "anseong")
PEOPLE: Mapping[str, tuple[Role, str]] = {
    "rad.suwon": (Role.RADIOLOGIST, "suwon"),
    "rad.anseong": (Role.RADIOLOGIST, "anseong"),
    "op.suwon": (Role.OPERATOR, "suwon"),
    "auditor": (Role.AUDITOR, "*"),
    "admin": (Role.ADMIN, "*"),
}


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def stored(text: str) -> ObjectRef:
    digest = f"sha256:{sha256(text.encode()).hexdigest()}"
    return ObjectRef(uri=f"file:///objects/{digest[7:]}", digest=digest, size_bytes=len(text))


PROVENANCE = Provenance(model="blast_ct", version="1", digest=stored("model").digest, device="cpu")


def received(
    uid: str = "2.25.1", site: str = "suwon", minutes: float = 0.0, batch: int = 1, **said: Any
) -> SeriesReceived:
    series: dict[str, Any] = {
        "series_uid": f"{uid}.1",
        "modality": "CT",
        "body_part": "HEAD",
        "study_description": "HEAD WITHOUT CONTRAST",
        "series_description": "5 MM",
        "kernel": "H31s",
        "slice_thickness_mm": 5.0,
        "sop_classes": ("1.2.840.10008.5.1.4.1.1.2",),
        "transfer_syntaxes": ("1.2.840.10008.1.2.1",),
        "instances": 36,
        "expected_instances": None,
        "geometry": None,
        "first_image_at": at(minutes),
        "last_image_at": at(minutes),
        "manifest": stored(f"{uid} {batch}"),
    }
    return SeriesReceived(
        time=at(minutes),
        site=site,
        study_uid=uid,
        batch=batch,
        study_batch=batch,
        batch_end=BatchEnd.RELEASED,
        open_associations=0,
        sending_ae=said.pop("sending_ae", "CT1"),
        called_ae="SUWON_AI",
        series=Series(**series | said),
    )


def finding(uid: str, volume_ml: float = 20.0) -> Finding:
    return Finding(
        code=INTRACRANIAL_HEMORRHAGE,
        probability=0.91,
        volume_ml=volume_ml,
        centroid_mm=(0.0, 0.0, 0.0),
        box_mm=((-5.0, -5.0, -5.0), (5.0, 5.0, 5.0)),
        series_uid=f"{uid}.1",
        key_instance_uid=f"{uid}.1.7",
    )


def triaged(
    uid: str = "2.25.1",
    site: str = "suwon",
    minutes: float = 0.1,
    revision: int = 1,
    outcome: Outcome = Outcome.FINDINGS,
    **said: Any,
) -> StudyTriaged:
    found = (finding(uid),) if outcome is Outcome.FINDINGS else ()
    reading = None
    if outcome in (Outcome.FINDINGS, Outcome.NO_FINDINGS):
        reading = Reading(
            findings=found,
            label_map=stored(f"{uid} labels"),
            cautions=said.pop("cautions", ()),
            provenance=PROVENANCE,
            content=stored(f"{uid} 1").digest,
            completed_at=at(minutes),
        )
    decision = SeriesDecision(
        series_uid=f"{uid}.1", model="blast_ct@1", reason="CT of HEAD", reading=reading, manifest=stored(f"{uid} 1")
    )
    values: dict[str, Any] = {
        "final": True,
        "reason": "blast_ct@1: haemorrhage",
        "priority": Priority.STAT if found else Priority.ROUTINE,
        "provenance": PROVENANCE if reading else None,
    }
    return StudyTriaged(
        time=at(minutes),
        site=site,
        study_uid=uid,
        revision=revision,
        outcome=outcome,
        findings=found,
        series=(decision,),
        supersedes=revision - 1 or None,
        assembled=derived_id(uid, revision),
        last_image_at=said.pop("last_image_at", at(0)),
        **values | said,
    )


def raised(
    uid: str = "2.25.1", site: str = "suwon", minutes: float = 0.2, priority: Priority = Priority.STAT, **said: Any
) -> AlertRaised:
    return AlertRaised(
        time=at(minutes),
        site=site,
        study_uid=uid,
        alert_id=alert_id(uid),
        revision=1,
        priority=priority,
        findings=(finding(uid),),
        reason=said.pop("reason", "20.0 ml (rule: from 2 ml)"),
        provenance=PROVENANCE,
        final=True,
        result=derived_id(uid),
        last_image_at=at(0),
        **said,
    )


def alert_id(uid: str) -> UUID:
    return derived_id("alert", uid)


def about(uid: str = "2.25.1", site: str = "suwon", minutes: float = 0.3) -> dict[str, Any]:
    """What every event of an alert has."""
    return {"time": at(minutes), "site": site, "study_uid": uid, "alert_id": alert_id(uid), "revision": 1}


def paged(
    uid: str = "2.25.1",
    site: str = "suwon",
    minutes: float = 0.3,
    attempt: int = 1,
    why: PageReason | None = None,
) -> AlertPaged:
    return AlertPaged(
        **about(uid, site, minutes),
        attempt=attempt,
        step=attempt - 1,
        chain="night",
        recipients=(f"on-call-{attempt}",),
        why=why or (PageReason.RAISED if attempt == 1 else PageReason.UNANSWERED),
        deliver_by=at(minutes + 1),
        answer_by=at(minutes + 10),
        priority=Priority.STAT,
        findings=(finding(uid),),
        reason="20.0 ml",
    )


def withdrawn(uid: str = "2.25.1", site: str = "suwon", minutes: float = 5.0) -> AlertWithdrawn:
    return AlertWithdrawn(**about(uid, site, minutes), reason="revision 2 took the finding back")


class NoPictures:
    """As of images that form no stack."""

    def stack(self, manifest: ObjectRef, label_map: ObjectRef | None = None, findings: Sequence[Finding] = ()) -> Stack:
        raise Unreadable("no stack")

    def picture(self, manifest: ObjectRef, index: int, window: Window) -> bytes:
        return b"png"

    def tile(self, manifest: ObjectRef, index: int) -> bytes:
        return gzip.compress(b"tile")

    def outlines(self, manifest: ObjectRef, label_map: ObjectRef) -> dict[int, dict[int, str]]:
        return {7: {1: "M0 0h1v1h-1z"}}


@dataclass
class House:
    """A console and its clocks. ``minutes`` is what its clock says since START."""

    folder: Path
    settings: ConsoleSettings = field(default_factory=ConsoleSettings)
    sites: Mapping[str, SiteConsole] = field(default_factory=lambda: dict.fromkeys(SITES, SiteConsole()))
    oidc: Oidc | None = None
    minutes: float = 1.0
    seconds: float = 0.0
    condition: Condition = field(default_factory=lambda: Condition(True, None, 0))

    def __post_init__(self) -> None:
        self.view = View(self.settings, self.sites, self.now)
        self.outbox = OutboxDatabase(self.folder / "outbox.sqlite")
        self.accounts = Accounts(self.folder / "accounts.json", tuple(self.sites))
        self.acts = Acts(self.outbox, self.view, self.now)
        self.hub = Hub()
        self.probes = Probes({"streams-infer": ""}, self.now)
        self.probes._newest = {"streams-infer": PartHealth("streams-infer", "not ready", (DOES_NOT_ANSWER,), 7, START)}
        self.rack = LetterRack()
        self.sessions = Sessions(3600, 12 * 3600, lambda: self.seconds)

    def now(self) -> datetime:
        return at(self.minutes)

    def app(self) -> FastAPI:
        behind = Backstage(
            settings=self.settings,
            clocks=self.view.clocks,
            sites=self.sites,
            zone=ZoneInfo("Asia/Seoul"),
            now=self.now,
            accounts=self.accounts,
            throttle=Throttle(lambda: self.seconds),
            acts=self.acts,
            hub=self.hub,
            probes=self.probes,
            pictures=NoPictures(),
            patients=Patients(FileStore(self.folder / "objects")),
            letters=self.rack,
            oidc=self.oidc,
            condition=lambda: self.condition,
        )
        self.view.on_change = self.hub.tell
        keeper = Doorkeeper(self.accounts, self.sessions, secure=self.settings.secure, url=self.settings.url)
        return make_app(behind, self.view, keeper)

    def take(self, *events: Event) -> None:
        for event in events:
            self.view.take(event, event.time)

    def bury(self, *records: Record) -> None:
        """Letters come."""
        for record in records:
            self.rack.records[Place(record.partition, record.offset)] = record
            self.view.box.read(record)

    def said(self) -> list[Event]:
        """What is on its way to Kafka."""
        return [decode(row.message.headers, row.message.value) for row in self.outbox.outbox(1000)]

    def close(self) -> None:
        self.outbox.close()


class Browser(TestClient):
    """A browser of one person, as far as a console can tell."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(app, "http://127.0.0.1:8080", follow_redirects=False)
        self.headers.update({"accept": "text/html", "origin": "http://127.0.0.1:8080"})

    def token(self, path: str) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.get(path).text)
        assert found, path
        return found[1]

    def sign_in(self, name: str, password: str = PASSWORD, go_to: str = "/") -> Any:
        form = {"csrf": self.token("/login"), "name": name, "password": password, "next": go_to}
        return self.post("/login", data=form)

    def act(self, act: str, uid: str = "2.25.1", **form: str) -> Any:
        form["csrf"] = self.token(f"/alerts/{alert_id(uid)}")
        return self.post(f"/alerts/{alert_id(uid)}/{act}", data=form)


def key(uid: str = "2.25.1", site: str = "suwon") -> str:
    return study_key(site, uid)


@contextmanager
def house_in(folder: Path, **settings: Any) -> Iterator[House]:
    house = House(folder, **settings)
    try:
        yield house
    finally:
        house.close()


Enter = Callable[..., Browser]


def grant(role: Role, site: str) -> Grant:
    return Grant(roles=(role,), sites=(site,))
