"""The repairs fit one set of versions, and do what they say."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import MessageAccumulator
from faust.types import TP

from streams import mending


def test_the_installed_versions_are_the_mended_ones() -> None:
    mending.check_versions()


@pytest.mark.parametrize("name", mending.MENDED)
def test_any_other_version_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(mending.WrongVersionError) as refused:
        mending.check_versions({**mending.MENDED, name: "99.0"})
    assert f"{name} 99.0 (needs {mending.MENDED[name]})" in str(refused.value)
    assert "\n" not in str(refused.value)


class Fetcher:
    """aiokafka's end: hands out what it has for the partitions asked for, where no partition means any."""

    def __init__(self, records: dict[TP, list[Any]], during: Any) -> None:
        self._closed = False
        self._records = records
        self._during = during
        self._subscriptions = SimpleNamespace(fetch_context=self)

    def __call__(self) -> "Fetcher":
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    async def fetched_records(self, partitions: Any, timeout: Any, max_records: Any) -> dict[TP, list[Any]]:
        self._during()
        return {tp: batch for tp, batch in self._records.items() if not partitions or tp in partitions}


def fetch(
    records: dict[TP, list[Any]], active: set[TP], during: Any
) -> tuple[dict[TP, list[Any]], list[tuple[TP, int]]]:
    """What the mended thread delivers, and what it seeks back to."""
    sought: list[tuple[TP, int]] = []
    aiokafka = SimpleNamespace(
        _fetcher=Fetcher(records, during),
        _closed=False,
        assignment=lambda: set(records),
        seek=lambda tp, offset: sought.append((tp, offset)),
    )
    thread = object.__new__(mending.ConsumerThread)
    thread.consumer = SimpleNamespace(flow_active=True, _active_partitions=active, _buffered_partitions=set())
    delivered = asyncio.run(thread._fetch_records(aiokafka, frozenset(active)))
    return delivered, sought


def test_a_pause_during_the_wait_takes_no_record_past_anybody() -> None:
    one, other = TP("t", 0), TP("t", 1)
    active = {one, other}
    records = {one: [SimpleNamespace(offset=7), SimpleNamespace(offset=8)], other: [SimpleNamespace(offset=3)]}
    delivered, sought = fetch(records, active, during=lambda: active.discard(one))
    assert delivered == {other: records[other]}
    assert sought == [(one, 7)]


def test_a_set_emptied_during_the_wait_does_not_become_all() -> None:
    asked, paused = TP("t", 0), TP("t", 1)
    active = {asked}
    records = {asked: [SimpleNamespace(offset=7)], paused: [SimpleNamespace(offset=3)]}
    delivered, sought = fetch(records, active, during=active.clear)
    assert delivered == {}
    assert sought == [(asked, 7)], "the paused partition was not touched"


def test_nothing_is_asked_of_aiokafka_when_nothing_is_active() -> None:
    delivered, sought = fetch({TP("t", 0): [SimpleNamespace(offset=7)]}, set(), during=lambda: pytest.fail("asked"))
    assert delivered == {}
    assert sought == []


def test_streams_are_sought_before_they_may_be_fetched() -> None:
    order: list[str] = []

    async def later(step: str) -> None:
        order.append(step)

    stream = TP("t", 0)
    app = SimpleNamespace(
        consumer_generation_id=4,
        rebalancing_count=2,
        conf=SimpleNamespace(broker_request_timeout=1),
        flow_control=SimpleNamespace(resume=lambda: order.append("flow")),
        consumer=SimpleNamespace(
            assignment=lambda: {stream},
            perform_seek=lambda: later("seek"),
            resume_flow=lambda: order.append("deliver"),
            resume_partitions=lambda tps: order.append(f"fetch {tps}"),
        ),
        _fetcher=SimpleNamespace(maybe_start=lambda: later("start")),
        on_rebalance_end=lambda: order.append("end"),
    )
    recovery = object.__new__(mending.Recovery)
    recovery.app = app
    recovery._rebalances = 2
    recovery._completed = None
    recovery.completed = SimpleNamespace(set=lambda: None)
    recovery.tables = SimpleNamespace(
        changelog_topics=set(), on_actives_ready=lambda: None, on_standbys_ready=lambda: None
    )
    recovery._wait = lambda coro, timeout: coro

    asyncio.run(recovery._seek_then_resume(4))
    assert order == ["seek", "flow", "deliver", f"fetch { {stream} }", "start", "end"]

    order.clear()
    app.rebalancing_count = 3
    asyncio.run(recovery._seek_then_resume(4))
    assert order == [], "another rebalance has begun: its own recovery opens the flow"


@pytest.mark.parametrize("full", [True, False])
def test_what_lingers_travels_with_what_is_ready(full: bool) -> None:
    change, output, muted = TP("changelog", 0), TP("output", 0), TP("output", 1)

    async def drained() -> set[TP]:
        cluster = SimpleNamespace(leader_for_partition=lambda tp: 1)
        plain = MessageAccumulator(cluster, 1000, 0, 30, linger_ms=60_000)
        accumulator = mending.Accumulator.instead_of(plain)
        for tp in (change, output, muted):
            await accumulator.add_message(tp, b"key", b"value", 30)
        if full:
            accumulator._batches[output][0]._builder.close()
        nodes, _ = accumulator.drain_by_nodes(ignore_nodes=set(), muted_partitions={muted})
        accumulator.fail_all(ConnectionError())
        return set(nodes.get(1, {}))

    assert asyncio.run(drained()) == ({change, output} if full else set())


def test_the_producer_of_a_worker_is_mended() -> None:
    async def accumulators() -> tuple[Any, Any]:
        producer = mending.KafkaProducer(linger_ms=5)
        await producer.stop()
        return producer._message_accumulator, producer._sender._message_accumulator

    kept, sent_from = asyncio.run(accumulators())
    assert kept is sent_from
    assert isinstance(kept, mending.Accumulator)
    assert kept._linger_time == 0.005
