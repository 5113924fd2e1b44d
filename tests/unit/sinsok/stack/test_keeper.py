import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from sinsok.stack import keeper as keeping
from sinsok.stack import marked, state
from sinsok.stack.keeper import Keeper
from sinsok.stack.part import NotInstalled, NotReady, Part
from sinsok.stack.state import PartState
from tests.stack import wait_until

SLEEPER = (sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)")


@dataclass
class Bench:
    """A keeper under test, with the states that it reported."""

    home: Path
    states: list[PartState] = field(default_factory=list)
    keeper: Keeper | None = None

    def keep(self, part: Part, **ready: threading.Event) -> None:
        self.keeper = Keeper(part, self.home, {part.name: threading.Event(), **ready}, self.states.append)
        self.keeper.start()

    def wait_for(self, wanted: Callable[[PartState], bool]) -> PartState:
        def there() -> None:
            assert any(wanted(state) for state in self.states), self.states

        wait_until(there, seconds=120, every_s=0.02)
        return next(state for state in self.states if wanted(state))

    def stop(self) -> None:
        if self.keeper is not None:
            self.keeper.stop()
            self.keeper.join(timeout=30)
            assert not self.keeper.is_alive()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.stop()


def fine() -> None:
    return None


def part(command: tuple[str, ...] = SLEEPER, **changes: object) -> Part:
    return replace(Part("sleeper", command, "nowhere", (), ready=fine, alive=fine, grace_s=5.0), **changes)


def test_starts_the_process_and_says_when_it_is_ready(bench: Bench) -> None:
    bench.keep(part())

    ready = bench.wait_for(lambda state: state.state == "ready")

    assert ready.pid is not None
    assert ready.endpoint == "nowhere"
    assert psutil.Process(ready.pid).environ()["SINSOK_STACK_PART"] == f"{bench.home}:sleeper"
    assert [state.state for state in bench.states[:2]] == ["starting", "starting"]


def test_starts_it_again_when_it_was_killed(bench: Bench) -> None:
    bench.keep(part())
    first = bench.wait_for(lambda state: state.state == "ready")

    os.kill(first.pid or 0, signal.SIGKILL)

    failed = bench.wait_for(lambda state: state.state == "failed")
    assert (failed.reason, failed.pid, failed.restarts) == ("ended by SIGKILL", None, 1)
    again = bench.wait_for(lambda state: state.state == "ready" and state.restarts == 1)
    assert again.pid != first.pid


def test_waits_longer_each_time_it_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []
    monkeypatch.setattr(keeping, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(keeping, "LONGEST_DELAY_S", 0.05)
    monkeypatch.setattr(keeping._log, "warning", lambda *_, again_in_s, **__: delays.append(again_in_s))

    bench.keep(part((sys.executable, "-c", "raise SystemExit(3)")))

    last = bench.wait_for(lambda state: state.restarts == 5)
    assert last.reason == "ended with status 3"

    def delayed() -> None:
        assert len(delays) >= 5

    wait_until(delayed, seconds=120)
    assert delays[:5] == [0.01, 0.02, 0.04, 0.05, 0.05]


def test_kills_what_runs_and_does_not_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "HUNG_AFTER_S", 0.3)

    def silent() -> None:
        raise NotReady("it is silent")

    bench.keep(part(ready=silent, alive=silent, ready_within_s=0.1))

    killed = bench.wait_for(lambda state: state.restarts == 1)
    assert "did not answer" in killed.reason
    assert "it is silent" in killed.reason


def test_leaves_alone_what_is_alive_and_cannot_work_now(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "HUNG_AFTER_S", 0.2)
    answers = iter(range(10))

    def waiting() -> None:
        if next(answers, None) is not None:
            raise NotReady("Kafka is away")

    bench.keep(part(ready=waiting, ready_within_s=0.3))

    late = bench.wait_for(lambda state: state.state == "failed")
    assert late.reason == "Kafka is away"
    assert bench.wait_for(lambda state: state.state == "ready").pid == late.pid


def test_readiness_includes_what_is_to_do_once(bench: Bench) -> None:
    calls = []

    def create_topics() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise NotReady("the broker refuses")

    bench.keep(part(once_ready=create_topics))

    bench.wait_for(lambda state: state.state == "starting" and state.reason == "the broker refuses")
    bench.wait_for(lambda state: state.state == "ready")
    assert len(calls) == 2


def test_says_what_is_not_installed(bench: Bench) -> None:
    def prepare() -> None:
        raise NotInstalled("Orthanc is missing; run `make setup`")

    bench.keep(part(prepare=prepare))

    assert bench.wait_for(lambda state: state.state == "failed").reason == "Orthanc is missing; run `make setup`"


def test_starts_after_its_predecessors(bench: Bench) -> None:
    kafka = threading.Event()
    bench.keep(part(after=("kafka",)), kafka=kafka)
    assert bench.wait_for(lambda state: state.state == "starting").reason == "waits for kafka"
    assert not marked.processes(bench.home)

    kafka.set()

    bench.wait_for(lambda state: state.state == "ready")


def test_a_predecessor_that_runs_elsewhere_is_not_waited_for(bench: Bench) -> None:
    bench.keep(part(after=("kafka",)))

    bench.wait_for(lambda state: state.state == "ready")


def test_stops_a_process_that_ignores_sigterm_and_what_it_started(bench: Bench) -> None:
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "time.sleep(600)"
    )
    bench.keep(part((sys.executable, "-c", code), grace_s=0.5))
    bench.wait_for(lambda state: state.state == "ready")
    wait_until(lambda: _count(bench.home, 2), seconds=120)

    bench.stop()

    assert bench.states[-1].state == "stopped"
    wait_until(lambda: _count(bench.home, 0), seconds=120)


def _count(home: Path, number: int) -> None:
    found = marked.processes(home).get("sleeper", [])
    assert len(found) == number, found


def test_moves_a_large_log_aside(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "LARGEST_LOG", 10)
    monkeypatch.setattr(keeping, "ASK_EVERY_S", 0.0)
    chatter = "import time\nfor n in range(10**6): print('line', n, flush=True); time.sleep(0.05)"
    bench.keep(part((sys.executable, "-c", chatter)))
    logs = bench.home / "logs"

    def moved() -> None:
        assert (logs / "sleeper.log.1").exists()

    wait_until(moved, seconds=120)
    assert (logs / "sleeper.log.1").read_text().startswith("line")


def test_a_held_part_ends_is_not_started_and_counts_no_restart(bench: Bench) -> None:
    bench.keep(part())
    first = bench.wait_for(lambda state: state.state == "ready")

    state.hold(bench.home, "sleeper")

    held = bench.wait_for(lambda state: state.state == "stopped")
    assert held.reason == "until `sinsok up sleeper`"
    assert not psutil.pid_exists(first.pid or 0)
    state.let_go(bench.home, "sleeper")
    again = bench.wait_for(lambda state: state.state == "ready" and state.pid != first.pid)
    assert again.restarts == 0
