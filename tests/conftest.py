"""Fixtures shared by all tests: real parts of the stack, one of each for the whole run."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.stack import Kafka, Triton

# How long an example takes is not asked: the machine is busy with other tests.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of a real broker. Topics are the tests' own: use names that no other test uses."""
    with Kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """A real Triton that serves ``triton_models`` on the CPU."""
    with Triton(tmp_path_factory.mktemp("triton")) as server:
        yield server
