"""Two hundred alerts on their way to people while what carries them is killed in turn.

From results on the topic to mail and web hooks, by the processes of an installation: the hops *alert* and *escalate*,
and the notifier. ``SINSOK_KILL_SEED`` names another order of kills.
"""

import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

from gateways import kafka
from gateways.objects import FileStore
from schemas.base import Event
from schemas.envelope import decode
from schemas.events import AlertRaised
from schemas.identity import derived_id
from schemas.paging import (
    AlertAcknowledged,
    AlertClosed,
    AlertDelivered,
    AlertEscalated,
    AlertPaged,
    AlertUndelivered,
    PageReason,
)
from schemas.topics import DEAD_LETTERS, RESULTS, alerts
from sinsok.stack.parts import create_topics, topics
from tests.integration.certificates import Authority
from tests.integration.hooks import Hooks
from tests.integration.mail_server import ADDRESS, MailServer
from tests.results import bleeds
from tests.stack import Installation, RunningPart, install, wait_until

pytestmark = pytest.mark.e2e
SEED = int(os.environ.get("SINSOK_KILL_SEED", "20260105"))
ALERTS = 200
SITE = "suwon"
KILLED = ("notifier", "streams-escalate", "kafka", "streams-alert")
ROUNDS = 2
FAILS = 10
"""Requests to a hook before it answers."""
ANSWER_S = 15.0
SECONDS = 300
_CONFIGURATION = """
[streams]
session_timeout_s = 6
heartbeat_s = 1.5
retry_cap_s = 2
[notifier.smtp]
port = {port}
ca = "{ca}"
[sites.suwon.paging]
deliver_within_s = {{ stat = 10, urgent = 10 }}
answer_within_s = {{ stat = {answer_s}, urgent = {answer_s} }}
[[sites.suwon.paging.chains]]
name = "night"
steps = [["kim"], ["lee", "park"]]
[sites.suwon.recipients.kim]
channels = [{{ kind = "smtp", to = "{address}" }}]
[sites.suwon.recipients.lee]
channels = [
    {{ kind = "webhook", url = "{gone}/lee", secret = "a secret of 16 or more" }},
    {{ kind = "smtp", to = "{address}" }},
]
[sites.suwon.recipients.park]
channels = [{{ kind = "webhook", url = "{hooks}/park", secret = "a secret of 16 or more" }}]
"""


class Outage(NamedTuple):
    killed: datetime
    ready: datetime


class Hospital(NamedTuple):
    installation: Installation
    parts: dict[str, RunningPart]
    mail: MailServer
    hooks: Hooks

    @property
    def bootstrap(self) -> str:
        return self.installation.settings.kafka.bootstrap_servers

    def stories(self) -> dict[UUID, list[Event]]:
        """What is said of each alert, once each, in the order of the topic."""
        stories: dict[UUID, dict[UUID, Event]] = defaultdict(dict)
        for record in kafka.read(self.bootstrap, [alerts(SITE).name]):
            event = decode(record.headers, record.value)
            stories[UUID(event.key)].setdefault(event.event_id, event)
        return {alert: list(story.values()) for alert, story in stories.items()}

    def pages(self) -> list[AlertPaged]:
        return [event for story in self.stories().values() for event in story if isinstance(event, AlertPaged)]


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    """Kim reads mail; Lee's hook is gone for good (410), and so he reads mail as well; Park has a hook that fails."""
    with ExitStack() as running:
        mail = running.enter_context(MailServer(Authority(tmp_path / "ca")))
        hooks, gone = running.enter_context(Hooks()), running.enter_context(Hooks())
        gone.status = 410
        changes = _CONFIGURATION.format(
            port=mail.port, ca=mail.ca, address=ADDRESS, answer_s=ANSWER_S, gone=gone.url, hooks=hooks.url
        )
        installation = install(tmp_path, changes=changes)
        parts = {name: installation.part(name) for name in ("kafka", *KILLED)}
        running.enter_context(parts["kafka"])
        create_topics(installation.settings.kafka.bootstrap_servers, topics(installation.settings))
        for name in KILLED:
            if name != "kafka":
                running.enter_context(parts[name])
        yield Hospital(installation, parts, mail, hooks)


