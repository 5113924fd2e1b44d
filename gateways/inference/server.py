"""Triton over gRPC: what it serves and what a model answers. Every question names the model version and a deadline.

::

    PortFailure
    ├── Unavailable      away, stopping, its queue full
    │   ├── NotLoaded    it has the model and could not load it
    │   └── Failed       it was ready, and was lost, fell silent or made an error over this very request
    └── Unreadable       the request is wrong
        └── NotInstalled    Triton was never told to load it, or it lacks files
            └── NoSuchModel    Triton has no model of that name and version
"""

from typing import Any, Final

import numpy as np
import structlog
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from gateways.imaging.volume import Volume
from gateways.inference.contract import Answer
from gateways.inference.memory import SharedMemory, SharedRegion, room
from gateways.inference.settings import TritonSettings
from schemas.failures import NotInstalled, Unavailable, Unreadable
from schemas.models import (
    AFFINE,
    AGREEMENT,
    LABELS,
    OPTIONAL_OUTPUTS,
    OUTPUTS,
    PROBABILITY,
    SCORES,
    SPACING,
    VOLUME,
    ModelIdentity,
    Tensor,
)

_CHANNEL: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that comes back is found at once; gRPC's own back-off grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]
_TRITONS_OWN_REFUSALS: Final = (
    "maximum queue size",
    "timeout expired",
    "stopping",
    "not ready",
    "unknown model",
    "unloaded",
)
"""In the message of an UNAVAILABLE that a living server answered."""
URGENT: Final = 1
ROUTINE: Final = 2
"""Triton's priorities. A model whose configuration has no ``priority_levels`` takes requests as they come."""

log = structlog.get_logger()


class NotLoaded(Unavailable):
    """The server has the model version and could not load it; whoever mends it has it loaded again."""


class NoSuchModel(NotInstalled):
    """The server has no model of that name and version."""


class Failed(Unavailable):
    """The server or its model process was lost, fell silent or made an error over this request."""


class TritonServer:
    """A client of one Triton. Blocks: call it in a thread. Connects when first asked."""

    def __init__(self, settings: TritonSettings) -> None:
        self._settings = settings
        self._client = triton.InferenceServerClient(settings.grpc_url, channel_args=_CHANNEL)
        self._memory = SharedMemory(self._client, settings)

    def configuration(self, model: str, version: str) -> model_config_pb2.ModelConfig:
        """The configuration under which a version is served.

        Raises :class:`Unavailable` where the server is away, the version not ready or (:class:`NotLoaded`) broken, and
        :class:`NotInstalled` where it does not have the version.
        """
        self.check_ready(model, version)
        answer = self._ask(self._client.get_model_config, model, version)
        config: model_config_pb2.ModelConfig = answer.config
        return config

    def load(self, model: str) -> None:
        """Have a model loaded as its folder is now; what is served already and unchanged goes on being served.

        Raises :class:`Unavailable` where the server is away, does not take orders or cannot load it.
        """
        try:
            self._client.load_model(model, client_timeout=self._settings.timeout_s)
        except InferenceServerException as error:
            raise Unavailable(f"Triton at {self._settings.grpc_url} does not load {model}: {_line(error)}") from None

    def check_ready(self, model: str, version: str) -> None:
        """Raise what :meth:`state` raises, :class:`NotLoaded`, or :class:`Unavailable` for any other state."""
        state = self.state(model, version)
        if "not installed" in state:
            raise NotInstalled(f"model {model} version {version}: {state}")
        if state != "READY":
            # One that is loading, or that was unloaded to be loaded anew, states no reason of its own.
            broken = state.startswith("UNAVAILABLE ") and state != "UNAVAILABLE unloaded"
            raise (NotLoaded if broken else Unavailable)(f"model {model} version {version} is not ready: {state}")

    def state(self, model: str, version: str) -> str:
        """``READY``, or the state of a version and the reason for it.

        Raises :class:`Unavailable` where the server is away and :class:`NotInstalled` where it has no such version or
        was never told to load it.
        """
        index = self._ask(self._client.get_model_repository_index)
        known = [one for one in index.models if one.name == model and one.version in (version, "")]
        if not known:
            raise NoSuchModel(f"Triton at {self._settings.grpc_url} has no model {model} version {version}")
        if not known[0].state:
            raise NotInstalled(
                f"model {model} version {version} was not loaded by Triton at {self._settings.grpc_url}: where"
                " `sinsok models list` names nothing that is missing, `sinsok down` and `sinsok up` load it"
            )
        if known[0].state == "READY" and self._ask(self._client.is_model_ready, model, version):
            return "READY"
        return " ".join(f"{known[0].state} {known[0].reason}".split())

    def infer(self, model: ModelIdentity, volume: Volume, *, urgent: bool = True) -> Answer:
        """Show a volume to a model version; an urgent one overtakes those that wait in Triton's queue and are not.

        Raises :class:`Failed`, :class:`Unavailable` and :class:`Unreadable` as the tree above says.
        """
        outputs = _outputs(model)
        shared = [volume.voxels.nbytes, *(volume.voxels.size for output in outputs if _is_map(output))]
        try:
            with self._memory.region(room(*shared)) as region:
                if region is not None:
                    try:
                        return self._exchange(model, _Exchange(volume, outputs, region), urgent)
                    except InferenceServerException as error:
                        if "shared memory" not in str(error.message()).lower():
                            raise
                        # The region is gone (Triton was started anew) or too small for the answer.
                        log.warning("a volume goes over gRPC", model=model.name, reason=_line(error))
            return self._exchange(model, _Exchange(volume, outputs, None), urgent)
        except InferenceServerException as error:
            raise self._inference_failure(error, model) from None

    def _exchange(self, model: ModelIdentity, exchange: "_Exchange", urgent: bool) -> Answer:
        patience_s = self._settings.timeout_s if urgent else self._settings.routine_timeout_s
        result = self._client.infer(
            model.name,
            exchange.inputs,
            model_version=model.version,
            outputs=exchange.outputs,
            priority=URGENT if urgent else ROUTINE,
            # Whoever waited half of the time is not begun any more: what is left would not do.
            timeout=int(patience_s / 2 * 1e6),
            client_timeout=patience_s,
        )
        scores = result.as_numpy(SCORES.name)
        if scores is None:
            raise Unreadable(f"model {model.name} breaks the contract: it answered without SCORES")
        return Answer(
            exchange.map_of(result, LABELS),
            scores,
            exchange.map_of(result, PROBABILITY),
            exchange.map_of(result, AGREEMENT),
        )

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
            return Failed(f"{place} gave no answer in time")
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


