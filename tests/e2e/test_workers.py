"""Stream workers end, stop, join and leave in the middle of their work: every study has its result, once."""

import random
import threading
import time
from itertools import count

import pytest

from tests.e2e.house import SESSION_S, SITES, House
from tests.e2e.scanner import Scanner, Study, small_study
from tests.e2e.test_outages import SECONDS, send_slow_studies
from tests.stack import RunningPart

pytestmark = pytest.mark.e2e
SEED = 11
SLOW = 4
JOINS = 12
STUDIES = 50


@pytest.fixture
def scanner(hurt_house: House) -> Scanner:
    return Scanner(hurt_house.settings.dicom.port, SITES["icheon"], "icheon")


def test_sigterm_in_mid_inference(hurt_house: House, scanner: Scanner) -> None:
    studies = send_slow_studies(hurt_house, scanner, "sigterm", SLOW)
    assert hurt_house["streams-infer"].stop() == 0
    hurt_house.start()
    hurt_house.finish(studies, scanner.acknowledged)


def test_sigkill_in_mid_inference(hurt_house: House, scanner: Scanner) -> None:
    studies = send_slow_studies(hurt_house, scanner, "sigkill", SLOW)
    hurt_house["streams-infer"].kill()
    hurt_house.start()
    hurt_house.finish(studies, scanner.acknowledged)


def test_sigstop_in_mid_inference_for_longer_than_the_session(hurt_house: House, scanner: Scanner) -> None:
    studies = send_slow_studies(hurt_house, scanner, "sigstop", SLOW)
    hurt_house["streams-infer"].pause()
    time.sleep(2 * SESSION_S)
    hurt_house["streams-infer"].resume()
    hurt_house.finish(studies, scanner.acknowledged)


def test_a_stopped_worker_comes_back_after_another_took_its_work(hurt_house: House, scanner: Scanner) -> None:
    guest = hurt_house.guest("infer").start()
    studies = send_slow_studies(hurt_house, scanner, "taken over", SLOW)
    hurt_house["streams-infer"].pause()
    time.sleep(2 * SESSION_S)
    hurt_house["streams-infer"].resume()
    hurt_house.finish(studies, scanner.acknowledged)
    assert guest.stop() == 0


def test_workers_join_and_leave_a_dozen_times_under_load(hurt_house: House, scanner: Scanner) -> None:
    chance = random.Random(SEED)
    load = Load(scanner)
    load.start()
    guests: list[RunningPart] = []
    for number in range(JOINS):
        guests.append(hurt_house.guest("infer" if number % 2 else "assemble").start())
        time.sleep(chance.uniform(0.0, 1.5))
        if len(guests) > 1:
            _leave(guests.pop(0), chance)
    for guest in guests:
        _leave(guest, chance)
    studies = load.finish()
    hurt_house.finish(studies, scanner.acknowledged)
    assert len(studies) >= STUDIES


def _leave(guest: RunningPart, chance: random.Random) -> None:
    if chance.random() < 0.5:
        guest.kill()
    else:
        assert guest.stop() == 0


class Load(threading.Thread):
    """Sends study after study until told to stop, and at least as many as there have to be."""

    def __init__(self, scanner: Scanner) -> None:
        super().__init__(daemon=True)
        self._scanner = scanner
        self._enough = threading.Event()
        self._studies: list[Study] = []

    def run(self) -> None:
        for number in count():
            if self._enough.is_set() and number >= STUDIES:
                return
            study = small_study(f"join and leave {number}", site="icheon", bright=number % 3 == 0, slices=6)
            self._scanner.insist(study.datasets)
            self._studies.append(study)
            time.sleep(0.5)

    def finish(self) -> list[Study]:
        self._enough.set()
        self.join(SECONDS)
        assert not self.is_alive()
        return self._studies
