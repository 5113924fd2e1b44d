"""The model contract, checked: what a model's configuration promises and what its answers hold (docs/models.md).

Each check returns its faults as lines a model's maker can act on; no fault means that the contract is kept.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from tritonclient.grpc import model_config_pb2

from gateways.inference.repository import parameter, stated_digest
from schemas.base import Digest
from schemas.failures import Unreadable
from schemas.models import (
    INPUTS,
    OPTIONAL_OUTPUTS,
    OUTPUTS,
    SCORES,
    ClassTable,
    Contract,
    ModelClass,
    ModelIdentity,
    Region,
    Tensor,
)

_DIGEST: Final = TypeAdapter[str](Digest)
DEVICES: Final = {"KIND_CPU": "cpu", "KIND_GPU": "gpu"}


class Answer(NamedTuple):
    """What a model gave for a volume."""

    labels: NDArray[np.uint8] | None
    """[z, y, x]; None from a classifier."""
    scores: NDArray[np.float32]
    """One a class, in the order of the class table."""
    probability: NDArray[np.uint8] | None = None
    """[z, y, x], of any class, 255 is certain; None where the model does not give it."""
    agreement: NDArray[np.uint8] | None = None
    """[z, y, x], share of the members that mark the voxel, 255 is all; None where the model does not give it."""


def identity(config: model_config_pb2.ModelConfig, version: str) -> ModelIdentity:
    """The identity a configuration states.

    Raises :class:`schemas.failures.Unreadable` with every fault where it breaks the contract.
    """
    faults = configuration_faults(config, version)
    if faults:
        raise Unreadable(f"model {config.name} breaks the contract: {'; '.join(faults)}")
    contract = Contract(parameter(config, "sinsok_contract"))
    declared = {one.name for one in config.output}
    kinds = {model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind) for group in config.instance_group}
    return ModelIdentity(
        name=config.name,
        version=version,
        digest=stated_digest(config, version),
        contract=contract,
        classes=ClassTable.validate_json(parameter(config, "sinsok_classes")),
        device=DEVICES.get(kinds.pop(), "unstated") if len(kinds) == 1 else "unstated",
        optional_outputs=tuple(tensor.name for tensor in OPTIONAL_OUTPUTS[contract] if tensor.name in declared),
        region=Region(region) if (region := parameter(config, "sinsok_region")) else None,
    )


def configuration_faults(config: model_config_pb2.ModelConfig, version: str) -> list[str]:
    """What is wrong with a model's configuration: tensors, class table, the version's digest."""
    faults = []
    stated = parameter(config, "sinsok_contract")
    if stated not in set(Contract):
        known = " or ".join(Contract)
        return [f"parameter sinsok_contract is {stated!r}: state {known}"]
    contract = Contract(stated)
    if config.max_batch_size != 0:
        faults.append(f"max_batch_size is {config.max_batch_size}: a volume is not batched, set it to 0")
    faults += _tensor_faults("input", INPUTS, {one.name: one for one in config.input if not one.optional}, exact=True)
    outputs = {one.name: one for one in config.output}
    asked = (*OUTPUTS[contract], *(tensor for tensor in OPTIONAL_OUTPUTS[contract] if tensor.name in outputs))
    faults += _tensor_faults("output", asked, outputs, exact=False)
    try:
        classes = ClassTable.validate_json(parameter(config, "sinsok_classes"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        faults.append(f"parameter sinsok_classes: {place}: {first['msg']}")
    else:
        faults += _class_faults(classes, contract, config)
    region = parameter(config, "sinsok_region")
    if region and region not in set(Region):
        faults.append(f"parameter sinsok_region is {region!r}: state {' or '.join(Region)}, or leave it out")
    try:
        _DIGEST.validate_python(stated_digest(config, version))
    except ValidationError:
        faults.append(f"parameter sinsok_digest_{version} is not sha256: and 64 hex digits")
    return faults


def answer_faults(model: ModelIdentity, shape: tuple[int, ...], answer: Answer) -> list[str]:
    """What is wrong with an answer to a volume of this shape."""
    faults = []
    if model.contract is Contract.SEGMENTATION:
        labels, highest = answer.labels, max(row.label for row in model.classes)
        if labels is None:
            faults.append("LABELS is missing")
        elif labels.dtype != np.uint8 or labels.shape != shape:
            faults.append(f"LABELS is {labels.dtype} {list(labels.shape)}, the volume asks for uint8 {list(shape)}")
        elif not set(np.unique(labels).tolist()) <= {0, *(row.label for row in model.classes)}:
            faults.append(f"LABELS holds {int(labels.max())}, which the class table (up to {highest}) does not name")
    for name, values in (("PROBABILITY", answer.probability), ("AGREEMENT", answer.agreement)):
        if name not in model.optional_outputs:
            continue
        if values is None:
            faults.append(f"{name} is missing, which the configuration declares")
        elif values.dtype != np.uint8 or values.shape != shape:
            faults.append(f"{name} is {values.dtype} {list(values.shape)}, the volume asks for uint8 {list(shape)}")
    scores = answer.scores
    if scores.shape != (len(model.classes),):
        faults.append(f"SCORES has the shape {list(scores.shape)}, the class table has {len(model.classes)} rows")
    elif not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1):
        faults.append("SCORES holds values outside 0 to 1")
    return faults


def _tensor_faults(
    side: str,
    wanted: tuple[Tensor, ...],
    given: dict[str, model_config_pb2.ModelInput] | dict[str, model_config_pb2.ModelOutput],
    *,
    exact: bool,
) -> list[str]:
    faults = []
    for tensor in wanted:
        one = given.get(tensor.name)
        if one is None:
            faults.append(f"{side} {tensor.name} is missing: {tensor.datatype} {list(tensor.dims)}, {tensor.meaning}")
            continue
        datatype = model_config_pb2.DataType.Name(one.data_type).removeprefix("TYPE_")
        free = len(one.dims) == len(tensor.dims) and all(
            asked in (-1, has) for asked, has in zip(tensor.dims, one.dims, strict=True)
        )
        narrower = side == "input" and any(has != asked for asked, has in zip(tensor.dims, one.dims, strict=False))
        if datatype != tensor.datatype or not free or narrower:
            faults.append(
                f"{side} {tensor.name} is {datatype} {list(one.dims)}, the contract says"
                f" {tensor.datatype} {list(tensor.dims)}"
            )
    unknown = sorted(set(given) - {tensor.name for tensor in wanted}) if exact else []
    return faults + [f"{side} {name} is not in the contract: nobody can fill it" for name in unknown]


def _class_faults(
    classes: tuple[ModelClass, ...], contract: Contract, config: model_config_pb2.ModelConfig
) -> list[str]:
    if not classes:
        return ["parameter sinsok_classes is an empty table"]
    faults = []
    labels = [row.label for row in classes]
    if len(set(labels)) < len(labels):
        faults.append("parameter sinsok_classes gives one label to two classes")
    if contract is Contract.CLASSIFICATION and labels != list(range(1, len(labels) + 1)):
        faults.append("parameter sinsok_classes: a classifier's labels are 1, 2, 3 ... in the order of SCORES")
    for one in config.output:
        if one.name == SCORES.name and len(one.dims) == 1 and one.dims[0] not in (-1, len(classes)):
            faults.append(f"output SCORES has {one.dims[0]} values, the class table has {len(classes)} rows")
    return faults
