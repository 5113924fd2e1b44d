"""Two houses for the tests here: one that nobody hurts, and one that every test hurts and leaves whole."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sinsok.stack.part import CHECKOUT
from tests.e2e.house import SITES, House
from tests.e2e.scanner import Scanner

STORE_MB = 256
HERE = Path(__file__).parent
STANDING = ("house", "hurt_house")
"""Fixtures whose house stands from test to test, in the order of the tests that ask for them; then come the others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Called for every folder that is collected with this one; other folders have fixtures of the same names."""
    items.sort(
        key=lambda item: [
            HERE not in item.path.parents or name not in getattr(item, "fixturenames", ()) for name in STANDING
        ]
    )


@pytest.fixture(scope="session")
def standing() -> dict[str, House]:
    return {}


@pytest.fixture(autouse=True)
def one_house_at_a_time(request: pytest.FixtureRequest, standing: dict[str, House]) -> None:
    """What is not asked for is stopped: a house that only stands there takes a sixth of a processor."""
    for name, house in standing.items():
        if name not in request.fixturenames:
            house.kill()


@pytest.fixture(scope="session")
def _house(standing: dict[str, House], tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    standing["house"] = house = House(tmp_path_factory.mktemp("house"), servers=("kafka", "triton", "orthanc"))
    try:
        yield house
    finally:
        house.kill()


@pytest.fixture
def house(_house: House) -> House:
    """A whole stack with its PACS, shared by tests that leave its processes alone."""
    return _house.start()


@pytest.fixture(scope="session")
def small_disk() -> bool:
    """Whether this process may mount, so that a store can have a small disk of its own."""
    return os.geteuid() == 0 and _may_mount()


@pytest.fixture(scope="session")
def _hurt_house(
    standing: dict[str, House], tmp_path_factory: pytest.TempPathFactory, small_disk: bool
) -> Iterator[House]:
    standing["hurt_house"] = house = House(tmp_path_factory.mktemp("hurt"))
    house.settings.store.mkdir(parents=True)
    if small_disk:
        _mount(house.settings.store, STORE_MB)
    try:
        yield house
    finally:
        house.kill()
        if small_disk:
            subprocess.run(["umount", "--lazy", str(house.settings.store)], check=True)


@pytest.fixture
def hurt_house(_hurt_house: House) -> House:
    """A whole stack to be hurt, everything running. Its store is a small disk where that is permitted."""
    return _hurt_house.start()


@pytest.fixture
def scanner(house: House) -> Scanner:
    """A scanner in Anseong that sends to the house nobody hurts."""
    return Scanner(house.settings.dicom.port, SITES["anseong"], "anseong")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real cases, which are no part of the project."""
    folder = Path(os.environ.get("SINSOK_SHARED", CHECKOUT.parent / "shared"))
    if not (folder / "cases").is_dir():
        pytest.skip(f"no real cases in {folder}; SINSOK_SHARED names another folder")
    return folder


def _may_mount() -> bool:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            _mount(Path(folder), 1)
        except subprocess.CalledProcessError:
            return False
        subprocess.run(["umount", folder], check=True)
    return True


def _mount(folder: Path, megabytes: int) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "sinsok-test", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
