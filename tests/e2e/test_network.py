"""A trained network reads and five confirm, and Triton is hurt meanwhile: every study gets its results, once."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from tritonclient.grpc import InferenceServerClient

from gateways.inference.repository import missing_files
from schemas.events import AlertRaised, Outcome, StudyTriaged
from schemas.topics import RESULTS
from sinsok.phantom import Case, build
from sinsok.stack.lag import consumer_lag
from sinsok.stack.part import CHECKOUT
from tests.e2e.house import SITES, WAITING, House
from tests.e2e.scanner import Scanner, Study
from tests.stack import wait_until

ONE, SEVERAL = "blast_ct", "blast_ct_ensemble"
SECONDS = 240
SLICES = slice(14, 26)
"""Of a phantom's 36: the bleed and what is around it, in a third of the time."""
COMPUTED_S = 1.0
"""Processor time of a model's process after which it is in the middle of a volume; none takes less than four."""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.skipif(
        any(missing_files(CHECKOUT / "triton_models" / model, "1") for model in (ONE, SEVERAL)),
        reason="no weights: run `sinsok models install blast-ct`",
    ),
]


@pytest.fixture(scope="module")
def network_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("network"), model=ONE, confirm=SEVERAL, members=2)
    try:
        yield house
    finally:
        house.kill()


@pytest.fixture
def hospital(network_house: House) -> House:
    """Everything runs, also after a test that hurt it."""
    return network_house.start()


def send(house: House, case: Case) -> Study:
    study = Study(case, "suwon", case is Case.IPH, build(case, seed=0).datasets[SLICES])
    Scanner(house.settings.dicom.port, SITES["suwon"], "suwon").insist(study.datasets)
    return study


def results(house: House, study: Study) -> list[StudyTriaged]:
    """What was said of a study, but for that nothing can be said yet."""
    return [event for event in house.events(StudyTriaged, [study]) if not event.reason.startswith(WAITING)]


def wait_for_word(house: House, study: Study, model: str) -> None:
    def spoken() -> None:
        readers = {one.provenance.model for one in results(house, study) if one.provenance}
        assert model in readers, f"{model} has not spoken"

    wait_until(spoken, seconds=SECONDS, every_s=0.5)


def wait_until_it_computes(house: House, model: str) -> psutil.Process:
    """The model's process, as soon as it is in the middle of a volume."""
    children = psutil.Process(house["triton"].process.pid).children(recursive=True)
    (process,) = (child for child in children if any(f"/{model}/1/" in word for word in child.cmdline()))
    before = process.cpu_times().user

    def computes() -> None:
        assert process.cpu_times().user - before > COMPUTED_S, f"{model} has nothing to do"

    wait_until(computes, seconds=SECONDS, every_s=0.02)
    return process


def niceness(process: psutil.Process) -> set[int]:
    """Of every thread that has computed for a while; each thread has its own."""
    busy = [thread.id for thread in process.threads() if thread.user_time > COMPUTED_S / 4]
    assert len(busy) > 1, "only one thread computes"
    stats = [Path(f"/proc/{process.pid}/task/{thread}/stat").read_text() for thread in busy]
    return {int(stat.rpartition(")")[2].split()[16]) for stat in stats}


def check_heard(house: House) -> None:
    """The hop that alerts has read all results."""
    lag = consumer_lag(house.bootstrap, {"sinsok-alert": (RESULTS,)})
    assert lag == {"sinsok-alert": 0}


def check_said_once(house: House, study: Study, outcome: Outcome) -> None:
    """Wait for the last word on the final revision; then each of the two readings stands there by one event."""

    def concluded() -> None:
        assert any(one.final for one in results(house, study)), "there is no last word"

    wait_until(concluded, seconds=SECONDS, every_s=0.5)
    said = results(house, study)
    newest = max(one.revision for one in said)
    different = {one.event_id: one for one in said if one.revision == newest}
    assert all(one == different.get(one.event_id, one) for one in said), "what stands there twice differs"
    assert sorted((one.unconfirmed, one.provenance.model) for one in different.values() if one.provenance) == [
        (False, SEVERAL),
        (True, ONE),
    ]
    assert {one.outcome for one in said} == {outcome}
    wait_until(partial(check_heard, house), seconds=SECONDS, every_s=0.5)
    pages = {event.alert_id for event in house.events(AlertRaised) if event.study_uid == study.uid}
    assert len(pages) == study.bright


def test_triton_killed_in_the_middle_of_either_reading(hospital: House) -> None:
    study = send(hospital, Case.IPH)
    wait_until_it_computes(hospital, ONE)
    hospital["triton"].kill()
    assert not results(hospital, study)
    hospital.start()
    wait_for_word(hospital, study, ONE)
    assert min(niceness(wait_until_it_computes(hospital, SEVERAL))) > 0, "a confirmation slows first readings"
    hospital["triton"].kill()
    assert {one.unconfirmed for one in results(hospital, study)} == {True}
    hospital.start()
    check_said_once(hospital, study, Outcome.FINDINGS)


def test_a_network_unloaded_and_loaded_again(hospital: House) -> None:
    triton = InferenceServerClient(hospital.settings.triton.grpc_url)
    triton.unload_model(ONE)
    study = send(hospital, Case.NEGATIVE)

    def told() -> None:
        assert any(event.reason.startswith(WAITING) for event in hospital.events(StudyTriaged, [study]))

    wait_until(told, seconds=SECONDS, every_s=0.5)
    assert not results(hospital, study)
    triton.load_model(ONE)
    check_said_once(hospital, study, Outcome.NO_FINDINGS)
