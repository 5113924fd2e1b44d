"""What Faust and aiokafka get wrong, repaired by subclassing: two defects that lose events, one that costs requests.

The first two lose events when workers join and leave under load.

**Sought too late** (faust-streaming/faust#596). After table recovery Faust lets the stream partitions be fetched, then
seeks them to their committed offsets, then opens the flow, which empties the stream queues. What was fetched between
the first and the second step was read from the committed offset; what was fetched between the second and the third is
thrown away and never read again. :class:`Recovery` seeks first, opens the flow second, and lets the partitions be
fetched last. It also steps back when another rebalance has begun in the meantime.

**Empty means all.** The consumer thread hands aiokafka the live set of partitions that may be fetched. When a pause
empties that set while aiokafka waits, aiokafka takes "none" for "any", moves past records of paused partitions, and
Faust drops them as not wanted. :class:`Consumer` hands over a frozen copy, and :class:`ConsumerThread` takes back, in
the one thread that moves positions, whatever may no longer be delivered when it arrives.

**Lingering apart.** aiokafka sends each partition's batch when its own linger is over. The table's change after one
event and the output of the next, made a fraction of a millisecond later, so become two requests. :class:`Accumulator`
lets whatever lingers travel with what is ready, as the Java client does: an event costs one request, not two.

The repairs reach into what Faust keeps private, so they are for exactly the versions in :data:`MENDED`, checked before
a worker starts. tests/e2e/test_churn.py fails without the first two.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import aiokafka
import faust.tables
import faust.tables.recovery
import faust.transport.drivers.aiokafka as driver
from aiokafka.producer.message_accumulator import MessageAccumulator
from faust.types import TP

MENDED: Final[Mapping[str, str]] = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}


class WrongVersionError(RuntimeError):
    """A version is installed that the repairs were not made for."""


def check_versions(installed: Mapping[str, str] | None = None) -> None:
    """Raise :class:`WrongVersionError` unless exactly the mended versions are installed."""
    found = installed or {name: version(name) for name in MENDED}
    wrong = [f"{name} {found[name]} (needs {wanted})" for name, wanted in MENDED.items() if found[name] != wanted]
    if wrong:
        raise WrongVersionError(
            f"installed: {', '.join(wrong)}; streams/mending.py repairs only the versions it needs: "
            "install requirements/ again, or renew the repairs and run tests/e2e/test_churn.py"
        )


class Recovery(faust.tables.recovery.Recovery):  # type: ignore[misc]
    """Table recovery that lets no stream partition be fetched before it has been sought."""

    _rebalances = 0

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Note which rebalance this recovery belongs to."""
        self._rebalances = self.app.rebalancing_count
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def _resume_streams(self, generation_id: int = 0) -> None:
        await self.app.on_rebalance_complete.send()
        await self._seek_then_resume(generation_id)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """The tables are as they were: go on with the streams."""
        await self.app.on_rebalance_complete.send()
        self._set_recovery_ended()
        for table in self.tables.values():
            await table.on_recovery_completed(self.actives_for_table[table], self.standbys_for_table[table])
        await self._seek_then_resume(generation_id)

    async def _seek_then_resume(self, generation_id: int) -> None:
        app, consumer = self.app, self.app.consumer
        if self._outdated(generation_id):
            return
        if consumer.assignment():
            await self._wait(consumer.perform_seek(), timeout=app.conf.broker_request_timeout)
            if self._outdated(generation_id):
                return
        self.completed.set()
        # From here to the last of these three nothing is awaited: no record can slip in between.
        app.flow_control.resume()
        consumer.resume_flow()
        consumer.resume_partitions({tp for tp in consumer.assignment() if not self._is_changelog_tp(tp)})
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()

    def _outdated(self, generation_id: int) -> bool:
        """Another rebalance has begun: it stopped the flow, and its own recovery will open it again."""
        current = (self.app.consumer_generation_id, self.app.rebalancing_count)
        return (generation_id, self._rebalances) != current


class Tables(faust.tables.TableManager):  # type: ignore[misc]
    """A table manager with the mended recovery."""

    _recovery: Recovery | None = None

    @property
    def recovery(self) -> Recovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """A consumer thread that never moves past a record nobody will deliver."""

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: frozenset[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        if not active_partitions:
            return {}
        records = await super()._fetch_records(consumer, active_partitions, timeout=timeout, max_records=max_records)
        kept = {}
        for tp, batch in records.items():
            if tp in self.consumer._active_partitions or tp in self.consumer._buffered_partitions:
                kept[tp] = batch
            elif tp in consumer.assignment():
                consumer.seek(tp, batch[0].offset)
        return kept


class Consumer(driver.Consumer):  # type: ignore[misc]
    """A consumer that asks for a frozen set of partitions."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        return await super()._getmany(frozenset(active_partitions or ()), timeout)


class Accumulator(MessageAccumulator):  # type: ignore[misc]
    """Batches on their way to the broker; when one is ready, all go."""

    @classmethod
    def instead_of(cls, plain: MessageAccumulator) -> "Accumulator":
        """An accumulator with the settings of another that holds nothing yet."""
        return cls(
            plain._cluster,
            plain._batch_size,
            plain._compression_type,
            plain._batch_ttl,
            txn_manager=plain._txn_manager,
            loop=plain._loop,
            linger_ms=plain._linger_time * 1000,
        )

    def drain_by_nodes(self, ignore_nodes: set[Any], muted_partitions: Any = frozenset()) -> Any:
        """The batches to send now, by node."""
        first = [batches[0] for tp, batches in self._batches.items() if batches and tp not in muted_partitions]
        if any(batch.remaining_linger() is None for batch in first):
            for batch in first:
                batch._linger_time = 0
        return super().drain_by_nodes(ignore_nodes, muted_partitions)


class KafkaProducer(aiokafka.AIOKafkaProducer):  # type: ignore[misc]
    """aiokafka's producer with the mended accumulator."""

    _message_accumulator: MessageAccumulator

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        mended = Accumulator.instead_of(self._message_accumulator)
        self._message_accumulator = self._sender._message_accumulator = mended


class Producer(driver.Producer):  # type: ignore[misc]
    """A producer that sends in as few requests as it can."""

    @property
    def _producer_type(self) -> type[KafkaProducer]:
        return KafkaProducer


class Transport(driver.Transport):  # type: ignore[misc]
    """A transport with the mended consumer and producer."""

    Consumer = Consumer
    Producer = Producer
