"""Audit records and the offsets of what they are about, in one transaction: both are there, or neither is."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from gateways import kafka
from schemas.topics import AUDIT_TRAIL

TRANSACTIONAL_ID: Final = "sinsok-auditor"
"""One for all: who starts with it shuts out who had it before (KIP-98)."""
GROUP: Final = "sinsok-auditor"
_TIMEOUT_MS: Final = 30_000
_CALL_S: Final = 10.0


class Overtaken(Exception):
    """The broker takes nothing more from this writer: another has begun, or it was silent for too long.

    Only a new start mends it.
    """


class Aborted(Exception):
    """The transaction did not happen, and may be tried again."""


class Line(NamedTuple):
    """An audit record on its way."""

    chain: str
    sequence: int
    value: bytes
    checkpoint: bool


Placed = dict[tuple[str, int], tuple[int, int]]
"""Partition and offset of each record, by chain and sequence."""


def producer(bootstrap: str) -> Producer:
    """A producer for the trail."""
    settings: dict[str, str | int] = {
        "transactional.id": TRANSACTIONAL_ID,
        "transaction.timeout.ms": _TIMEOUT_MS,
        "message.timeout.ms": _TIMEOUT_MS,
    }
    return kafka.producer(bootstrap, **settings)


def consumer(bootstrap: str) -> Consumer:
    """Reads what is to be audited; its partitions are assigned by hand, since there is one writer."""
    return kafka.consumer(bootstrap, GROUP, **{"enable.partition.eof": "true", "isolation.level": "read_committed"})


class Calls:
    """Times the calls to librdkafka of one thread, so that another sees one that never comes back.

    ``rd_kafka_send_offsets_to_transaction`` does not keep to its timeout while the group's coordinator is away, and may
    then hang for ever (librdkafka 2.14).
    """

    def __init__(self) -> None:
        self._since: float | None = None

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function."""
        self._since = time.monotonic()
        try:
            function(*arguments)
        finally:
            self._since = None

    def lasted_s(self) -> float:
        """How long the call in hand has lasted; 0 between two."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since


class Transactions:
    """The one producer of the trail, from its start on: it never begins anew in the same process.

    A second :meth:`open` would shut out whoever has taken over meanwhile.
    """

    def __init__(self, sink: Producer, calls: Calls) -> None:
        self._sink = sink
        self._call = calls.call

    def open(self) -> None:
        """Shut out any writer before this one, and end what it had begun. Raises ``KafkaException``."""
        self._call(self._sink.init_transactions, _CALL_S)

    def write(self, lines: Iterable[Line], offsets: Sequence[TopicPartition], group: Any) -> Placed:
        """Write lines and offsets, all or nothing.

        Raises :class:`Overtaken` and :class:`Aborted`.
        """
        placed: Placed = {}
        try:
            self._sink.begin_transaction()
            for line in lines:
                self._produce(line, placed)
            if offsets:
                self._call(self._sink.send_offsets_to_transaction, list(offsets), group, _CALL_S)
            self._commit()
        except KafkaException as failure:
            error = failure.args[0]
            if error.fatal():
                raise _overtaken(error) from failure
            self._abort()
            raise Aborted(error.str()) from failure
        except BaseException:
            self._abort()
            raise
        return placed

    def _produce(self, line: Line, placed: Placed) -> None:
        def delivered(error: object, message: Message) -> None:
            if not error:
                placed[line.chain, line.sequence] = (int(message.partition() or 0), int(message.offset() or 0))

        self._sink.produce(AUDIT_TRAIL.name, key=line.chain.encode(), value=line.value, on_delivery=delivered)

    def _commit(self) -> None:
        while True:
            try:
                self._call(self._sink.commit_transaction, _CALL_S)
                return
            except KafkaException as failure:
                # Whether it happened is not known yet: to ask again is the only way to find out.
                if not failure.args[0].retriable():
                    raise

    def _abort(self) -> None:
        while True:
            try:
                self._call(self._sink.abort_transaction, _CALL_S)
                return
            except KafkaException as failure:
                error = failure.args[0]
                if not error.retriable():
                    raise _overtaken(error) from failure


def _overtaken(error: KafkaError) -> Overtaken:
    return Overtaken(f"another auditor has taken over, or the broker gave this one up: {error.str()}")
