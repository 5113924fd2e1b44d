"""The pictures of a study, as addresses: how its slices stand, each slice, and what a model marked on them.

What may be seen is decided where the study comes from (access.py); what is seen is noted. An address names the content
of what it shows: what a page was opened with never turns into other images under its eyes. Once the study has others
in their place, the answer is 409, and the page says so.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from gateways.console.access import Reader, Sights, SiteName, StudyKey
from gateways.console.backstage import Pictures, backstage
from gateways.console.pictures import TILE_ENCODING, TILE_TYPE
from gateways.console.rendering import words_for
from gateways.console.stack import WINDOWS, Stack
from gateways.console.study import Shown, Study
from gateways.console.terms import mark
from gateways.console.words import Words
from schemas.audit import Sight
from schemas.base import NOTICE
from schemas.failures import PortFailure, Unavailable

router = APIRouter(prefix="/studies/{site}/{study_key}/series/{images}")
Images = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="The images of a series, by their manifest")]
Marks = Annotated[str, Path(pattern="^([0-9a-f]{16}|none)$", description="What a model marked, by its label map")]
Index = Annotated[int, Path(ge=0, le=100_000, description="Of a slice, as the stack has it")]
Made = TypeVar("Made")
_PATIENCE_S: Final = 10.0
"""After so long the browser is told to ask again, and its connection is free for what a person wants to say."""
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
    "noStack": mark("There are no pictures to show of this series. They are in the PACS."),
    "away": mark("The pictures cannot be loaded at the moment."),
}
"""What static/viewer.js says."""


def viewer_of(request: Request, study: Study, address: str) -> dict[str, Any]:
    """What the pictures on a study page are given, without looking at any: addresses, and which series there are.

    ``address`` is that of the page. It may ask for a series or for a finding.
    """
    asked = request.query_params
    number = asked.get("finding", "")
    finding = int(number) if number.isdecimal() and len(number) < 6 else None
    shown = study.picture(asked.get("series"), finding)
    words = words_for(request)
    given: dict[str, Any] = {"content": study.content, "shown": None, "again": address, "series": []}
    if shown is None:
        return given
    if finding not in shown.findings:
        finding = None
    key = study.series_key(shown)
    base = f"/studies/{study.site}/{study.key}/series/{shown.images}"
    return given | {
        "shown": shown,
        "again": f"{address}?series={key}",
        "series": [(f"{address}?series={study.series_key(one)}", one, one == shown) for one in study.pictures],
        "finding": finding,
        "base": base,
        "picture": f"{base}/{shown.marks}/picture" + (f"?finding={finding}" if finding is not None else ""),
        "words": json.dumps({name: words.gettext(text) for name, text in _WORDS.items()}),
    }


@router.get("/{marks}/stack.json")
async def stack(
    request: Request, sights: Reader, site: SiteName, study_key: StudyKey, images: Images, marks: Marks
) -> Response:
    """How the slices of a series stand, and where the findings are."""
    study, shown = await _look(request, sights, site, study_key, images, marks)
    made = await _made(request, lambda pictures: _stack(pictures, shown))
    return JSONResponse(made.for_page() | _said(words_for(request), study, shown, made))


@router.get("/{marks}/picture")
async def picture(
    request: Request,
    sights: Reader,
    site: SiteName,
    study_key: StudyKey,
    images: Images,
    marks: Marks,
    finding: int | None = None,
) -> Response:
    """The slice to open with, in the first window: for browsers without script, and until the first tile is there."""
    _, shown = await _look(request, sights, site, study_key, images, marks)

    def make(pictures: Pictures) -> bytes:
        numbers = list(shown.findings)
        opening = _stack(pictures, shown).opening(numbers.index(finding) if finding in numbers else None)
        return pictures.picture(shown.manifest, opening, next(iter(WINDOWS.values())))

    return Response(await _made(request, make), media_type="image/png")


@router.get("/{marks}/outlines.json")
async def outlines(
    request: Request, sights: Reader, site: SiteName, study_key: StudyKey, images: Images, marks: Marks
) -> Response:
    """The borders of what a model marked."""
    _, shown = await _look(request, sights, site, study_key, images, marks)
    label_map = shown.label_map
    if label_map is None:
        raise HTTPException(404)
    return JSONResponse(await _made(request, lambda pictures: pictures.outlines(shown.manifest, label_map)))


@router.get("/tiles/{index}")
async def tile(
    request: Request, sights: Reader, site: SiteName, study_key: StudyKey, images: Images, index: Index
) -> Response:
    """The voxels of a slice."""
    _, shown = await _look(request, sights, site, study_key, images)
    voxels = await _made(request, lambda pictures: pictures.tile(shown.manifest, index))
    return Response(voxels, media_type=TILE_TYPE, headers={"Content-Encoding": TILE_ENCODING})


async def _look(
    request: Request, sights: Sights, site: str, study_key: str, images: str, marks: str | None = None
) -> tuple[Study, Shown]:
    """The series with these images. Raises HTTP 409 where the study has others by now, or other marks on them."""

    def look() -> tuple[Study, Shown]:
        study = sights.study(site, study_key)
        for shown in study.pictures:
            if shown.images == images and marks in (None, shown.marks):
                backstage(request).acts.viewed(study, sights.user.name, sights.role_for(study), Sight.PICTURES)
                return study, shown
        raise HTTPException(409)

    return await run_in_threadpool(look)


async def _made(request: Request, make: Callable[[Pictures], Made]) -> Made:
    """What is made of the store's images, in the darkroom. Raises HTTP 404 for none, 503 where they are away."""
    behind = backstage(request)
    making = asyncio.get_running_loop().run_in_executor(behind.darkroom, make, behind.pictures)
    try:
        return await asyncio.wait_for(making, _PATIENCE_S)
    except (PortFailure, IndexError) as failure:
        raise HTTPException(503 if isinstance(failure, Unavailable) else 404) from None
    except TimeoutError:
        raise HTTPException(503) from None


def _stack(pictures: Pictures, shown: Shown) -> Stack:
    """With what a model marked, where that can be read: else the slices alone."""
    findings = list(shown.findings.values())
    try:
        return pictures.stack(shown.manifest, shown.label_map, findings)
    except Unavailable:
        raise
    except PortFailure:
        return pictures.stack(shown.manifest, None, findings)


def _said(words: Words, study: Study, shown: Shown, stack: Stack) -> dict[str, Any]:
    """What is said of a stack: which findings lie where, what the colours mean, what to know before trusting it."""
    named: dict[int, str] = {}
    for finding, its in zip(shown.findings.values(), stack.marks, strict=False):
        if its.label is not None:
            named.setdefault(its.label, words.finding(str(finding.code), finding.code.meaning))
    present = sorted({label for labels in stack.labels for label in labels})
    unlisted = words.gettext(mark("marked, but not listed as a finding"))
    return {
        "findings": list(shown.findings),
        "legend": [{"label": label, "name": named.get(label, unlisted)} for label in present],
        "cautions": [words.caution(caution) for caution in stack.cautions],
        "notice": words.gettext(NOTICE),
    }
