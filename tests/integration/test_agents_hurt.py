"""Workers and the broker are killed, stopped and taken away in mid-job: afterwards every event has its answer."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.topics import DEAD_LETTERS
from streams.faust_app import partition_of
from streams.settings import StreamSettings
from tests.integration.hops import probe
from tests.integration.shell import Sender, ShellProcess, answers, eventually, make_test_topics, read_all
from tests.stack import Kafka, wait_until

pytestmark = pytest.mark.integration

SAYS = {"echo": "echo", "collect": "seen"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("hurt")) as kafka:
        yield kafka


def load(
    bootstrap: str, site: str, behaviour: str = "", *, studies: int = 12, numbers: int = 5
) -> set[tuple[str, int]]:
    """Send probes of some studies and return what must be answered."""
    sent = [(f"2.25.{study}", number) for number in range(1, numbers + 1) for study in range(studies)]
    Sender(bootstrap).send(*(probe(site, study, number, behaviour) for study, number in sent))
    return set(sent)


def some(bootstrap: str, site: str, hop: str, least: int) -> Callable[[], None]:
    def check() -> None:
        assert len(set(answers(bootstrap, site, SAYS[hop]))) >= least

    return check


def expect(bootstrap: str, site: str, hop: str, sent: set[tuple[str, int]]) -> None:
    def check() -> None:
        missing = sent - set(answers(bootstrap, site, SAYS[hop]))
        assert not missing, f"{len(missing)} of {len(sent)} events have no answer"

    eventually(check)


def test_sigkill_in_mid_job_loses_nothing(broker: Kafka, tmp_path: Path) -> None:
    site = "sigkill"
    make_test_topics(broker.bootstrap, site)
    sent = load(broker.bootstrap, site, "sleep 0.4")
    for least in (5, 20, 40):
        with ShellProcess("echo", site, broker.bootstrap, tmp_path) as worker:
            eventually(some(broker.bootstrap, site, "echo", least))
            worker.kill()
    with ShellProcess("echo", site, broker.bootstrap, tmp_path):
        expect(broker.bootstrap, site, "echo", sent)


def test_sigkill_of_a_hop_with_a_table_loses_no_event_and_no_state(broker: Kafka, tmp_path: Path) -> None:
    """Several studies are under way at a time: enough of them that each kill hits some."""
    site = "sigkill-table"
    make_test_topics(broker.bootstrap, site)
    sent = load(broker.bootstrap, site, studies=200, numbers=20)
    for least in (300, 1000, 2000):
        with ShellProcess("collect", site, broker.bootstrap, tmp_path) as worker:
            wait_until(some(broker.bootstrap, site, "collect", least), seconds=120, every_s=0.05)
            worker.kill()
        assert len(set(answers(broker.bootstrap, site, "seen"))) < len(sent), "nothing was left to be hit"
    whole = "whole: " + ",".join(str(number) for number in range(1, 21))

    def every_study_is_whole() -> None:
        assert set(answers(broker.bootstrap, site, whole)) == {(study, 20) for study, _ in sent}

    with ShellProcess("collect", site, broker.bootstrap, tmp_path):
        expect(broker.bootstrap, site, "collect", sent)
        eventually(every_study_is_whole)


def test_an_event_that_waits_is_not_committed_by_those_behind_it(broker: Kafka, tmp_path: Path) -> None:
    site = "behind"
    make_test_topics(broker.bootstrap, site)
    probes = [probe(site, f"2.25.{study}", 1) for study in range(200)]
    partition = partition_of(probes[0].key.encode())
    behind = [event for event in probes[1:] if partition_of(event.key.encode()) == partition]
    faulty = probe(site, probes[0].study_uid, 1, "raise")
    Sender(broker.bootstrap).send(faulty, *behind)
    answered = {(event.study_uid, 1) for event in behind}
    with ShellProcess("collect", site, broker.bootstrap, tmp_path, retry_first_s=60, retry_cap_s=60) as worker:
        expect(broker.bootstrap, site, "collect", answered)
        time.sleep(3 * StreamSettings().commit_interval_s)
        worker.kill()
    with ShellProcess("collect", site, broker.bootstrap, tmp_path):

        def kept() -> None:
            assert faulty.key.encode() in {letter.key for letter in read_all(broker.bootstrap, DEAD_LETTERS.name)}

        eventually(kept)


def test_sigterm_in_mid_job_finishes_or_leaves_it(broker: Kafka, tmp_path: Path) -> None:
    site = "sigterm"
    make_test_topics(broker.bootstrap, site)
    sent = load(broker.bootstrap, site, "sleep 1", numbers=2)
    with ShellProcess("echo", site, broker.bootstrap, tmp_path) as worker:
        eventually(some(broker.bootstrap, site, "echo", 1))
        assert worker.stop() == 0
    with ShellProcess("echo", site, broker.bootstrap, tmp_path):
        expect(broker.bootstrap, site, "echo", sent)


def test_a_job_longer_than_the_grace_is_cut_off_and_done_again(broker: Kafka, tmp_path: Path) -> None:
    site = "grace"
    make_test_topics(broker.bootstrap, site)
    sent = load(broker.bootstrap, site, "hold", studies=3, numbers=1)
    away = tmp_path / "away"
    away.touch()

    with ShellProcess("echo", site, broker.bootstrap, tmp_path, grace_s=2.0) as worker:

        def holds() -> None:
            assert any('"held"' in line for line in worker.said())

        eventually(holds)
        assert worker.stop() == 0
        assert any("ended before all was finished" in line for line in worker.said())
    assert answers(broker.bootstrap, site, "echo") == []
    away.unlink()
    with ShellProcess("echo", site, broker.bootstrap, tmp_path):
        expect(broker.bootstrap, site, "echo", sent)


@pytest.mark.parametrize("hop", ["echo", "collect"])
def test_a_stopped_worker_is_replaced_and_does_no_harm_when_it_wakes(broker: Kafka, tmp_path: Path, hop: str) -> None:
    site = f"sigstop-{hop}"
    make_test_topics(broker.bootstrap, site)
    sent = load(broker.bootstrap, site, "sleep 0.2", numbers=10)
    with ShellProcess(hop, site, broker.bootstrap, tmp_path) as asleep:
        eventually(some(broker.bootstrap, site, hop, 5))
        asleep.signal(signal.SIGSTOP)
        with ShellProcess(hop, site, broker.bootstrap, tmp_path):
            expect(broker.bootstrap, site, hop, sent)
            asleep.signal(signal.SIGCONT)
            sent |= load(broker.bootstrap, site, numbers=12)
            expect(broker.bootstrap, site, hop, sent)


@pytest.mark.parametrize("hop", ["echo", "collect"])
def test_a_broker_that_dies_and_returns_finds_its_workers_alive(tmp_path: Path, hop: str) -> None:
    site = f"outage-{hop}"
    with Kafka(tmp_path / "kafka") as broker:
        make_test_topics(broker.bootstrap, site)
        sent = load(broker.bootstrap, site, numbers=20)
        with ShellProcess(hop, site, broker.bootstrap, tmp_path / "worker", watch_s=1.0) as worker:
            eventually(some(broker.bootstrap, site, hop, 20))
            broker.kill()

            def complains() -> None:
                assert "does not answer" in worker.health()

            eventually(complains)
            broker.start()
            sent |= load(broker.bootstrap, site, numbers=22)
            expect(broker.bootstrap, site, hop, sent)
            errors = [line for line in worker.said() if "aiokafka" in line]
            assert len(errors) < 200, "the log is not flooded"
            broker.kill()
            worker.signal(signal.SIGTERM)
            assert worker.wait() == 0, "SIGTERM is heard while the broker is away"
