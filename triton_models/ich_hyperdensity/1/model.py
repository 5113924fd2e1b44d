"""``ich_hyperdensity`` for Triton's python backend: the tensors around :mod:`hyperdensity`."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from hyperdensity import find


def digest_of(model: Path, version: str) -> str:
    """sha256 over what computes: ``labels.txt`` and all files of the version, each with its name and size."""
    files = [*model.glob("labels.txt"), *(path for path in (model / version).rglob("*") if path.is_file())]
    names = {path.relative_to(model).as_posix(): path for path in files if "__pycache__" not in path.parts}
    total = hashlib.sha256()
    for name in sorted(names):
        content = names[name].read_bytes()
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"sha256:{total.hexdigest()}"


class TritonPythonModel:
    """The class Triton looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Refuse to load where the files are not those that the configuration names."""
        version = args["model_version"]
        stated = json.loads(args["model_config"])["parameters"][f"sinsok_digest_{version}"]["string_value"]
        actual = digest_of(Path(args["model_repository"]), version)
        if stated != actual:
            raise pb_utils.TritonModelException(
                f"the files of {args['model_name']} are {actual}, its configuration says {stated}:"
                " restore them, or run `sinsok models stamp` after a change that is meant"
            )

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer a request; a request that fails does not touch the others."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        volume = pb_utils.get_input_tensor_by_name(request, "VOLUME").as_numpy()
        spacing = pb_utils.get_input_tensor_by_name(request, "SPACING").as_numpy()
        if volume.size == 0 or not np.isfinite(spacing).all() or spacing.min() <= 0:
            return _refusal("VOLUME is empty or SPACING is not positive")
        try:
            labels, score = find(volume, tuple(float(step) for step in spacing))
        except ValueError as error:
            return _refusal(str(error))
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("LABELS", labels), pb_utils.Tensor("SCORES", np.array([score], np.float32))]
        )


def _refusal(fault: str) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(fault, pb_utils.TritonError.INVALID_ARG))
