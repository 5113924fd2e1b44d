"""What is sent is counted, whoever sends it."""

import asyncio

from prometheus_client import REGISTRY

from streams.agents import Place, StatelessAgent
from streams.infer import failed
from streams.watchdog import Partition
from tests.unit.streams.examples import SITES
from tests.unit.streams.test_infer import assembled


def test_a_result_that_only_says_that_nothing_came_of_a_study_is_counted() -> None:
    agent = StatelessAgent.__new__(StatelessAgent)

    async def taken(*_: object) -> None: ...

    agent.deliver = taken
    labels = {"site": "icheon", "final": "True", "outcome": "failed", "priority": "routine"}
    before = REGISTRY.get_sample_value("sinsok_results_total", labels) or 0
    asyncio.run(agent.send(failed(SITES, assembled(site="icheon")), Place(Partition("triage.studies", 0), 0)))
    assert REGISTRY.get_sample_value("sinsok_results_total", labels) == before + 1
