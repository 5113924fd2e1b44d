"""A console for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from gateways.console import accounts
from gateways.console.accounts import Accounts
from tests.unit.gateways.console.house import PASSWORD, PEOPLE, SITES, Browser, Enter, House, grant, house_in


@pytest.fixture(scope="session", autouse=True)
def quick_hashes() -> Iterator[None]:
    """Passwords are checked in a moment: what they withstand is not what these tests are about."""
    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "_HASHER", quick)
        yield


@pytest.fixture(scope="session")
def people(quick_hashes: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("people") / "accounts.json"
    made = Accounts(place, SITES)
    for name, (role, site) in PEOPLE.items():
        made.add(name, PASSWORD, grant(role, site))
    return place


@pytest.fixture
def house(tmp_path: Path, people: Path) -> Iterator[House]:
    shutil.copy(people, tmp_path / "accounts.json")
    with house_in(tmp_path) as house:
        yield house


@pytest.fixture
def app(house: House) -> FastAPI:
    return house.app()


@pytest.fixture
def enter(app: FastAPI) -> Iterator[Enter]:
    """Browsers of people who are signed in; of nobody without a name."""
    opened: list[Browser] = []

    def enter(name: str | None = None) -> Browser:
        browser = Browser(app)
        opened.append(browser)
        if name is not None:
            assert browser.sign_in(name).status_code == 303
        return browser

    yield enter
    for browser in opened:
        browser.close()
