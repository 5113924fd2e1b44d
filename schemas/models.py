"""The model contract: what a Triton model must take and give so that sinsok can use it. See docs/models.md.

A model is *self-describing*: the ``parameters`` of its ``config.pbtxt`` hold ``sinsok_contract`` (``segmentation.v1``
or ``classification.v1``), ``sinsok_classes`` (the class table, JSON) and ``sinsok_digest_1`` (sha256 of what computes
in version 1).
"""

from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from pydantic import Field, TypeAdapter

from schemas.base import Digest, Record
from schemas.codes import Code


class Contract(StrEnum):
    """The kinds of model sinsok can talk to."""

    SEGMENTATION = "segmentation.v1"
    CLASSIFICATION = "classification.v1"


class Region(StrEnum):
    """Parts of the body that volumes are checked for before a model made for that part is asked."""

    HEAD = "head"


class Tensor(NamedTuple):
    """A tensor of the contract: Triton datatype and dimensions, -1 where free."""

    name: str
    datatype: str
    dims: tuple[int, ...]
    meaning: str


VOLUME: Final = Tensor("VOLUME", "INT16", (-1, -1, -1), "Hounsfield units [z, y, x]; z runs along the slice normal")
SPACING: Final = Tensor("SPACING", "FP32", (3,), "size of a voxel in mm [z, y, x]; z along the slice normal")
AFFINE: Final = Tensor("AFFINE", "FP64", (4, 4), "voxel index (x, y, z, 1) to patient LPS mm (DICOM PS3.3 C.7.6.2.1.1)")
LABELS: Final = Tensor("LABELS", "UINT8", (-1, -1, -1), "class of each voxel [z, y, x]; 0 is background")
PROBABILITY: Final = Tensor(
    "PROBABILITY", "UINT8", (-1, -1, -1), "probability that the voxel is of any class [z, y, x]; 255 is certain"
)
AGREEMENT: Final = Tensor(
    "AGREEMENT", "UINT8", (-1, -1, -1), "share of the model's members that mark the voxel [z, y, x]; 255 is all"
)
SCORES: Final = Tensor("SCORES", "FP32", (-1,), "probability of each class of the class table, 0 to 1")

INPUTS: Final = (VOLUME, SPACING, AFFINE)
OUTPUTS: Final = {Contract.SEGMENTATION: (LABELS, SCORES), Contract.CLASSIFICATION: (SCORES,)}
OPTIONAL_OUTPUTS: Final = {Contract.SEGMENTATION: (PROBABILITY, AGREEMENT), Contract.CLASSIFICATION: ()}
"""What a model may give beside them; it declares the ones it does."""


class ModelClass(Record):
    """A row of the class table. ``label`` is the voxel value (segmentation) or 1 + the index in SCORES."""

    label: Annotated[int, Field(ge=1, le=255)]
    name: str
    code: Code
    min_volume_ml: Annotated[float, Field(ge=0, description="Components smaller than this are not reported")] = 0.0
    min_score: Annotated[float, Field(ge=0, le=1, description="Classifiers: lower scores are not reported")] = 0.5


ClassTable: Final = TypeAdapter(tuple[ModelClass, ...])


class ModelIdentity(Record):
    """A model version as it is served."""

    name: str
    version: str
    digest: Digest
    contract: Contract
    classes: tuple[ModelClass, ...]
    device: str = Field(default="unstated", description="What Triton runs it on: cpu or gpu")
    region: Region | None = Field(default=None, description="What it reads; a volume of anything else is refused")
    optional_outputs: tuple[str, ...] = Field(default=(), description="Which of PROBABILITY and AGREEMENT it gives")
