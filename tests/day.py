"""A day at three hospitals, as it would stand on the topics: made by the hops themselves in a time of its own.

What happens is drawn from a seed: images that come late, gaps, models that are away, that fail and that are not
installed, events that no hop can handle and that come back mended, pages that reach nobody, people who take alerts and
who do not, and workers that die between what they send and what they remember, or before they commit. ``peak`` studies
fall into one hour.
"""

import asyncio
import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

from aiokafka.partitioner import murmur2

from schemas.audit import Origin
from schemas.base import Event, ObjectRef, StudyEvent
from schemas.codes import INTRACRANIAL_HEMORRHAGE
from schemas.envelope import Headers, encode
from schemas.events import (
    AlertEvent,
    AlertRaised,
    BatchEnd,
    DeadlinePassed,
    Finding,
    Gap,
    Provenance,
    Reading,
    Series,
    SeriesReceived,
)
from schemas.failures import NotInstalled, Unavailable, Unreadable
from schemas.identity import digest
from schemas.models import Contract, ModelIdentity
from schemas.paging import (
    AlertAcknowledged,
    AlertDelivered,
    AlertDismissed,
    AlertHandedOn,
    AlertPaged,
    AlertSeen,
    AlertUndelivered,
)
from schemas.steps import Handled, StepTaken
from schemas.topics import PARTITIONS, topic_of
from streams.answers import Heard, heard, listen
from streams.hop import Gateway, StatefulHop, StatelessHop
from streams.on_call import Chain, Hours, Paging
from streams.pipeline import pipeline
from streams.policy import AlertPolicy, Rule
from streams.route import Route
from streams.site import Completeness, SiteRules, Sites
from tests.unit.streams.examples import geometry, series, stored

START = datetime(2026, 3, 1, tzinfo=UTC)
RULES = SiteRules(
    completeness=Completeness(quiet_s=30, cap_s=300, keep_s=3600),
    routes=(Route(model="quick", confirm="certain@1"), Route(model="spare", min_slices=2, exclude_kernel="^H[67]")),
    alerts=AlertPolicy(
        rules=(
            Rule(finding="SCT:1386000", min_volume_ml=5.0, priority="stat"),
            Rule(finding="SCT:1386000", min_volume_ml=0.5, priority="urgent", unconfirmed="wait"),
        ),
        confirm_within_s=60,
    ),
    paging=Paging(
        chains=(Chain(name="always", steps=(("first",), ("second", "third"))),),
        quiet=(Hours(begin="02:00", end="05:00"),),
    ),
)
SITES = Sites(dict.fromkeys(("anseong", "icheon", "suwon"), RULES))


class Stood(NamedTuple):
    """A record as it stands on a topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    headers: Headers
    value: bytes


class Models:
    """Two readers and a spare one; what they say hangs on the content and the model alone."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._read: dict[tuple[str, str], Reading] = {}
        self._mended: set[str] = set()
        self.away = False

    async def identify(self, model: str, version: str) -> ModelIdentity:
        if self.away:
            raise Unavailable("Triton does not answer")
        if model == "certain" and int(version) > 1:
            raise NotInstalled(f"there is no model {model} version {version}")
        served = digest(f"{model}@{version}".encode())
        return ModelIdentity(
            name=model, version=version, digest=served, contract=Contract.SEGMENTATION, classes=(), device="cpu"
        )

    async def read(
        self, site: str, study_uid: str, series: Series, model: ModelIdentity, *, urgent: bool = True
    ) -> Reading:
        # As gateways/inference/recorded.py does it: what was read once is not read again.
        asked = (series.manifest.digest, model.digest)
        if asked not in self._read:
            self._read[asked] = self._look(series, model)
        return self._read[asked]

    def _look(self, series: Series, model: ModelIdentity) -> Reading:
        draw = random.Random(f"{series.manifest.digest} {model.digest}")
        if draw.random() < 0.03:
            raise Unreadable("pixels cannot be decoded")
        if draw.random() < 0.02 and series.manifest.digest not in self._mended:
            self._mended.add(series.manifest.digest)
            raise ZeroDivisionError("nobody foresaw it")
        same = random.Random(series.manifest.digest).random()
        volume_ml = 0.0 if same < 0.6 else 12.0 * same * draw.uniform(0.6, 1.2) if same > 0.8 else draw.uniform(0.2, 4)
        finding = Finding(
            code=INTRACRANIAL_HEMORRHAGE,
            probability=0.9,
            volume_ml=round(volume_ml, 2),
            centroid_mm=(10.0, 20.0, 30.0),
            box_mm=((0.0, 10.0, 20.0), (20.0, 30.0, 40.0)),
            series_uid=series.series_uid,
            key_instance_uid=f"{series.series_uid}.7",
        )
        return Reading(
            findings=(finding,) if volume_ml else (),
            label_map=stored(series.series_uid),
            provenance=Provenance(model=model.name, version=model.version, digest=model.digest, device="cpu"),
            content=series.manifest.digest,
            completed_at=self._now(),
            seconds={"infer": round(draw.uniform(2, 9), 3)},
        )


