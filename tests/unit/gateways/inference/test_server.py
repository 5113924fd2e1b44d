"""How Triton's ways of failing are told apart: what may pass, and what will not."""

from types import SimpleNamespace

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from gateways.inference import memory
from gateways.inference.memory import SharedMemory
from gateways.inference.server import Failed, NotLoaded, TritonServer
from gateways.inference.settings import TritonSettings
from gateways.inference.trial import trial_volume
from schemas.failures import NotInstalled, PortFailure, Unavailable, Unreadable
from schemas.models import VOLUME
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
        ("UNAVAILABLE", "Request timeout expired", Unavailable),
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


@pytest.mark.parametrize(
    ("state", "reason"), [("", ""), ("UNAVAILABLE", "Internal: member_1.npz is not installed: run `sinsok ...`")]
)
def test_a_model_that_was_not_loaded_for_want_of_its_files_is_not_installed(state: str, reason: str) -> None:
    with pytest.raises(NotInstalled, match=r"not installed|was not loaded by Triton"):
        server(Index(state, reason)).check_ready("m", "1")


def test_a_model_that_the_repository_does_not_have_is_not_installed() -> None:
    with pytest.raises(NotInstalled, match="has no model other version 1"):
        server(Index("READY", "")).check_ready("other", "1")


class Once:
    """A client that lost the region it was given, and answers over gRPC."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []

    def get_system_shared_memory_status(self, **_):
        return SimpleNamespace(regions={})

    def register_system_shared_memory(self, *_, **__) -> None: ...

    def unregister_system_shared_memory(self, *_, **__) -> None: ...

    def infer(self, _, inputs, **asked):
        shown = {one.name(): one for one in inputs}[VOLUME.name]
        self.asked.append(asked | {"shared": shown._get_content() is None})
        if shown._get_content() is None:
            raise InferenceServerException("Unable to find shared memory region: 'x'", "StatusCode.NOT_FOUND")
        given = {"SCORES": np.zeros(1, np.float32)}
        return SimpleNamespace(as_numpy=given.get, get_output=lambda _: None)


def with_client(client, monkeypatch, tmp_path) -> TritonServer:
    monkeypatch.setattr(memory, "FOLDER", tmp_path)
    made = server(client)
    made._memory = SharedMemory(client, TritonSettings())
    return made


def test_a_volume_whose_region_is_gone_goes_over_grpc(monkeypatch, tmp_path) -> None:
    client = Once()
    answer = with_client(client, monkeypatch, tmp_path).infer(FakeModels().model, trial_volume())
    assert answer.scores.tolist() == [0]
    assert [asked["shared"] for asked in client.asked] == [True, False]
    assert not list(tmp_path.iterdir())


def test_what_is_urgent_has_the_first_priority_and_waits_in_the_queue_for_half_the_time(monkeypatch, tmp_path) -> None:
    client = Once()
    asking = with_client(client, monkeypatch, tmp_path)
    for urgent in (True, False):
        asking.infer(FakeModels().model, trial_volume(), urgent=urgent)
    assert [(asked["priority"], asked["timeout"]) for asked in client.asked[1::2]] == [
        (1, 30_000_000),
        (2, 120_000_000),
    ]