def test_two_hundred_alerts_reach_people_while_what_carries_them_is_killed(hospital: Hospital, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    results = bleeds(FileStore(tmp_path / "objects"), ALERTS)
    producer = kafka.producer(hospital.bootstrap)
    killed = iter([name for _ in range(ROUNDS) for name in chance.sample(KILLED, len(KILLED))])
    next_kill = time.monotonic() + 2
    outages: list[Outage] = []
    hospital.hooks.status = 503

    for result in results:
        kafka.publish(producer, RESULTS.name, result.model_copy(update={"time": datetime.now(UTC)}))
        time.sleep(0.1)
        if time.monotonic() >= next_kill and (name := next(killed, None)):
            outages.append(_restart(hospital.parts[name]))
            next_kill = time.monotonic() + chance.uniform(0.5, 3)
    # Half are taken by whoever is paged first; nobody answers the others before the next in the chain was asked.
    taken_early = {result.study_uid for result in results[::2]}
    taken: set[UUID] = set()

    def all_taken() -> None:
        if len(hospital.hooks.requests) >= FAILS:
            hospital.hooks.status = 200
        if name := next(killed, None):
            outages.append(_restart(hospital.parts[name]))
        for alert, story in hospital.stories().items():
            page = next((event for event in reversed(story) if isinstance(event, AlertPaged)), None)
            if page is None or alert in taken or not (page.step or page.study_uid in taken_early):
                continue
            if _told(story, page, AlertDelivered):
                kafka.publish(producer, alerts(SITE).name, _acknowledged(page))
                taken.add(alert)
        assert len(taken) == ALERTS, f"{len(taken)} of {ALERTS} alerts were paged as far as they are to be"
        assert next(killed, None) is None

    wait_until(all_taken, seconds=SECONDS, every_s=0.5)
    wait_until(lambda: _check(hospital), seconds=SECONDS, every_s=1)
    assert not list(kafka.read(hospital.bootstrap, [DEAD_LETTERS.name]))

    # It stays so: nobody is paged again for what was taken.
    pages = {page.event_id for page in hospital.pages()}
    time.sleep(ANSWER_S + 5)
    assert {page.event_id for page in hospital.pages()} == pages
    late = _lateness(hospital, outages)
    print(
        f"seed {SEED}: {len(outages)} kills, {len(pages)} pages; {len(late)} deadlines, {max(late):.1f} s late at most"
    )


def _check(hospital: Hospital) -> None:
    """Each alert went up the chain in steps that follow each other, and each page reached whom it was for, once."""
    stories = hospital.stories()
    assert len(stories) == ALERTS
    for alert, story in stories.items():
        assert sum(isinstance(event, AlertRaised) for event in story) == 1
        assert any(isinstance(event, AlertDelivered) for event in story)
        assert not any(isinstance(event, AlertClosed) for event in story)
        pages = [event for event in story if isinstance(event, AlertPaged)]
        assert [page.attempt for page in pages] == list(range(1, len(pages) + 1)), f"{alert}: {pages}"
        # While the notifier was away the same step is asked once more, at the most.
        assert not any(before.why is page.why is PageReason.REPEATED for before, page in pairwise(pages))
        went_on = [page for page in pages if page.why is not PageReason.REPEATED]
        assert [page.step for page in went_on] == [number % 2 for number in range(len(went_on))]
        assert all(page.step == before.step for before, page in pairwise(pages) if page not in went_on)
        assert sum(isinstance(event, AlertEscalated) for event in story) == len(went_on) - 1
        for page in pages:
            told = Counter(_told(story, page, AlertDelivered, AlertUndelivered))
            # Of the last page nothing more is said to those whom it had not reached when the alert was taken.
            assert told == Counter(page.recipients) or (page is pages[-1] and told <= Counter(page.recipients))

    delivered = {
        _key(event, event.recipient)
        for story in stories.values()
        for event in story
        if isinstance(event, AlertDelivered)
    }
    owed = {_key(page, recipient) for page in hospital.pages() for recipient in page.recipients}
    hooked = {request.said["key"] for request in hospital.hooks.requests}
    mailed = {str(mail["Message-ID"]) for mail in hospital.mail.mails()}
    message_ids = {key: f"<{derived_id('mail', key)}@localhost>" for key in owed}
    missing = {key for key in delivered if key not in hooked and message_ids[key] not in mailed}
    assert not missing, "said to be delivered and not there"
    assert hooked <= owed, "what comes twice has the same idempotency key"
    assert mailed <= set(message_ids.values()), "what comes twice has the same Message-ID"


def _told(story: Sequence[Event], page: AlertPaged, *kinds: type[AlertDelivered | AlertUndelivered]) -> list[str]:
    return [event.recipient for event in story if isinstance(event, kinds) and event.attempt == page.attempt]


def _key(event: AlertPaged | AlertDelivered, recipient: str) -> str:
    return f"{event.alert_id}/{event.attempt}/{recipient}"


def _restart(part: RunningPart) -> Outage:
    killed = datetime.now(UTC)
    part.kill()
    if part.part.name == "notifier":  # it is not ready as long as a hook lets nothing in
        part.start(wait=False)
        wait_until(part.part.alive, seconds=part.part.ready_within_s)
    else:
        part.start()
    return Outage(killed, datetime.now(UTC))


def _lateness(hospital: Hospital, outages: Sequence[Outage]) -> list[float]:
    """Seconds between the time to answer a page and the next page, or since all ran again where that came later."""
    late = []
    for story in hospital.stories().values():
        pages = [event for event in story if isinstance(event, AlertPaged)]
        for page, following in pairwise(pages):
            if following.why is PageReason.UNANSWERED:
                ends = [ready for killed, ready in outages if page.answer_by <= ready and killed <= following.time]
                late.append((following.time - max([page.answer_by, *ends])).total_seconds())
    return late


def _acknowledged(page: AlertPaged) -> AlertAcknowledged:
    about = page.model_dump(include={"site", "study_uid", "alert_id", "revision"})
    return AlertAcknowledged(**about, time=datetime.now(UTC), by="dr.kim")
