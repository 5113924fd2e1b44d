"""What is sent is counted, whoever sends it, and the clock of a hop asks the row that waits."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from schemas.topics import PARTITIONS
from streams.agents import Outgoing, Place, StatelessAgent
from streams.alert import StudyAlert, alert
from streams.escalate import OpenAlert, escalate
from streams.faust_app import partition_of
from streams.hop import StudyState
from streams.infer import failed
from streams.rows import Rows
from streams.settings import StreamSettings
from streams.stateful import StatefulAgent
from streams.watchdog import Partition
from tests.unit.streams.examples import SITES
from tests.unit.streams.life import raised, sites
from tests.unit.streams.test_alert import triaged
from tests.unit.streams.test_infer import assembled


def test_a_result_that_only_says_that_nothing_came_of_a_study_is_counted() -> None:
    agent = StatelessAgent.__new__(StatelessAgent)

    async def taken(*_: object) -> None: ...

    agent.deliver = taken
    labels = {"site": "icheon", "final": "True", "outcome": "failed", "priority": "routine"}
    before = REGISTRY.get_sample_value("sinsok_results_total", labels) or 0
    asyncio.run(agent.send(failed(SITES, assembled(site="icheon")), Place(Partition("triage.studies", 0), 0)))
    assert REGISTRY.get_sample_value("sinsok_results_total", labels) == before + 1


@pytest.mark.parametrize("of_alert", [True, False])
def test_the_clock_sends_the_deadline_of_a_row_to_the_row(of_alert: bool) -> None:
    event = raised() if of_alert else triaged()
    row = (escalate(sites(), event, None) if of_alert else alert(SITES, event, None)).state
    assert row is not None
    kind: type[StudyState] = OpenAlert if of_alert else StudyAlert
    sent: list[tuple[Place, Sequence[Outgoing]]] = []

    async def taken(records: Sequence[Outgoing], place: Place) -> None:
        sent.append((place, records))

    clock = StatefulAgent.__new__(StatefulAgent)
    clock.name, clock.settings, clock._reminded, clock._waits = "hop", StreamSettings(), {}, {}
    clock.app = SimpleNamespace(consumer_generation_id=1)
    clock.steady, clock._own_partitions, clock.deliver = lambda: True, lambda: set(range(PARTITIONS)), taken
    clock._rows = Rows({event.key.encode(): row.model_dump_json().encode()}, kind)
    asyncio.run(clock._clock())
    [(place, [record])] = sent
    assert record.key == event.key.encode()
    assert record.topic == place.partition.topic == "triage.deadlines"
    assert record.partition == place.partition.number == partition_of(record.key)