class _Exchange:
    """The tensors of a request, and where those of its answer will be: in a region, or in the messages themselves."""

    def __init__(self, volume: Volume, outputs: list[Tensor], region: SharedRegion | None) -> None:
        self._maps: dict[str, NDArray[np.uint8]] = {}
        self.inputs = [
            _tensor(SPACING, np.array(volume.spacing_mm, np.float32)),
            _tensor(AFFINE, volume.affine),
        ]
        self.outputs = [triton.InferRequestedOutput(output.name) for output in outputs]
        if region is None:
            self.inputs.append(_tensor(VOLUME, volume.voxels))
            return
        voxels, offset = region.array(volume.voxels.shape, np.int16)
        voxels[...] = volume.voxels
        shown = triton.InferInput(VOLUME.name, list(voxels.shape), VOLUME.datatype)
        self.inputs.append(shown.set_shared_memory(region.name, voxels.nbytes, offset))
        for output, requested in zip(outputs, self.outputs, strict=True):
            if _is_map(output):
                self._maps[output.name], offset = region.array((voxels.size,), np.uint8)
                requested.set_shared_memory(region.name, voxels.size, offset)

    def map_of(self, result: triton.InferResult, output: Tensor) -> NDArray[Any] | None:
        """An output as large as the volume, in the shape and type the model gave it; None where it gave none."""
        given = result.get_output(output.name)
        if given is None or output.name not in self._maps:
            values: NDArray[Any] | None = result.as_numpy(output.name)
            return values
        dtype = np.dtype(triton_to_np_dtype(given.datatype))
        size = int(np.prod(given.shape)) * dtype.itemsize
        placed: NDArray[Any] = self._maps[output.name][:size].view(dtype).reshape(tuple(given.shape))
        return placed


def _outputs(model: ModelIdentity) -> list[Tensor]:
    optional = OPTIONAL_OUTPUTS[model.contract]
    return [*OUTPUTS[model.contract], *(one for one in optional if one.name in model.optional_outputs)]


def _is_map(tensor: Tensor) -> bool:
    """Whether the tensor has a value for each voxel."""
    return tensor.dims == VOLUME.dims


def _tensor(tensor: Tensor, values: NDArray[Any]) -> triton.InferInput:
    made = triton.InferInput(tensor.name, list(values.shape), tensor.datatype)
    made.set_data_from_numpy(np.ascontiguousarray(values))
    return made


def _line(error: InferenceServerException) -> str:
    """The first line of what Triton said; a model's traceback stays in Triton's log."""
    return (str(error.message()).strip().splitlines() or ["no message"])[0][:200]
