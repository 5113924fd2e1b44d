"""The cases: which body, which bleed and which kind of DICOM object, made the same from the same seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from sinsok.phantom import chest, dicom, enhanced, head, render, tissue
from sinsok.phantom.bleeds import EXTRA_AXIAL, INTRAPARENCHYMAL, Place, Side, bleed
from sinsok.phantom.dicom import SeriesHeader
from sinsok.phantom.shapes import Labels
from sinsok.phantom.space import Float, Grid, Point

SIZE: Final = 512
MAX_SLICES: Final = 200
HEAD_PIXEL_MM: Final = 0.488
CHEST_PIXEL_MM: Final = 0.78
_LONGEST_MM: Final = 180.0
_THIN_MM: Final = 1.7
"""Slices are the mean of layers about this thin: partial volume, as thick slices have it."""


class Case(StrEnum):
    """What a phantom shows."""

    IPH = "iph"
    EAH = "eah"
    IVH = "ivh"
    NEGATIVE = "negative"
    CHEST = "chest"
    MR = "mr"
    SCOUT = "scout"
    ENHANCED = "enhanced"

    @property
    def places(self) -> tuple[Place, ...]:
        """Where this case may bleed; none for a case without blood."""
        return _PLACES.get(self, ())


_PLACES: Final = {
    Case.IPH: INTRAPARENCHYMAL,
    Case.ENHANCED: INTRAPARENCHYMAL,
    Case.EAH: EXTRA_AXIAL,
    Case.IVH: (Place.VENTRICLES,),
}
_VOLUME_ML: Final = {Case.IPH: 20.0, Case.ENHANCED: 20.0, Case.EAH: 50.0, Case.IVH: 8.0}
_DESCRIPTIONS: Final = {
    Case.CHEST: ("CHEST", "CT CHEST", "CHEST 5.0 H31s"),
    Case.MR: ("HEAD", "MR BRAIN", "T2 TSE AX"),
    Case.SCOUT: ("HEAD", "CT HEAD W/O CONTRAST", "TOPOGRAM 0.6 T20f"),
}
_HEAD_CT: Final = ("HEAD", "CT HEAD W/O CONTRAST", "HEAD 5.0 H31s")


@dataclass(frozen=True)
class Truth:
    """Where the blood is.

    ``labels`` uint8 [z, y, x] is 1 where at least half of a voxel is blood, slices ascending in z; ``volume_ml`` is
    exact, partial voxels counted as parts; ``centroid_mm`` is (x, y, z) in patient coordinates (LPS).
    """

    labels: NDArray[np.uint8]
    volume_ml: float
    centroid_mm: Point
    place: Place
    side: Side


@dataclass(frozen=True)
class PhantomStudy:
    """A study of one series, in memory. ``truth`` is None where there is no blood."""

    case: Case
    datasets: tuple[Dataset, ...]
    truth: Truth | None

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return str(self.datasets[0].StudyInstanceUID)


def build(
    case: Case,
    seed: int = 0,
    *,
    slices: int = 36,
    spacing_mm: float | None = None,
    volume_ml: float | None = None,
    place: Place | None = None,
    side: Side | None = None,
    fresh: bool = False,
) -> PhantomStudy:
    """Make a phantom. The same arguments give the same bytes; a seed gives the same head in every case.

    ``spacing_mm`` is 5, or less so that many slices still span a head. Place and side of a bleed follow from the seed
    where they are not given. ``fresh`` gives new UIDs, so that the same picture is a new study.

    Raises ``ValueError`` for a place or a volume the case cannot have (:class:`~sinsok.phantom.bleeds.NoRoom`).
    """
    if not 1 <= slices <= MAX_SLICES:
        raise ValueError(f"{slices} slices: a phantom has 1 to {MAX_SLICES}")
    if not case.places and (place, side, volume_ml) != (None, None, None):
        raise ValueError(f"{case} shows no blood: it takes no place, side or volume")
    if place is not None and place not in case.places:
        raise ValueError(f"{case} does not bleed in {place}: choose from {', '.join(case.places)}")
    spacing = spacing_mm or min(5.0, _LONGEST_MM / slices)
    asked = (case, seed, slices, spacing, volume_ml, place, side, uuid4() if fresh else "")
    body_part, study, series = _DESCRIPTIONS.get(case, _HEAD_CT)
    header = SeriesHeader(
        "|".join(str(part) for part in asked), case, seed, "MR" if case is Case.MR else "CT", body_part, study, series
    )
    grid = Grid.centred(
        slices,
        spacing,
        size=SIZE,
        pixel_mm=CHEST_PIXEL_MM if case is Case.CHEST else HEAD_PIXEL_MM,
        middle_mm=chest.SCAN_MIDDLE_MM if case is Case.CHEST else head.SCAN_MIDDLE_MM,
    )
    parts = max(1, round(spacing / _THIN_MM))
    thin = grid.thinner(parts)
    anatomy, lesion, scanner = (np.random.default_rng((seed, stream)) for stream in range(3))
    if case is Case.CHEST:
        labels, truth = chest.labels(thin, anatomy), None
    else:
        labels, truth = _head(case, thin, parts, volume_ml, place, side, anatomy, lesion)
    brightness = tissue.t2_weighted() if case is Case.MR else tissue.hounsfield(lesion.uniform(*tissue.FRESH_BLOOD_HU))
    image = render.image(labels, brightness, parts)
    del labels
    render.add_noise(image, scanner, float(scanner.uniform(3.2, 4.6)) * (4 if case is Case.MR else 1))
    return PhantomStudy(case, tuple(_datasets(case, header, image, grid)), truth)


def _head(
    case: Case,
    thin: Grid,
    parts: int,
    volume_ml: float | None,
    place: Place | None,
    side: Side | None,
    anatomy: np.random.Generator,
    lesion: np.random.Generator,
) -> tuple[Labels, Truth | None]:
    someone = head.Head.random(anatomy)
    labels = someone.labels(thin)
    if not case.places:
        return labels, None
    by_chance_place, by_chance_side = lesion.integers(len(case.places)), lesion.integers(2)
    place = place or case.places[by_chance_place]
    side = side or tuple(Side)[by_chance_side]
    bleed(labels, someone, thin, place, side, volume_ml or _VOLUME_ML[case], lesion)
    return labels, _truth(labels, thin, parts, place, side)


def _truth(labels: Labels, thin: Grid, parts: int, place: Place, side: Side) -> Truth:
    blood = np.stack(np.nonzero(labels == tissue.Tissue.BLOOD))
    z, y, x = blood.mean(axis=1) * thin.spacing_mm
    x0, y0, z0 = thin.origin_mm
    return Truth(
        render.majority(labels, tissue.Tissue.BLOOD, parts),
        blood.shape[1] * thin.voxel_ml,
        (float(x0 + x), float(y0 + y), float(z0 + z)),
        place,
        side,
    )


def _datasets(case: Case, header: SeriesHeader, image: Float, grid: Grid) -> Iterator[Dataset]:
    if case is Case.MR:
        return dicom.mr_images(header, image, grid)
    if case is Case.ENHANCED:
        return iter((enhanced.ct_image(header, image, grid),))
    if case is Case.SCOUT:
        view = render.lateral_view(image, grid.spacing_mm, SIZE)
        return iter((dicom.localizer(header, view, grid, head.SCAN_MIDDLE_MM),))
    return dicom.ct_images(header, image, grid)
