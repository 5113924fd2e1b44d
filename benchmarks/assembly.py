"""How much our shell costs: events per CPU-second of an assembly worker, beside what it is built on.

Three kinds of workers read the same events from the same broker in the same run, each with 1, 2 and 4 processes:

``ours``     the assemble hop in the shell: decode and check, decide, send and await, table, commit
``faust``    a bare Faust agent: json.loads, a table write and an awaited send, nothing checked
``aiokafka`` a bare loop: consume, json.loads, produce (awaited in batches), no state

CPU seconds are those the worker processes used (user and system), counted from their first event on, so that other work
on the machine disturbs them little. All three have the settings of our application; ``faust`` has the consumer and the
producer that Faust comes with, not ours.

Then: how long a worker takes to start and recover its table with many finished studies behind it: right after all were
written at once, which no hospital does, and when the broker's log cleaner has been over them twice, once for the rows
and once, a minute later, for what says that they are gone. New studies set it off, so some are finished in between.

    python benchmarks/assembly.py [--events 6000] [--finished 200000]
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

from confluent_kafka import Producer  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402

from schemas.base import Event, ObjectRef  # noqa: E402
from schemas.envelope import encode  # noqa: E402
from schemas.events import BatchEnd, Geometry, Series, SeriesReceived  # noqa: E402
from schemas.topics import DEAD_LETTERS, DEADLINES, DICOM_SERIES, STEPS, STUDIES, Topic, changelog  # noqa: E402
from streams.assemble import OpenStudy, assemble  # noqa: E402
from streams.hop import StatefulHop, Step  # noqa: E402
from streams.route import Route  # noqa: E402
from streams.settings import StreamSettings  # noqa: E402
from streams.site import Completeness, SiteRules, Sites  # noqa: E402
from tests.stack import Kafka  # noqa: E402

KINDS = ("faust", "ours", "aiokafka")

CLEANING_S = 30
"""Until the log cleaner has been over what was written: twice ``log.cleaner.backoff.ms`` of the broker."""

TOMBSTONES_S = 60
"""How long a changelog keeps what says that a study is gone (``delete.retention.ms``)."""

TRAFFIC = 12_000
"""Studies that fill a segment of each partition of the changelog anew."""


def batch(number: int) -> SeriesReceived:
    """A realistic batch: 40 slices of a head CT."""
    now = datetime.now(UTC)
    return SeriesReceived(
        time=now,
        site="suwon",
        study_uid=f"2.25.{number}",
        batch=1,
        study_batch=1,
        batch_end=BatchEnd.RELEASED,
        open_associations=0,
        sending_ae="CT1",
        called_ae="SUWON_AI",
        series=Series(
            series_uid=f"2.25.{number}.1",
            modality="CT",
            body_part="HEAD",
            study_description="CT Brain",
            series_description="Axial 5 mm",
            image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
            kernel="H31s",
            slice_thickness_mm=5.0,
            sop_classes=("1.2.840.10008.5.1.4.1.1.2",),
            transfer_syntaxes=("1.2.840.10008.1.2.1",),
            instances=40,
            expected_instances=40,
            geometry=Geometry(
                slices=40,
                rows=512,
                columns=512,
                pixel_spacing_mm=(0.45, 0.45),
                spacing_mm=5.0,
                extent_mm=195.0,
                orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
                tilt_deg=0.0,
                duplicate_positions=0,
                gaps=(),
                contiguous=True,
            ),
            first_image_at=now,
            last_image_at=now,
            manifest=ObjectRef(uri="file:///store/x", digest="sha256:" + "0" * 64, size_bytes=4096),
        ),
    )


# --- workers, each a process of its own -----------------------------------------------------------------------------


class Meter:
    """CPU seconds from the first event on, written whenever it is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start: float | None = None
        self._events = 0

    def count(self) -> None:
        if self._start is None:
            self._start = cpu_seconds()
        self._events += 1
        if self._events % 10 == 0:
            self._path.write_text(json.dumps([self._events, cpu_seconds() - self._start]))


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run_ours(bootstrap: str, group: str, folder: Path) -> int:
    import logging

    import structlog

    from streams.worker import run

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    meter = Meter(folder / "meter")

    # A batch like ours goes out at once: each costs a send and a row. The quiet time is over after the benchmark.
    rules = SiteRules(completeness=Completeness(quiet_s=3600), routes=(Route(model="ich_hyperdensity"),))
    decide = partial(assemble, Sites({"suwon": rules}))

    def metered(event: Event, study: OpenStudy | None) -> Step[OpenStudy]:
        meter.count()
        return decide(event, study)

    def tell(health: Callable[[], list[str]]) -> None:
        def wait() -> None:
            while "tables are not recovered" in health():
                time.sleep(0.02)
            (folder / "ready").touch()

        threading.Thread(target=wait, daemon=True).start()

    hop = StatefulHop(group, (DICOM_SERIES, DEADLINES), "studies", OpenStudy, metered, (STUDIES, DEADLINES))
    return run(hop, StreamSettings(bootstrap_servers=bootstrap, datadir=folder), tell)


