"""Silence becomes an alarm, and events become traces, on a real broker; and killed in between."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer

from gateways import kafka as gateway
from gateways.alerts.intake import GROUP as NOTIFIER
from gateways.traces.spans import span_id
from schemas.alarms import AlarmCleared, AlarmEvent, AlarmRaised
from schemas.base import Event, StudyEvent
from schemas.envelope import decode
from schemas.events import Outcome, SeriesReceived
from schemas.identity import study_key, trace_id
from schemas.topics import ALARMS, alerts, topic_of
from sinsok.stack import probe
from sinsok.stack.part import NotReady
from sinsok.stack.parts import create_topics, health_ports, topics
from tests.integration.collector import Collector
from tests.stack import Installation, RunningPart, free_port, install, wait_until
from tests.unit.gateways.traces.test_spans import FLOW
from tests.unit.gateways.watch.test_studies import assembled, result
from tests.unit.streams.examples import STUDY, received, series

pytestmark = [pytest.mark.integration, pytest.mark.record]

WATCHED = """
[watch]
look_s = 0.3
lag_after_s = 0.5
no_reader_after_s = 0.5
ai_within_s = 5
[watch.scanners]
"suwon/CT1" = 60
"""


class House:
    """An installation with a broker, and what stands on its topic of alarms."""

    def __init__(self, installation: Installation, collector: int) -> None:
        self.installation = installation
        self.collector = collector
        self.bootstrap = installation.settings.kafka.bootstrap_servers
        self.producer = gateway.producer(self.bootstrap)
        self.watcher = installation.part("watcher")

    def say(self, *events: Event) -> None:
        for event in events:
            gateway.publish(self.producer, topic_of(event), event)

    def alarms(self, subject: str) -> list[AlarmEvent]:
        """Those about a subject, in order; each once, however often it was sent."""
        records = gateway.read(self.bootstrap, [ALARMS.name])
        found = [decode(record.headers, record.value) for record in records]
        return list(
            {one.event_id: one for one in found if isinstance(one, AlarmEvent) and one.subject == subject}.values()
        )

    def expect(self, subject: str, *kinds: type[AlarmEvent]) -> list[AlarmEvent]:
        def there() -> None:
            assert [type(one) for one in self.alarms(subject)] == [*kinds]

        wait_until(there)
        return self.alarms(subject)

    def part_says(self, name: str) -> str:
        """What is wrong with a part; empty where nothing is."""
        try:
            probe.get(f"127.0.0.1:{health_ports(self.installation.settings)[name]}", "/readyz")
        except NotReady as complaint:
            return str(complaint)
        return ""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    collector = free_port()
    traced = f'[traces]\nendpoint = "http://127.0.0.1:{collector}/v1/traces"\ntimeout_s = 1\nheaders.x-key = "known"\n'
    installation = install(tmp_path_factory.mktemp("watch"), changes=WATCHED + traced)
    house = House(installation, collector)
    with installation.part("kafka"):
        create_topics(house.bootstrap, topics(installation.settings))
        with house.watcher:
            yield house


def image(ago_s: float, batch: int = 1) -> SeriesReceived:
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    return received(series(content=f"{batch}", first_image_at=at, last_image_at=at), batch=batch, time=at)


def test_a_silence_is_raised_once_over_kills_and_a_lost_ledger_and_ends_with_an_image(house: House) -> None:
    silent = image(ago_s=100)
    house.say(silent)
    (raised,) = house.expect("suwon/CT1", AlarmRaised)
    assert raised.since == silent.series.last_image_at
    for lose in (False, True):
        house.watcher.kill()
        if lose:
            shutil.rmtree(house.installation.settings.home / "watch")
        house.watcher.start()
        wait_until(lambda: knows(house))
        assert house.alarms("suwon/CT1") == [raised]
    house.say(image(ago_s=0, batch=2))
    _, cleared = house.expect("suwon/CT1", AlarmRaised, AlarmCleared)
    assert cleared.since == raised.since


def knows(house: House) -> None:
    """It has read what is on the topics since it was started, and judged it."""
    port = health_ports(house.installation.settings)["watcher"]
    silent = 'sinsok_silent_seconds{scanner="CT1",site="suwon"}'
    assert silent in probe.get(f"127.0.0.1:{port}", "/metrics")


def test_studies_at_which_no_ai_has_looked_are_listed_until_one_has(house: House) -> None:
    at = datetime.now(UTC) - timedelta(seconds=30)
    study = assembled(1, 0, received()).model_copy(update={"time": at, "site": "icheon"})
    away = result(study, Outcome.FAILED, "AI did not run yet: Triton is away")
    house.say(study, away)

    def listed() -> None:
        told = [json.loads(line) for line in house.installation.sinsok("alarms", "--json").stdout.splitlines()]
        assert [one["since"] for one in told if one["kind"] == "ai_never_ran"] == [at.isoformat()]

    wait_until(listed)
    (one,) = house.installation.sinsok("alarms", "--ai").stdout.splitlines()
    assert f"study {STUDY}  revision 1: AI did not run yet: Triton is away" in one
    assert "no AI has looked at 1 study of icheon" in house.installation.sinsok("alarms").stdout
    house.say(result(study))
    _, cleared = house.expect("icheon", AlarmRaised, AlarmCleared)
    assert cleared.kind == "ai_never_ran"
    assert house.installation.sinsok("alarms", "--ai").stdout == "no study waits for an AI that did not look\n"


def test_a_group_that_nobody_is_in_or_that_stands_still(house: House) -> None:
    """In turn: no member; one that has all; one that leaves something; one that has it after all."""
    (raised,) = house.expect(NOTIFIER, AlarmRaised)
    assert isinstance(raised, AlarmRaised)
    assert f"nobody reads as {NOTIFIER}" in raised.detail
    reader = gateway.consumer(house.bootstrap, NOTIFIER)
    reader.subscribe([alerts("suwon").name])
    try:
        wait_until(lambda: joined(reader))
        house.expect(NOTIFIER, AlarmRaised, AlarmCleared)
        house.say(next(event for event in FLOW if topic_of(event) == alerts("suwon").name))
        late = house.expect(NOTIFIER, AlarmRaised, AlarmCleared, AlarmRaised)[-1]
        assert isinstance(late, AlarmRaised)
        assert f"{NOTIFIER} is behind: 1 unhandled" in late.detail
        wait_until(lambda: taken(reader))
        house.expect(NOTIFIER, AlarmRaised, AlarmCleared, AlarmRaised, AlarmCleared)
    finally:
        reader.close()


def joined(reader: Consumer) -> None:
    assert reader.poll(0.1) is None
    assert reader.assignment()


def taken(reader: Consumer) -> None:
    message = reader.poll(0.1)
    assert message is not None
    reader.commit(message, asynchronous=False)


# --- traces --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tracer(house: House) -> Iterator[RunningPart]:
    with house.installation.part("tracer") as part:
        yield part


def test_one_study_is_one_tree_at_the_collector_however_often_it_is_away(house: House, tracer: RunningPart) -> None:
    flow = [event.model_copy(update={"study_uid": "2.25.77"}) for event in FLOW]
    trace = trace_id(study_key("suwon", "2.25.77"))
    house.say(*flow)
    wait_until(lambda: complains(house))
    with Collector(house.collector) as collector:
        collector.answers = [500, 503]

        def arrived() -> None:
            assert {span_id(event.event_id) for event in flow} <= {
                span.span_id.hex() for _, span in collector.spans if span.trace_id.hex() == trace
            }

        wait_until(arrived)
        assert collector.refused >= 2
        assert collector.headers["x-key"] == "known"
        ours = {span.span_id.hex(): (hop, span) for hop, span in collector.spans if span.trace_id.hex() == trace}
        tree = {(span.name, ours[parent][1].name) for _, span in ours.values() if (parent := span.parent_span_id.hex())}
        way = ("study", "receive"), ("study", "assemble"), ("assemble", "infer"), ("infer", "alert"), ("alert", "page")
        assert {(child, parent) for parent, child in way} <= tree
        assert {("acknowledged", "alert"), ("delivered", "page"), ("archived", "infer")} <= tree
        assert [span.name for _, span in ours.values() if not span.parent_span_id] == ["study"]
        assert {hop for hop, _ in ours.values()} >= {
            "sinsok-receive",
            "sinsok-assemble",
            "sinsok-infer",
            "sinsok-notify",
        }
        wait_until(lambda: content(house))
        taken_so_far = len(collector.spans)
        tracer.kill()
        tracer.start()
        house.say(*(event for event in flow[:1] if isinstance(event, StudyEvent)))

        def goes_on() -> None:
            assert len(collector.spans) > taken_so_far

        wait_until(goes_on)
        assert len(collector.spans) <= taken_so_far + 2, "what it had taken is not sent again"
        told = house.installation.sinsok("study", "2.25.77").stdout
        assert f"\ntrace {trace}\n" in told


def complains(house: House) -> None:
    assert "the collector at traces.endpoint does not take spans" in house.part_says("tracer")


def content(house: House) -> None:
    assert house.part_says("tracer") == ""
