"""Triton over gRPC: what it serves and what a model answers. Every question names the model version and a deadline.

::

    PortFailure
    ├── Unavailable      away, stopping, its queue full
    │   ├── NotLoaded    it has the model and could not load it
    │   └── Failed       it was ready, and was lost, fell silent or made an error over this very request
    └── Unreadable       there is no such model, or the request is wrong
"""

from typing import Any, Final

import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from gateways.imaging.volume import Volume
from gateways.inference.contract import Answer
from gateways.inference.settings import TritonSettings
from schemas.failures import Unavailable, Unreadable
from schemas.models import AFFINE, LABELS, OUTPUTS, SCORES, SPACING, VOLUME, ModelIdentity

_CHANNEL: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that comes back is found at once; gRPC's own back-off grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]
_TRITONS_OWN_REFUSALS: Final = ("maximum queue size", "stopping", "not ready", "unknown model", "unloaded")
"""In the message of an UNAVAILABLE that a living server answered."""


class NotLoaded(Unavailable):
    """The server has the model version and could not load it; whoever mends it has it loaded again."""


class Failed(Unavailable):
    """The server or its model process was lost, fell silent or made an error over this request."""


class TritonServer:
    """A client of one Triton. Blocks: call it in a thread. Connects when first asked."""

    def __init__(self, settings: TritonSettings) -> None:
        self._settings = settings
        self._client = triton.InferenceServerClient(settings.grpc_url, channel_args=_CHANNEL)

    def configuration(self, model: str, version: str) -> model_config_pb2.ModelConfig:
        """The configuration under which a version is served.

        Raises :class:`Unavailable` where the server is away, the version not ready or (:class:`NotLoaded`) broken, and
        :class:`Unreadable` where the repository holds no such version.
        """
        self.check_ready(model, version)
        answer = self._ask(self._client.get_model_config, model, version)
        config: model_config_pb2.ModelConfig = answer.config
        return config

    def check_ready(self, model: str, version: str) -> None:
        """Raise what :meth:`state` raises, :class:`NotLoaded`, or :class:`Unavailable` for any other state."""
        state = self.state(model, version)
        if state != "READY":
            # One that is loading, or that was unloaded to be loaded anew, states no reason of its own.
            broken = state.startswith("UNAVAILABLE ") and state != "UNAVAILABLE unloaded"
            raise (NotLoaded if broken else Unavailable)(f"model {model} version {version} is not ready: {state}")

    def state(self, model: str, version: str) -> str:
        """``READY``, or the state of a version and the reason for it.

        Raises :class:`Unavailable` where the server is away and :class:`Unreadable` where it knows no such version.
        """
        index = self._ask(self._client.get_model_repository_index)
        known = [one for one in index.models if one.name == model and one.version in (version, "")]
        if not known:
            raise Unreadable(f"Triton at {self._settings.grpc_url} has no model {model} version {version}")
        if known[0].state == "READY" and self._ask(self._client.is_model_ready, model, version):
            return "READY"
        return " ".join(f"{known[0].state or 'not loaded'} {known[0].reason}".split())

    def infer(self, model: ModelIdentity, volume: Volume) -> Answer:
        """Show a volume to a model version.

        Raises :class:`Failed`, :class:`Unavailable` and :class:`Unreadable` as the tree above says.
        """
        outputs = OUTPUTS[model.contract]
        try:
            result = self._client.infer(
                model.name,
                [
                    _tensor(VOLUME.name, VOLUME.datatype, volume.voxels),
                    _tensor(SPACING.name, SPACING.datatype, np.array(volume.spacing_mm, np.float32)),
                    _tensor(AFFINE.name, AFFINE.datatype, volume.affine),
                ],
                model_version=model.version,
                outputs=[triton.InferRequestedOutput(output.name) for output in outputs],
                client_timeout=self._settings.timeout_s,
            )
        except InferenceServerException as error:
            raise self._inference_failure(error, model) from None
        scores = result.as_numpy(SCORES.name)
        if scores is None:
            raise Unreadable(f"model {model.name} breaks the contract: it answered without SCORES")
        return Answer(result.as_numpy(LABELS.name) if LABELS in outputs else None, scores)

    def _ask(self, question: Any, *names: str) -> Any:
        try:
            return question(*names, client_timeout=self._settings.probe_timeout_s)
        except InferenceServerException as error:
            if error.status() in ("StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED"):
                raise Unavailable(f"Triton at {self._settings.grpc_url} does not answer") from None
            said = f"Triton at {self._settings.grpc_url}: {_line(error)}"
            # Nothing of a study is in these questions: but for a model that is not there, what is wrong may pass.
            if error.status() in ("StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT"):
                raise Unreadable(said) from None
            raise Unavailable(said) from None

    def _inference_failure(self, error: InferenceServerException, model: ModelIdentity) -> Unavailable | Unreadable:
        place = f"model {model.name} version {model.version} at {self._settings.grpc_url}"
        status, text = str(error.status()).removeprefix("StatusCode."), _line(error)
        if status == "DEADLINE_EXCEEDED":
            return Failed(f"{place} gave no answer within {self._settings.timeout_s:g} s")
        if status in ("UNAVAILABLE", "CANCELLED"):
            if any(words in text for words in _TRITONS_OWN_REFUSALS):
                return Unavailable(f"{place} takes no request: {text}")
            return Failed(f"{place} went away")
        if "Stub process" in text:
            return Failed(f"the process of {place} died")
        if status == "NOT_FOUND":
            return Unavailable(f"{place} is no longer served")
        if status == "INVALID_ARGUMENT":
            return Unreadable(f"{place} refused the series: {text}")
        # The model raised, or memory ran out: it may pass, and it may be this series that brings it about every time.
        return Failed(f"{place} failed: {text}")


def _tensor(name: str, datatype: str, values: Any) -> triton.InferInput:
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(np.ascontiguousarray(values))
    return tensor


def _line(error: InferenceServerException) -> str:
    """The first line of what Triton said; a model's traceback stays in Triton's log."""
    return (str(error.message()).strip().splitlines() or ["no message"])[0][:200]
