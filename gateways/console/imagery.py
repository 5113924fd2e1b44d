"""The pictures of a study, as addresses: how its slices stand, each slice, and what a model marked on them.

What may be seen is decided where the study comes from (access.py); what is seen is noted.
"""

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import JSONResponse, Response

from gateways.console.access import Reader, Sights, SiteName, StudyKey
from gateways.console.backstage import backstage
from gateways.console.pictures import TILE_ENCODING, TILE_TYPE
from gateways.console.rendering import words_for
from gateways.console.stack import WINDOWS, Stack
from gateways.console.study import Shown, Study
from gateways.console.terms import mark
from schemas.audit import Sight
from schemas.base import NOTICE
from schemas.failures import PortFailure, Unavailable

router = APIRouter(prefix="/studies/{site}/{study_key}/series/{number}")
SeriesNumber = Annotated[int, Path(ge=0, le=10_000, description="Of the study's series, in the order they came")]
Index = Annotated[int, Path(ge=0, le=100_000, description="Of a slice, as the stack has it")]
_WORDS: Final = {
    "viewer": mark("Slices. Scroll with the wheel, the arrow keys or a finger."),
    "brain": mark("Brain"),
    "subdural": mark("Subdural"),
    "stroke": mark("Stroke"),
    "bone": mark("Bone"),
    "key": mark("Key slice"),
    "outlines": mark("Outlines"),
    "slice": mark("Slice"),
    "marked": mark("marked"),
    "loading": mark("Loading …"),
    "failed": mark("This slice could not be loaded"),
    "noOutlines": mark("The outlines could not be loaded"),
}
"""What static/viewer.js says."""


def viewer_of(request: Request, study: Study) -> dict[str, Any] | None:
    """What the viewer on a study page is given: of the series with marks, else the first; None without pictures."""
    shown = study.pictures
    if not shown:
        return None
    number = next((number for number, one in enumerate(shown) if one.label_map), 0)
    words = words_for(request)
    try:
        stack = _stack(request, study, shown[number])
    except PortFailure:
        return {"failed": True}
    base = f"/studies/{study.site}/{study.key}/series/{number}"
    return {
        "failed": False,
        "stack": json.dumps(stack.for_page() | {"notice": words.gettext(NOTICE)}),
        "size": stack.size,
        "picture": f"{base}/pictures/{stack.opening}",
        "tile": f"{base}/tiles/{{index}}",
        "outlines": f"{base}/outlines.json" if shown[number].label_map else None,
        "words": json.dumps({name: words.gettext(text) for name, text in _WORDS.items()}),
        "cautions": stack.cautions,
    }


@router.get("/stack.json")
def stack(request: Request, sights: Reader, site: SiteName, study_key: StudyKey, number: SeriesNumber) -> Response:
    """How the slices of a series stand."""
    study, shown = _look(request, sights, site, study_key, number)
    try:
        return JSONResponse(_stack(request, study, shown).for_page())
    except PortFailure as failure:
        raise _no_pictures(failure) from None


@router.get("/tiles/{index}")
def tile(
    request: Request, sights: Reader, site: SiteName, study_key: StudyKey, number: SeriesNumber, index: Index
) -> Response:
    """The voxels of a slice."""
    _, shown = _look(request, sights, site, study_key, number)
    try:
        voxels = backstage(request).pictures.tile(shown.manifest, index)
    except (PortFailure, IndexError) as failure:
        raise _no_pictures(failure) from None
    return Response(voxels, media_type=TILE_TYPE, headers={"Content-Encoding": TILE_ENCODING})


@router.get("/pictures/{index}")
def picture(
    request: Request, sights: Reader, site: SiteName, study_key: StudyKey, number: SeriesNumber, index: Index
) -> Response:
    """A slice in the first window, for browsers without script and until the first tile is there."""
    _, shown = _look(request, sights, site, study_key, number)
    try:
        png = backstage(request).pictures.picture(shown.manifest, index, next(iter(WINDOWS.values())))
    except (PortFailure, IndexError) as failure:
        raise _no_pictures(failure) from None
    return Response(png, media_type="image/png")


@router.get("/outlines.json")
def outlines(request: Request, sights: Reader, site: SiteName, study_key: StudyKey, number: SeriesNumber) -> Response:
    """The borders of what a model marked."""
    _, shown = _look(request, sights, site, study_key, number)
    if shown.label_map is None:
        raise HTTPException(404)
    try:
        return JSONResponse(backstage(request).pictures.outlines(shown.manifest, shown.label_map))
    except PortFailure as failure:
        raise _no_pictures(failure) from None


def _look(request: Request, sights: Sights, site: str, study_key: str, number: int) -> tuple[Study, Shown]:
    study = sights.study(site, study_key)
    pictures = study.pictures
    if number >= len(pictures):
        raise HTTPException(404)
    backstage(request).acts.viewed(study, sights.user.name, sights.role_for(study), Sight.PICTURES)
    return study, pictures[number]


def _stack(request: Request, study: Study, shown: Shown) -> Stack:
    """With what a model marked, where that can be read: else the slices alone."""
    findings = [one for one in study.findings if one.series_uid == shown.series_uid]
    pictures = backstage(request).pictures
    try:
        return pictures.stack(shown.manifest, shown.label_map, findings)
    except Unavailable:
        raise
    except PortFailure:
        return pictures.stack(shown.manifest)


def _no_pictures(failure: PortFailure | IndexError) -> HTTPException:
    return HTTPException(503 if isinstance(failure, Unavailable) else 404)
