"""BLAST-CT for Triton's python backend: the tensors around :mod:`reading`. As many members as its folder holds."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from reading import members_of, read_volume


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
        """Load every member. Refuse where the files are not those that the configuration names."""
        folder, version = Path(args["model_repository"]), args["model_version"]
        parameters = json.loads(args["model_config"])["parameters"]
        needed = parameters.get("sinsok_installed_files", {}).get("string_value", "").split()
        missing = [name for name in needed if not (folder / version / name).is_file()]
        if missing:
            raise pb_utils.TritonModelException(f"{missing[0]} is not installed: run `sinsok models install blast-ct`")
        stated, actual = parameters[f"sinsok_digest_{version}"]["string_value"], digest_of(folder, version)
        if stated != actual:
            raise pb_utils.TritonModelException(
                f"the files of {args['model_name']} are {actual}, its configuration says {stated}:"
                " restore them, or run `sinsok models stamp` after a change that is meant"
            )
        device = "gpu" if args["model_instance_kind"] == "GPU" else "cpu"
        if device == "cpu" and len(list((folder / version).glob("member_*.npz"))) > 1:
            # A confirmation is not in a hurry: the model that speaks first gets the processors first. Before anything
            # starts a thread: only those that begin after this are as polite.
            os.nice(19)
        precision = parameters.get("precision", {}).get("string_value", "auto")
        try:
            self._members = members_of(folder / version, device, int(args["model_instance_device_id"]), precision)
        except (ValueError, RuntimeError) as error:
            raise pb_utils.TritonModelException(str(error)) from error

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer a request; a request that fails does not touch the others."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        volume = pb_utils.get_input_tensor_by_name(request, "VOLUME").as_numpy()
        affine = pb_utils.get_input_tensor_by_name(request, "AFFINE").as_numpy()
        if volume.size == 0:
            return _refusal("VOLUME is empty")
        try:
            answer = read_volume(self._members, volume, affine)
        except ValueError as error:
            return _refusal(str(error))
        asked = set(request.requested_output_names())
        tensors = {
            "LABELS": answer.labels,
            "SCORES": answer.scores,
            "PROBABILITY": answer.probability,
            "AGREEMENT": answer.agreement,
        }
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, np.ascontiguousarray(values)) for name, values in tensors.items() if name in asked]
        )


def _refusal(fault: str) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(fault, pb_utils.TritonError.INVALID_ARG))
