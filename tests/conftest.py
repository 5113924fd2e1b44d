"""Fixtures shared by all tests: real parts of the stack, one of each for the whole run."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from pynetdicom.association import Association

from tests.stack import Kafka, Triton

# How long an example takes is not asked: the machine is busy with other tests.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

_serve_request = Association._serve_request


def _serve_request_or_give_back(self: Association, message: Any, context_id: int) -> None:
    """A response that somebody waits for goes back to where they wait.

    A request of pynetdicom's pauses the thread that serves its association, and may find it still marked as paused
    while it wakes from the pause before: the thread then takes the response, drops it with a warning, and the request
    times out. Our own associations are not pynetdicom's; the peers in the tests are.
    """
    if message.is_valid_request or self._reactor_checkpoint.is_set():
        _serve_request(self, message, context_id)
    else:
        self.dimse.msg_queue.put((context_id, message))


Association._serve_request = _serve_request_or_give_back  # type: ignore[method-assign]


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
