"""Everything is killed in turn while a hundred studies arrive: what was acknowledged is there, once, with its result.

``SINSOK_KILL_SEED`` names another order of kills, sizes and bleeds.
"""

import gc
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import pytest

from sinsok.stack import marked, state
from tests.e2e.house import SITES, House
from tests.e2e.scanner import Scanner, Study, small_study, together
from tests.stack import wait_until

pytestmark = pytest.mark.e2e
SEED = int(os.environ.get("SINSOK_KILL_SEED", "20260105"))
STUDIES = 100
SENDERS = 4
ROUNDS = 2
PARTS = ("dicom-gateway", "streams-assemble", "triton", "streams-infer", "kafka", "streams-alert")
SECONDS = 300


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[House]:
    """A house that `sinsok up` started and keeps running."""
    house = House(tmp_path / "house", servers=("kafka", "triton", "orthanc"))
    try:
        _sinsok(house, "up")
        yield house
    finally:
        _sinsok(house, "down")
        gc.collect()  # while the filter above is in force


def test_a_hundred_studies_arrive_while_everything_is_killed_in_turn(supervised: House) -> None:
    house, chance = supervised, random.Random(SEED)
    sites = cycle(("anseong", "icheon"))
    studies = [
        small_study(f"kill {number}", site=next(sites), bright=chance.random() < 0.4, slices=chance.randint(5, 10))
        for number in range(STUDIES)
    ]
    rhythms = [random.Random(chance.random()) for _ in range(SENDERS)]
    with ThreadPoolExecutor(SENDERS) as pool:
        senders = [pool.submit(_send, house, studies[number::SENDERS], rhythm) for number, rhythm in enumerate(rhythms)]
        killed = _kill_in_turn(house, chance, senders)
        scanners = [scanner for sender in senders for scanner in sender.result()]
    repeated = house.finish(studies, together(scanners), seconds=SECONDS)
    assert not house.dead_letters()
    wait_until(lambda: _all_ready(house), seconds=SECONDS)
    _decided_again_as_it_was(house, studies)
    print(f"seed {SEED}: {len(killed)} kills ({', '.join(killed)}); on the wire more than once: {repeated} events")


def _decided_again_as_it_was(house: House, studies: list[Study]) -> None:
    """Whatever was killed, the record says enough to decide every study again; asked again, the models stand by it."""
    report = json.loads(_sinsok(house, "replay", "--json", "--workers", "2"))
    assert report["same"] == len(studies), report["studies"]
    asked = json.loads(_sinsok(house, "replay", "--json", "--infer", "--site", "icheon"))
    assert asked["same"] == sum(study.site == "icheon" for study in studies), asked["studies"]


def _send(house: House, studies: list[Study], rhythm: random.Random) -> list[Scanner]:
    """One scanner for each site, sending study after study as the patients come."""
    scanners = {site: Scanner(house.settings.dicom.port, title, site) for site, title in SITES.items()}
    for study in studies:
        scanners[study.site].insist(study.datasets, seconds=SECONDS)
        time.sleep(rhythm.uniform(0.2, 1.5))
    return list(scanners.values())


def _kill_in_turn(house: House, chance: random.Random, senders: list[Future[list[Scanner]]]) -> list[str]:
    killed = []
    for _ in range(ROUNDS):
        for name in chance.sample(PARTS, len(PARTS)):
            time.sleep(chance.uniform(0.5, 3.5))
            _kill(house, name)
            killed.append(name)
    assert not all(sender.done() for sender in senders), "the load ended before the last kill"
    return killed


def _kill(house: House, name: str) -> None:
    """SIGKILL to the part as soon as it runs; its children are left to themselves, as in a crash."""

    def gone() -> None:
        processes = marked.processes(house.home).get(name)
        assert processes, f"{name} does not run"
        processes[0].kill()

    wait_until(gone, seconds=SECONDS)


def _all_ready(house: House) -> None:
    not_ready = [part for part in state.read(house.home).values() if part.state != "ready"]
    assert not not_ready, f"not ready: {not_ready}"


def _sinsok(house: House, *command: str) -> str:
    program = str(Path(sys.executable).parent / "sinsok")
    done = subprocess.run([program, *command], env=house.environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
