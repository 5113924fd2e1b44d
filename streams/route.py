"""Routing: which model looks at a series, and the reason for every series that is shown to none.

Pure: it decides from the facts the gateway recorded and from the site's routes, in the order they are configured.
"""

import re
from typing import Final, NamedTuple

from pydantic import Field, field_validator

from schemas.base import Record
from schemas.events import Series

SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage, and the prefix of its multi-frame kinds (DICOM PS3.4, B.5)."""


class Route(Record):
    """Which series a model can read. An empty list or an absent limit asks for nothing."""

    model: str
    version: str = "1"
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


class Routing(NamedTuple):
    """The route a series takes, or None and why not."""

    route: Route | None
    reason: str


def route(series: Series, routes: tuple[Route, ...]) -> Routing:
    """The first route that takes the series; else the reason of the route that came nearest to taking it."""
    if any(sop_class.startswith(SECONDARY_CAPTURE) for sop_class in series.sop_classes):
        return Routing(None, "secondary capture: a picture of an image, not a measurement")
    if "LOCALIZER" in (value.upper() for value in series.image_type):
        return Routing(None, "localizer")
    refusal = Routing(None, f"no model for modality: {series.modality or 'unstated'}")
    for candidate in routes:
        if series.modality not in candidate.modality:
            continue
        reason, accepted = _fits(series, candidate)
        if accepted:
            return Routing(candidate, reason)
        refusal = Routing(None, reason)
    return refusal


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
