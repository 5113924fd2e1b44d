"""How Triton's ways of failing are told apart: what may pass, and what will not."""

from types import SimpleNamespace

import pytest
from tritonclient.utils import InferenceServerException

from gateways.inference.server import Failed, NotLoaded, TritonServer
from gateways.inference.settings import TritonSettings
from gateways.inference.trial import trial_volume
from schemas.failures import PortFailure, Unavailable, Unreadable
from tests.fakes import FakeModels


class Refusing:
    """A client whose every question ends in one status."""

    def __init__(self, status: str, message: str = "secret\nline") -> None:
        self._error = InferenceServerException(message, f"StatusCode.{status}")

    def __getattr__(self, question):
        def ask(*_, **__):
            raise self._error

        return ask


class Index:
    """A client of a server that holds one model in one state."""

    def __init__(self, state: str, reason: str) -> None:
        self._one = SimpleNamespace(name="m", version="1", state=state, reason=reason)

    def get_model_repository_index(self, **_):
        return SimpleNamespace(models=[self._one])

    def is_model_ready(self, *_, **__) -> bool:
        return False


def server(client) -> TritonServer:
    made = TritonServer(TritonSettings())
    made._client = client
    return made


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("NOT_FOUND", Unreadable),
        ("INVALID_ARGUMENT", Unreadable),
        ("UNAVAILABLE", Unavailable),
        ("INTERNAL", Unavailable),
        ("UNKNOWN", Unavailable),
        ("RESOURCE_EXHAUSTED", Unavailable),
        ("DEADLINE_EXCEEDED", Unavailable),
    ],
)
def test_only_a_wrong_question_will_not_pass(status: str, kind: type[PortFailure]) -> None:
    with pytest.raises(kind):
        server(Refusing(status)).configuration("m", "1")


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        ("INVALID_ARGUMENT", "unexpected shape", Unreadable),
        ("NOT_FOUND", "gone", Unavailable),
        ("UNAVAILABLE", "exceeds maximum queue size", Unavailable),
        ("UNAVAILABLE", "Socket closed", Failed),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", Failed),
        ("INTERNAL", "the model raised", Failed),
        ("RESOURCE_EXHAUSTED", "out of memory", Failed),
    ],
)
def test_a_failed_inference_is_told_by_its_status(status: str, message: str, kind: type[PortFailure]) -> None:
    with pytest.raises(PortFailure) as failure:
        server(Refusing(status, message)).infer(FakeModels().model, trial_volume())
    assert type(failure.value) is kind


@pytest.mark.parametrize(
    ("state", "reason", "kind"),
    [
        ("LOADING", "", Unavailable),
        ("UNAVAILABLE", "unloaded", Unavailable),
        ("UNAVAILABLE", "Internal: cannot load", NotLoaded),
    ],
)
def test_a_model_that_could_not_be_loaded_is_another_case_than_one_that_loads(
    state: str, reason: str, kind: type[Unavailable]
) -> None:
    with pytest.raises(Unavailable, match=f"not ready: {state}") as failure:
        server(Index(state, reason)).check_ready("m", "1")
    assert type(failure.value) is kind
