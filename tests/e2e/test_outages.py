"""The broker away, the disk full, the model server away: the scanner never waits, and nothing is lost."""

import os
import shutil
import signal
import time
from itertools import count
from pathlib import Path

import pytest

from schemas.events import Outcome, StudyTriaged
from sinsok.stack import probe
from tests.e2e.house import SITES, WAITING, House
from tests.e2e.scanner import Scanner, Study, small_study
from tests.stack import wait_until

pytestmark = pytest.mark.e2e
BROKER_AWAY_S = float(os.environ.get("SINSOK_BROKER_AWAY_S", "20"))
SECONDS = 180
SLOW = 4
ROOM_BYTES = 1024 * 1024


@pytest.fixture
def scanner(hurt_house: House) -> Scanner:
    return Scanner(hurt_house.settings.dicom.port, SITES["icheon"], "icheon")


def test_every_c_store_succeeds_while_the_broker_is_away(hurt_house: House, scanner: Scanner) -> None:
    hurt_house["kafka"].kill()
    back, studies = time.monotonic() + BROKER_AWAY_S, []
    for number in count():
        if time.monotonic() > back:
            break
        studies.append(small_study(f"broker away {number}", site="icheon", bright=number % 2 == 0))
        assert set(scanner.send(studies[-1].datasets)) == {0x0000}
        time.sleep(0.5)
    hurt_house.start()
    hurt_house.finish(studies, scanner.acknowledged)
    assert len(studies) > 1


def test_a_full_disk_refuses_and_recovers(hurt_house: House, scanner: Scanner, small_disk: bool) -> None:
    if not small_disk:
        pytest.skip("a small disk has to be mounted, which only root may")
    ballast = hurt_house.settings.store / "ballast"
    _fill(ballast)
    studies, statuses = [], []
    for number in count():
        studies.append(small_study(f"full disk {number}", site="icheon", bright=number % 2 == 0))
        statuses += scanner.send(studies[-1].datasets)
        if statuses.count(0xA700) > 20:
            break
    assert set(statuses) == {0x0000, 0xA700}
    kept = {key: set(instances) for key, instances in scanner.acknowledged.items()}
    ballast.unlink()
    for study in studies:
        scanner.insist(study.datasets)
    hurt_house.finish(studies, scanner.acknowledged)
    assert all(instances <= scanner.acknowledged[key] for key, instances in kept.items())


def test_a_restart_on_a_full_disk_loses_nothing(hurt_house: House, scanner: Scanner, small_disk: bool) -> None:
    if not small_disk:
        pytest.skip("a small disk has to be mounted, which only root may")
    ballast = hurt_house.settings.store / "ballast"
    _fill(ballast)
    studies = []
    for number in count():
        studies.append(small_study(f"full restart {number}", site="icheon"))
        if 0xA700 in scanner.send(studies[-1].datasets):
            break
    hurt_house["dicom-gateway"].kill()
    ballast.unlink()
    hurt_house.start()
    for study in studies:
        scanner.insist(study.datasets)
    hurt_house.finish(studies, scanner.acknowledged)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])
def test_studies_wait_visibly_while_the_model_server_is_away(hurt_house: House, scanner: Scanner, killed: bool) -> None:
    name = "triton " + ("killed" if killed else "stopped")
    studies = send_slow_studies(hurt_house, scanner, name, SLOW)
    triton = hurt_house["triton"]
    triton.signal(signal.SIGKILL if killed else signal.SIGSTOP)

    def told() -> None:
        waiting = [event for event in hurt_house.events(StudyTriaged, studies) if event.reason.startswith(WAITING)]
        assert waiting, "nobody is told that the AI did not run"
        assert {event.outcome for event in waiting} == {Outcome.FAILED}

    wait_until(told, seconds=SECONDS, every_s=0.5)
    if killed:
        hurt_house.start()
    else:
        triton.resume()
    hurt_house.finish(studies, scanner.acknowledged)


def send_slow_studies(house: House, scanner: Scanner, name: str, number: int) -> list[Study]:
    """Send studies for the model that takes its time; returns when it is reading one and another waits."""
    studies = [small_study(f"{name} {n}", site="icheon", bright=n % 2 == 0, body_part="SKULL") for n in range(number)]
    for study in studies:
        scanner.insist(study.datasets)

    def reading() -> None:
        page = probe.get(house.settings.triton.metrics_url, "/metrics")
        values = [float(line.split()[-1]) for line in page.splitlines() if line.startswith(_PENDING)]
        assert sum(values) > 0, "the model is not busy"

    wait_until(reading, seconds=SECONDS, every_s=0.05)
    return studies


_PENDING = 'nv_inference_pending_request_count{model="slow"'


def _fill(ballast: Path) -> None:
    """Take all the room on the disk but a little."""
    with ballast.open("wb", buffering=0) as file:
        size = shutil.disk_usage(ballast.parent).free - ROOM_BYTES
        os.posix_fallocate(file.fileno(), 0, size)
