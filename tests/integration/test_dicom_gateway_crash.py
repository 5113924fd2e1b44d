"""What the DICOM gateway promises with 0x0000 holds through SIGKILL, and through a broker that is away."""

import gc
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from gateways import kafka_topics
from gateways.dicom.leniency import accept_what_comes
from gateways.objects import FileStore
from schemas.events import SeriesReceived
from schemas.manifest import Manifest
from schemas.topics import DICOM_SERIES
from tests.integration.dicom_peers import a_site, as_file, association, events_of, request, store, wait_for
from tests.stack import CHECKOUT, Kafka, free_port
from tests.unit.gateways.dicom.examples import ct_slice

pytestmark = pytest.mark.integration


class GatewayProcess:
    """A gateway to be killed. Store and port stay the same over restarts."""

    def __init__(self, root: Path, bootstrap: str) -> None:
        self.root, self.port, self.bootstrap, self.site = root, free_port(), bootstrap, a_site()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        module = "tests.integration.dicom_gateway_process"
        arguments = [str(self.root), str(self.port), self.bootstrap, self.site]
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=CHECKOUT, stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 180
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", self.port)):
                assert self._process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(30) == 0


@pytest.fixture(autouse=True)
def _forgotten_sockets_go_with_the_test() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def gateway(tmp_path: Path, kafka: str) -> Iterator[GatewayProcess]:
    accept_what_comes()
    kafka_topics.create(kafka, [DICOM_SERIES])
    gateway = GatewayProcess(tmp_path, kafka)
    gateway.start()
    yield gateway
    gateway.kill()


def newest(events: list[SeriesReceived]) -> dict[str, SeriesReceived]:
    return {event.series.series_uid: event for event in sorted(events, key=lambda event: event.batch)}


def listed(root: Path, event: SeriesReceived) -> list[str]:
    """SOP Instance UIDs of a manifest, each with its bytes read and checked."""
    objects = FileStore(root)
    manifest = Manifest.model_validate_json(objects.read(event.series.manifest))
    assert all(objects.read(instance.stored) for instance in manifest.instances)
    return [instance.sop_uid for instance in manifest.instances]


def send_until_killed(port: int, studies: list[int], acknowledged: dict[str, set[str]], stop: list[bool]) -> None:
    """Sends series after series, each in an association of its own; a broken one is tried again, as a modality does."""
    for study in studies:
        uid = f"1.2.77.{study}"
        sent = [as_file(ct_slice(n, study=uid, series=f"{uid}.1")) for n in range(1, 9)]
        waiting = {ds.SOPInstanceUID: ds for ds in sent}
        while waiting and not stop:
            assoc = request(port, sent)
            for name, ds in list(waiting.items()):
                if not assoc.is_established:
                    break
                try:
                    answer = store(assoc, ds)
                except RuntimeError:  # the association has just been lost
                    break
                if answer == 0x0000:
                    acknowledged[f"{uid}.1"].add(name)
                    del waiting[name]
            if assoc.is_established:
                assoc.release()
            else:
                time.sleep(0.05)


def test_nothing_acknowledged_is_lost_when_the_gateway_is_killed_under_load(gateway, tmp_path):
    random, stop = Random(7), []
    acknowledged: dict[str, set[str]] = defaultdict(set)
    with ThreadPoolExecutor(4) as pool:
        senders = [
            pool.submit(send_until_killed, gateway.port, list(range(start, 32, 4)), acknowledged, stop)
            for start in range(4)
        ]
        try:
            for _ in range(5):
                time.sleep(random.uniform(0.3, 1.0))
                gateway.kill()
                gateway.start()
            for sender in senders:
                sender.result(timeout=120)
        finally:
            stop.append(True)
    assert len(acknowledged) == 32

    def complete(events: list[SeriesReceived]) -> bool:
        series = newest(events)
        return all(uid in series and series[uid].series.instances == 8 for uid in acknowledged)

    final = newest(wait_for(gateway.bootstrap, gateway.site, complete, seconds=180))
    for uid, event in final.items():
        assert set(listed(tmp_path, event)) == acknowledged[uid]
        assert (event.series.conflicts, event.series.missing_objects, event.open_associations) == (0, 0, 0)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_what_was_stored_and_not_published_is_published_after_a_restart(gateway, tmp_path):
    sent = [as_file(ct_slice(n)) for n in (1, 2, 3)]
    with association(gateway.port, sent) as assoc:
        assert {store(assoc, ds) for ds in sent} == {0x0000}
        gateway.kill()
    assert events_of(gateway.bootstrap, gateway.site) == []
    (tmp_path / "incoming" / "0000.part").write_bytes(b"half of an object")
    gateway.start()
    (event,) = wait_for(gateway.bootstrap, gateway.site, len)
    assert (event.batch_end, event.series.instances) == ("recovered", 3)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_files_that_vanished_and_a_journal_that_vanished_are_both_resolved(gateway, tmp_path):
    sent = [as_file(ct_slice(n)) for n in (1, 2, 3)]
    with association(gateway.port, sent) as assoc:
        assert {store(assoc, ds) for ds in sent} == {0x0000}
    wait_for(gateway.bootstrap, gateway.site, len)
    gateway.stop()
    next((tmp_path / "dicom").glob("*/*/*.dcm")).unlink()
    gateway.start()
    event = wait_for(gateway.bootstrap, gateway.site, lambda found: len(found) == 2)[-1]
    assert (event.batch_end, event.series.instances, event.series.missing_objects) == ("recovered", 2, 1)
    gateway.stop()
    for path in (tmp_path / "journal").glob("dicom.sqlite*"):
        path.unlink()
    gateway.start()
    event = wait_for(gateway.bootstrap, gateway.site, lambda found: len(found) == 3)[-1]
    assert (event.batch_end, event.series.instances, event.series.missing_objects) == ("recovered", 2, 0)
    assert len(listed(tmp_path, event)) == 2


def test_every_c_store_succeeds_while_the_broker_is_away_and_all_events_arrive_afterwards(tmp_path):
    accept_what_comes()
    with Kafka(tmp_path / "kafka") as kafka:
        kafka_topics.create(kafka.bootstrap, [DICOM_SERIES])
        gateway = GatewayProcess(tmp_path / "store", kafka.bootstrap)
        gateway.start()
        kafka.stop()
        for study in range(10):
            uid = f"1.2.88.{study}"
            sent = [as_file(ct_slice(n, study=uid, series=f"{uid}.1")) for n in (1, 2)]
            with association(gateway.port, sent) as assoc:
                assert {store(assoc, ds) for ds in sent} == {0x0000}
            if study == 4:  # a crash in the middle of it changes nothing
                gateway.kill()
                gateway.start()
        kafka.start()
        events = wait_for(kafka.bootstrap, gateway.site, lambda found: len(newest(found)) == 10, seconds=120)
        assert {event.series.instances for event in newest(events).values()} == {2}
        gateway.stop()