def run_faust(bootstrap: str, group: str, folder: Path) -> int:
    from faust.transport.drivers.aiokafka import Transport

    from streams.faust_app import RAW, Slot, Worker, new_app

    settings = StreamSettings(bootstrap_servers=bootstrap, datadir=folder)
    app = new_app(group, Slot(group, folder).instance, settings)
    app.transport = Transport(app.conf.broker_consumer, app)
    table = app.Table("studies", partitions=DICOM_SERIES.partitions, key_type=bytes, value_type=bytes)
    out = app.topic(STUDIES.name, **RAW)
    meter = Meter(folder / "meter")

    @app.agent(app.topic(DICOM_SERIES.name, **RAW), concurrency=1)  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        async for event in stream.events():
            meter.count()
            value = json.loads(event.value)
            await (await out.send(key=event.key, value=json.dumps(value).encode()))
            table[event.key] = json.dumps(value).encode()

    return Worker(app, settings.grace_s).run()


def run_aiokafka(bootstrap: str, group: str, folder: Path) -> int:
    import uvloop
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    meter = Meter(folder / "meter")

    async def loop() -> None:
        consumer = AIOKafkaConsumer(
            DICOM_SERIES.name,
            bootstrap_servers=bootstrap,
            group_id=f"sinsok-{group}",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
        await consumer.start()
        await producer.start()
        while True:
            polled = await consumer.getmany(timeout_ms=500, max_records=500)
            sent = []
            for records in polled.values():
                for record in records:
                    meter.count()
                    value = json.dumps(json.loads(record.value)).encode()
                    sent.append(await producer.send(STUDIES.name, value, key=record.key))
            await asyncio.gather(*sent)
            if polled:
                await consumer.commit()

    uvloop.run(loop())
    return 0


# --- the measurement ------------------------------------------------------------------------------------------------


def make_topics(bootstrap: str, topics: list[Topic]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    there = admin.list_topics(timeout=10).topics
    new = [NewTopic(t.name, t.partitions, 1, config=t.settings) for t in topics if t.name not in there]
    for created in (admin.create_topics(new) if new else {}).values():
        created.result()


def start(kind: str, bootstrap: str, group: str, folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--worker", kind, bootstrap, group, str(folder)]
    with (folder / "log").open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


def stop(workers: list[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    for worker in workers:
        worker.wait()


def measure(kind: str, processes: int, bootstrap: str, events: int, scratch: Path) -> tuple[float, float]:
    """Events per CPU-second, and the CPU seconds behind it. The group is new, so it reads all there is."""
    group = f"bench-{kind}-{uuid4().hex[:8]}"
    if kind != "aiokafka":
        make_topics(bootstrap, [changelog(f"sinsok-{group}", "studies")])
    folders = [scratch / group / str(n) for n in range(processes)]
    workers = [start(kind, bootstrap, group, folder) for folder in folders]
    try:
        deadline = time.monotonic() + 300
        while True:
            time.sleep(0.5)
            read = [json.loads(f.read_text() or "[0, 0]") for x in folders if (f := x / "meter").exists()]
            done, used = (sum(column) for column in zip(*read, strict=True)) if read else (0, 0.0)
            if done >= 0.9 * events:
                return done / used, used
            if time.monotonic() > deadline or any(worker.poll() is not None for worker in workers):
                said = "\n".join((folder / "log").read_text()[-2000:] for folder in folders)
                raise SystemExit(f"{kind} x {processes}: {done} of {events} events; the workers said:\n{said}")
    finally:
        stop(workers)


def finish_studies(bootstrap: str, group: str, count: int) -> None:
    """Write the changelog of a worker that has finished so many studies: a row each, then its tombstone."""
    state = changelog(f"sinsok-{group}", "studies")
    make_topics(bootstrap, [state])
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 50})
    row = b"{" + b" " * 1500 + b"}"
    for number in range(count):
        for value in (row, None):
            while True:
                try:
                    producer.produce(state.name, value, f"{number:064x}")
                except BufferError:
                    producer.poll(0.1)
                else:
                    break
    producer.flush()


def time_to_ready(bootstrap: str, group: str, folder: Path) -> float:
    """Seconds from the start of a worker until its tables are recovered. The same folder: it returns to its group."""
    (folder / "ready").unlink(missing_ok=True)
    began = time.monotonic()
    worker = start("ours", bootstrap, group, folder)
    try:
        while not (folder / "ready").exists():
            if worker.poll() is not None:
                raise SystemExit((folder / "log").read_text())
            time.sleep(0.02)
        return time.monotonic() - began
    finally:
        stop([worker])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=6000)
    parser.add_argument("--finished", type=int, default=200_000)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, bootstrap, group, folder = options.worker
        runs = {"ours": run_ours, "faust": run_faust, "aiokafka": run_aiokafka}
        return runs[kind](bootstrap, group, Path(folder))
    with tempfile.TemporaryDirectory() as scratch, Kafka(Path(scratch) / "kafka") as broker:
        compare(options, broker.bootstrap, Path(scratch))
    return 0


def compare(options: argparse.Namespace, bootstrap: str, scratch: Path) -> None:
    """Print what was measured."""
    make_topics(bootstrap, [DICOM_SERIES, DEADLINES, STUDIES, STEPS, DEAD_LETTERS])
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for number in range(options.events):
        message = encode(batch(number))
        producer.produce(DICOM_SERIES.name, message.value, message.key, headers=message.headers)
        producer.poll(0)
    producer.flush()
    print(f"{'workers':>8} {'kind':>9} {'events/CPU-s':>13} {'CPU-s':>7} {'of faust':>9}", flush=True)
    for processes in options.workers:
        rates: dict[str, float] = {}
        for kind in KINDS:
            rates[kind], used = measure(kind, processes, bootstrap, options.events, scratch)
            share = rates[kind] / rates["faust"]
            print(f"{processes:>8} {kind:>9} {rates[kind]:>13.0f} {used:>7.1f} {share:>9.2f}", flush=True)
    print(f"\nrecovery: seconds from start to ready, {options.finished} studies finished before", flush=True)
    group = f"bench-finished-{uuid4().hex[:8]}"
    waited = 0
    for label, count, pause in (
        ("none", 0, 0),
        ("just finished", options.finished, 0),
        ("rows cleaned", 0, CLEANING_S),
        ("cleaned", TRAFFIC, TOMBSTONES_S + CLEANING_S),
    ):
        time.sleep(max(0, pause - CLEANING_S))
        finish_studies(bootstrap, group, count)
        time.sleep(min(pause, CLEANING_S))
        waited += pause
        seconds = time_to_ready(bootstrap, group, scratch / group)
        print(f"{label:>14}, {waited:>3} s of pauses for the cleaner: {seconds:6.2f} s", flush=True)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