class Day:
    """See the module. ``records`` are what stands on the topics afterwards, in the order they were appended."""

    def __init__(
        self,
        studies: int,
        seed: int = 1,
        *,
        start: datetime = START,
        hours: float = 24.0,
        peak: int = 0,
        sites: Sites = SITES,
        rules: ObjectRef | None = None,
    ) -> None:
        self.records: list[Stood] = []
        self.end = start + timedelta(hours=hours + 3)
        self._draw = random.Random(seed)
        self._start = start
        self._now = start
        self._rules = rules
        self._turns: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbers = count()
        self._ends: dict[tuple[str, int], int] = defaultdict(int)
        self._reached: dict[tuple[str, str, int], datetime] = {}
        self._rows: dict[tuple[str, str], bytes] = {}
        self._models = Models(lambda: self._now)
        hops = pipeline(sites, Heard(self._models))
        self._hops = [hop for hop in hops if not isinstance(hop, Gateway)]
        for number in range(studies):
            when = self._draw.uniform(0, hours) if number >= peak else self._draw.uniform(hours / 2, hours / 2 + 1)
            at = start + timedelta(hours=when)
            site = self._draw.choice(sites.names)
            self._at(at, lambda number=number, site=site: self._images(site, f"2.25.{seed}{number:06}", 1))
        while self._turns:
            self._now, _, turn = heapq.heappop(self._turns)
            if self._now < self.end:
                turn()

    def _at(self, moment: datetime, turn: Callable[[], None]) -> None:
        heapq.heappush(self._turns, (moment, next(self._numbers), turn))

    def _in(self, seconds: float, turn: Callable[[], None]) -> None:
        self._at(self._now + timedelta(seconds=seconds), turn)

    # --- the outside world --------------------------------------------------------------------------------------------

    def _images(self, site: str, study_uid: str, batch: int) -> None:
        draw = self._draw
        uid = f"{study_uid}.{1 if draw.random() < 0.8 else 2}"
        gaps = (Gap(after_mm=10.0, before_mm=20.0, missing=2),) if draw.random() < 0.15 else ()
        kind = {"modality": "CT" if draw.random() < 0.9 else "CR", "kernel": "H70h" if draw.random() < 0.05 else "H31s"}
        one = series(
            uid,
            f"{batch}",
            **kind,
            geometry=geometry(gaps=gaps),
            instances=30 + batch,
            first_image_at=self._now - timedelta(seconds=8),
            last_image_at=self._now,
        )
        self._append(
            SeriesReceived(
                time=self._now,
                site=site,
                study_uid=study_uid,
                batch=batch,
                study_batch=batch,
                batch_end=draw.choice([BatchEnd.RELEASED] * 8 + [BatchEnd.ABORTED, BatchEnd.IDLE]),
                open_associations=int(draw.random() < 0.1),
                sending_ae="CT1",
                called_ae=f"{site.upper()}_AI",
                series=one,
            )
        )
        if batch < 6 and draw.random() < 0.4:
            # Late images; often just when the quiet time is over.
            later = draw.choice([draw.uniform(1, 20), draw.uniform(29, 33), draw.uniform(60, 400), 4000.0])
            self._in(later, lambda: self._images(site, study_uid, batch + 1))

    def _people(self, event: Event) -> None:
        """What far sides and people do about a page."""
        if not isinstance(event, AlertPaged):
            return
        draw = self._draw
        about = event.model_dump(include={"site", "study_uid", "alert_id", "revision"})

        def say(kind: type[AlertEvent], after: float, **said: Any) -> None:
            self._in(after, lambda: self._append(kind(**about, time=self._now, **said)))

        for recipient in event.recipients:
            if draw.random() < 0.75:
                far_side = {"recipient": recipient, "channel": "smtp", "answer": "250 2.0.0 accepted"}
                say(AlertDelivered, draw.uniform(0.1, 3), attempt=event.attempt, **far_side)
            elif draw.random() < 0.8:
                say(AlertUndelivered, draw.uniform(1, 50), attempt=event.attempt, recipient=recipient, reason="away")
        by, answers = f"dr.{event.recipients[0]}", draw.uniform(20, 900)
        if draw.random() < 0.6:
            say(AlertSeen, answers - 10, by=by)
            say(AlertAcknowledged, answers, by=by)
            if draw.random() < 0.2:
                say(AlertHandedOn, answers + 30, by=by, attempt=event.attempt)
            if draw.random() < 0.3:
                say(AlertDismissed, answers + 100, by=by, reason="calcification")
                say(AlertAcknowledged, answers + 200, by="dr.late")

    # --- the topics ---------------------------------------------------------------------------------------------------

    def _append(self, event: StudyEvent) -> None:
        message = encode(event)
        topic, partition = topic_of(event), (int(murmur2(message.key)) & 0x7FFFFFFF) % PARTITIONS
        offset = self._ends[topic, partition]
        self._ends[topic, partition] += 1
        at_ms = int(self._now.timestamp() * 1000)
        self.records.append(Stood(topic, partition, offset, at_ms, message.key, message.headers, message.value))
        origin = Origin(topic=topic, partition=partition, offset=offset)
        for hop in self._hops:
            if topic in {read.name for read in hop.reads}:
                # The events of a partition come in order, those of two topics in any.
                place = (hop.name, topic, partition)
                reached = max(self._now, self._reached.get(place, self._now))
                self._reached[place] = reached + timedelta(seconds=self._draw.choice([0.01, 0.05, 1.5]))
                self._at(self._reached[place], lambda hop=hop: self._handle(hop, event, origin))
        self._people(event)

    # --- the hops -----------------------------------------------------------------------------------------------------

    def _handle(self, hop: StatefulHop[Any] | StatelessHop, event: StudyEvent, origin: Origin) -> None:
        listen()
        if isinstance(hop, StatefulHop):
            self._decide(hop, event, origin)
        else:
            self._ask(hop, event, origin)

    def _decide(self, hop: StatefulHop[Any], event: StudyEvent, origin: Origin) -> None:
        if isinstance(event, DeadlinePassed) and event.hop != hop.name:
            return
        place = (hop.name, event.key)
        row = self._rows.get(place)
        step = hop.decide(event, None if row is None else hop.state.model_validate_json(row))
        after = None if step.state is None else step.state.model_dump_json().encode()
        self._send(
            hop.name,
            event,
            origin,
            step.events,
            before=row and digest(row),
            after=after and digest(after),
            deadline=step.state and step.state.deadline,
        )
        died = self._draw.random()
        if died < 0.04:
            # Some were sent and the row was not written, or it was and nothing was committed: the event comes again.
            self._in(self._draw.uniform(4, 12), lambda: self._handle(hop, event, origin))
            if died < 0.02:
                return
        if after is None or step.state is None:
            self._rows.pop(place, None)
            return
        self._rows[place] = after
        if step.state.deadline is not None:
            late = self._draw.choice([0.2, 0.9, 1.4, 30.0]) if self._draw.random() < 0.9 else 90.0
            self._at(step.state.deadline + timedelta(seconds=late), lambda: self._clock(hop, place, after))

    def _clock(self, hop: StatefulHop[Any], place: tuple[str, str], row: bytes) -> None:
        if self._rows.get(place) != row:
            return
        state = hop.state.model_validate_json(row)
        assert state.deadline is not None
        self._append(
            DeadlinePassed(
                time=self._now,
                site=state.site,
                study_uid=state.study_uid,
                alert_id=state.of_alert,
                hop=hop.name,
                deadline=state.deadline,
            )
        )
        if self._draw.random() < 0.05:  # another worker says it again
            self._in(1.0, lambda: self._clock(hop, place, row))

    def _ask(self, hop: StatelessHop, event: StudyEvent, origin: Origin, waited: bool = False) -> None:
        self._models.away = not waited and self._draw.random() < 0.04
        try:
            sent = asyncio.run(_answer(hop, event))
        except Unavailable as error:
            said = hop.waiting(event, error)
            if said:
                self._send(hop.name, event, origin, said, handled=Handled.WAITING)
            self._in(70.0, lambda: (listen(), self._ask(hop, event, origin, waited=True)))
            return
        except ZeroDivisionError:
            self._send(hop.name, event, origin, hop.failed(event), handled=Handled.BURIED)
            if self._draw.random() < 0.7:  # an operator sends it back, once the cause is mended
                self._in(600.0, lambda: self._append(event))
            return
        self._send(hop.name, event, origin, sent)
        if self._draw.random() < 0.02:
            self._in(5.0, lambda: self._handle(hop, event, origin))

    def _send(self, hop: str, event: StudyEvent, origin: Origin, sent: Sequence[Event], **said: Any) -> None:
        for one in sent:
            assert isinstance(one, StudyEvent)
            self._append(one)
        self._append(
            StepTaken(
                time=event.time,
                site=event.site,
                study_uid=event.study_uid,
                hop=hop,
                alert_id=getattr(event, "alert_id", None),
                origin=origin,
                event=event.event_id,
                sent=tuple(one.event_id for one in sent),
                rules=self._rules,
                answers=heard(),
                **said,
            )
        )


async def _answer(hop: StatelessHop, event: Event) -> Sequence[Event]:
    return await hop.handle(event)


def raised(day: Day) -> int:
    """How many records of alerts that were raised there are."""
    return sum(dict(one.headers)["ce_type"].decode() == AlertRaised.TYPE for one in day.records)


def publish(day: Day, bootstrap: str) -> None:
    """Write a day on a broker, every record at its place and with its time. The topics are there, and empty."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    for one in day.records:
        producer.produce(
            one.topic, one.value, one.key, partition=one.partition, timestamp=one.timestamp_ms, headers=one.headers
        )
    assert producer.flush(120) == 0
