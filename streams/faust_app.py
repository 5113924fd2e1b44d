"""A Faust application as sinsok wants it: how it is configured, named in its group, started and ended."""

import asyncio
import fcntl
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import faust
import structlog
import uvloop
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.partitioner import murmur2
from faust.exceptions import NotReady, ProducerSendError

from schemas.topics import DEAD_LETTERS, MAX_EVENT_BYTES, PARTITIONS, Topic
from streams import mending
from streams.settings import StreamSettings

log = structlog.get_logger()

RAW: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
"""Faust carries bytes and reads nothing into them."""

HEADROOM_BYTES = 1024 * 1024
"""What a dead letter may be larger than the largest event: its headers."""


class NotReadyError(RuntimeError):
    """The broker is away or lacks a topic; the text is one line and says what to do."""


def app_id(hop: str) -> str:
    """Consumer group of a hop, and prefix of its changelog topics."""
    return f"sinsok-{hop}"


class Outgoing(NamedTuple):
    """A record on its way to a topic; without a partition its key decides."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    partition: int | None = None


class RefusedError(RuntimeError):
    """The broker did not take a record, and may take it later."""


class TooLargeError(ValueError):
    """A record that the broker will never take."""


@lru_cache(maxsize=100_000)
def partition_of(key: bytes) -> int:
    """The partition of a key, as Java's and Faust's default partitioners have it."""
    return (int(murmur2(key)) & 0x7FFFFFFF) % PARTITIONS


async def send(app: faust.App, records: Sequence[Outgoing]) -> None:
    """Send records and return when the broker has them all. Raises :class:`RefusedError`, :class:`TooLargeError`."""
    try:
        sent = [await app.producer.send(r.topic, r.key, r.value, r.partition, None, r.headers) for r in records]
        await (sent[0] if len(sent) == 1 else asyncio.gather(*sent))
    except NotReady:
        raise RefusedError("the producer has been stopped") from None
    except (KafkaError, ProducerSendError) as error:
        cause = error.__cause__ if isinstance(error, ProducerSendError) else error
        if isinstance(cause, MessageSizeTooLargeError | RecordListTooLargeError):
            raise TooLargeError("larger than the topic allows") from None
        raise RefusedError(f"the broker did not take a record: {type(cause).__name__}") from None


class Table(faust.Table):  # type: ignore[misc]
    """A table that cannot lose a change unnoticed.

    Faust only logs when the broker refuses a changelog record, and commits the event behind it. ``on_lost`` is called
    instead, in the same turn of the loop, before a commit can leave.
    """

    on_lost: Callable[[BaseException], None]

    def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
        """Send a change, and look what became of it."""
        sent = super().send_changelog(*args, **kwargs)
        sent.add_done_callback(self._look)
        return sent

    def _look(self, sent: "asyncio.Future[Any]") -> None:
        if not sent.cancelled() and (error := sent.exception()) is not None:
            self.on_lost(error)


def new_app(hop: str, instance: str, settings: StreamSettings) -> faust.App:
    """A Faust application with the mended consumer and recovery. See docs/decisions/0002-faust-shell.md."""
    mending.check_versions()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    app = faust.App(
        app_id(hop),
        broker=[f"kafka://{server.strip()}" for server in settings.bootstrap_servers.split(",")],
        datadir=str(settings.datadir / hop),
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        processing_guarantee="at_least_once",
        consumer_group_instance_id=instance,
        broker_commit_interval=settings.commit_interval_s,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_s,
        broker_rebalance_timeout=settings.rebalance_timeout_s,
        # An idle or backlogged worker must not leave its group: our own watchdog judges whether it is stuck.
        broker_max_poll_interval=1e6,
        stream_wait_empty=True,
        stream_buffer_maxsize=256,
        stream_recovery_delay=0.0,
        producer_acks=-1,
        producer_linger=0.005,
        producer_max_request_size=MAX_EVENT_BYTES + HEADROOM_BYTES,
        table_standby_replicas=0,
        topic_partitions=PARTITIONS,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
        Table=Table,
        TableManager=mending.Tables,
    )
    app.transport = mending.Transport(app.conf.broker_consumer, app)
    return app


class Slot:
    """The first free place among the processes of a hop on this machine, held by a lock while the process lives.

    Static group membership needs a name that survives a restart and that no two live processes share: two would fence
    each other for ever. The lock is the kernel's and goes with the process, however it ends. The name tells folders
    apart too: processes with different folders do not see each other's locks.
    """

    def __init__(self, hop: str, datadir: Path) -> None:
        folder = datadir / "slots"
        folder.mkdir(parents=True, exist_ok=True)
        number = 0
        while not self._lock(folder / f"{hop}-{number}.lock"):
            number += 1
        place = sha256(str(folder.resolve()).encode()).hexdigest()[:8]
        self.instance = f"{hop}-{socket.gethostname()}-{place}-{number}"

    @staticmethod
    def _lock(path: Path) -> bool:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        return True


async def check_broker(settings: StreamSettings, topics: tuple[Topic, ...]) -> None:
    """Raise :class:`NotReadyError` unless the broker answers and has these topics with their partitions.

    Faust would subscribe to a topic that is not there and wait without a word.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers, request_timeout_ms=10_000)
    try:
        await admin.start()
        described = await admin.describe_topics([topic.name for topic in (*topics, DEAD_LETTERS)])
    except KafkaError as error:
        raise NotReadyError(
            f"Kafka at {settings.bootstrap_servers} does not answer ({type(error).__name__}): is it running?"
        ) from None
    finally:
        await admin.close()
    found = {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}
    for topic in (*topics, DEAD_LETTERS):
        if topic.name not in found:
            raise NotReadyError(f"topic {topic.name} is missing on {settings.bootstrap_servers}: make the topics first")
        if found[topic.name] != topic.partitions:
            raise NotReadyError(
                f"topic {topic.name} has {found[topic.name]} partitions and needs {topic.partitions}: "
                "keys would land elsewhere; make it anew"
            )


class Worker(faust.Worker):  # type: ignore[misc]
    """Runs an app until SIGTERM or SIGINT, and ends the process by force where Faust cannot end it in time.

    With the broker away Faust waits for it before it stops. Ending hard is safe: what was not committed comes again.
    """

    def __init__(self, app: faust.App, grace_s: float) -> None:
        super().__init__(app, loop=asyncio.new_event_loop(), quiet=True, override_logging=False)
        self.spinner = None
        self._grace_s = grace_s

    def _schedule_shutdown(self, number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        force = threading.Timer(self._grace_s, self._end_hard)
        force.daemon = True
        force.start()
        super()._schedule_shutdown(number)

    def _end_hard(self) -> None:
        log.warning("ended before all was finished; unfinished events will be read again", grace_s=self._grace_s)
        os._exit(0)

    def run(self) -> int:
        """Run to the end; 0 after a signal, 1 after a crash."""
        try:
            self.execute_from_commandline()
        except SystemExit as end:
            return 0 if end.code in (None, 0) else 1
        raise AssertionError("Faust ends with SystemExit")
