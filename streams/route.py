"""Routing: which models can look at a series, and the reason for every series that is shown to none.

Pure: it decides from the facts the gateway recorded and from the site's routes, in the order they are configured.
"""

import re
from typing import Annotated, Final, NamedTuple

from pydantic import Field, field_validator

from schemas.base import Record
from schemas.codes import Concept
from schemas.events import Series

SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage, and the prefix of its multi-frame kinds (DICOM PS3.4, B.5)."""


ModelVersion = Annotated[str, Field(pattern=r"^[^@\s]+@[1-9][0-9]*$", description="NAME@VERSION, as in blast_ct@1")]


def split(model: ModelVersion) -> tuple[str, str]:
    """Name and version of ``NAME@VERSION``."""
    name, _, version = model.partition("@")
    return name, version


class Gate(Record):
    """A classifier that is asked first, and keeps a series from the model where it sees what must not be read."""

    model: ModelVersion
    concept: Concept = Field(description="The class of the classifier whose score is judged")
    max_score: Annotated[float, Field(ge=0, le=1, description="A higher score refuses the series")] = 0.5


class Route(Record):
    """Which series a model can read. An empty list or an absent limit asks for nothing."""

    model: str
    version: str = "1"
    confirm: ModelVersion | None = Field(
        default=None, description="A slower, more certain model that reads again what this one read"
    )
    gate: Gate | None = Field(default=None, description="A classifier that is asked before the model")
    modality: tuple[str, ...] = ("CT",)
    body_part: tuple[str, ...] = ("HEAD", "BRAIN", "SKULL")
    body_part_words: str = Field(
        default=r"head|brain|skull|cerebr|두부|뇌",
        description="Regular expression for the descriptions of a series that states no body part",
    )
    unstated_extent_mm: tuple[float, float] | None = Field(
        default=(80.0, 260.0),
        description="A series that names its body part nowhere is taken if its stack is this long; None: refused",
    )
    unstated_field_mm: tuple[float, float] = (150.0, 330.0)
    min_slices: int = Field(default=12, ge=1)
    max_spacing_mm: float = Field(default=7.5, gt=0)
    max_gap_slices: int = Field(default=3, ge=0, description="Missing slices in one place that a reading survives")
    exclude_kernel: str | None = Field(default=None, description="Regular expression of kernels not to read")

    @field_validator("body_part_words", "exclude_kernel")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"is no regular expression: {error}") from None
        return pattern

    @property
    def reader(self) -> str:
        """The model and its version, ``NAME@VERSION``."""
        return f"{self.model}@{self.version}"

    @property
    def readers(self) -> tuple[str, ...]:
        """The names of the models whose findings it can bring: the first, and the one that confirms."""
        return (self.model, self.confirm.partition("@")[0]) if self.confirm else (self.model,)

    @property
    def models(self) -> tuple[tuple[str, str], ...]:
        """Name and version of every model it asks."""
        more = [self.confirm, self.gate.model if self.gate else None]
        return ((self.model, self.version), *(split(one) for one in more if one))


class Routing(NamedTuple):
    """A route that takes a series, or None and why not."""

    route: Route | None
    reason: str


def route(series: Series, routes: tuple[Route, ...]) -> Routing:
    """The first route that takes the series; else the reason of the route that came nearest to taking it."""
    taken, refusal = _sift(series, routes)
    return taken[0] if taken else refusal


def fitting(series: Series, routes: tuple[Route, ...]) -> tuple[Routing, ...]:
    """Every route that takes the series, in order: where the model of one is not installed, the next may read it."""
    return tuple(_sift(series, routes)[0])


def _sift(series: Series, routes: tuple[Route, ...]) -> tuple[list[Routing], Routing]:
    """The routes that take the series, and what is said where there are none."""
    if any(sop_class.startswith(SECONDARY_CAPTURE) for sop_class in series.sop_classes):
        return [], Routing(None, "secondary capture: a picture of an image, not a measurement")
    if "LOCALIZER" in (value.upper() for value in series.image_type):
        return [], Routing(None, "localizer")
    taken = []
    refusal = Routing(None, f"no model for modality: {series.modality or 'unstated'}")
    for candidate in routes:
        if series.modality not in candidate.modality:
            continue
        reason, accepted = _fits(series, candidate)
        if accepted:
            taken.append(Routing(candidate, reason))
        else:
            refusal = Routing(None, reason)
    return taken, refusal


def _fits(series: Series, route: Route) -> tuple[str, bool]:
    anatomy, accepted = _anatomy(series, route)
    if not accepted:
        return anatomy, False
    if route.exclude_kernel and series.kernel and re.search(route.exclude_kernel, series.kernel, re.IGNORECASE):
        return f"kernel not read: {series.kernel}", False
    geometry = series.geometry
    if geometry is None:
        return "no stack: the instances carry no usable positions", False
    if geometry.slices < route.min_slices:
        return f"too few slices: {geometry.slices}, {route.model} needs {route.min_slices}", False
    if geometry.spacing_mm > route.max_spacing_mm:
        return (
            f"slices too far apart: {geometry.spacing_mm:g} mm, {route.model} reads up to {route.max_spacing_mm:g} mm",
            False,
        )
    widest = max((gap.missing for gap in geometry.gaps), default=0)
    if widest > route.max_gap_slices:
        return (
            f"thick gap: {widest} slices missing in one place, {route.model} reads up to {route.max_gap_slices}",
            False,
        )
    return f"{anatomy}, {geometry.slices} slices every {geometry.spacing_mm:g} mm", True


def _anatomy(series: Series, route: Route) -> tuple[str, bool]:
    if not route.body_part:
        return f"{series.modality}", True
    if series.body_part:
        stated = series.body_part.upper()
        if stated in route.body_part:
            return f"{series.modality} of {stated}", True
        return f"wrong body part: {stated}", False
    described = " ".join(text for text in (series.series_description, series.study_description) if text)
    if re.search(route.body_part_words, described, re.IGNORECASE):
        return f"{series.modality}, body part taken from the description", True
    geometry = series.geometry
    if geometry is None or route.unstated_extent_mm is None:
        return "body part unstated", False
    if described:
        return "body part unstated and the description names none that is read", False
    low, high = route.unstated_extent_mm
    narrow, wide = route.unstated_field_mm
    field = max(geometry.columns * geometry.pixel_spacing_mm[1], geometry.rows * geometry.pixel_spacing_mm[0])
    if not (low <= geometry.extent_mm <= high and narrow <= field <= wide):
        return f"body part unstated and {field:.0f} x {geometry.extent_mm:.0f} mm is not the size of a head", False
    return (
        f"{series.modality}, body part unstated, {field:.0f} x {geometry.extent_mm:.0f} mm is the size of a head",
        True,
    )
