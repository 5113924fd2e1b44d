"""Worklist, study and alert: what radiologists and auditors see, and what radiologists do."""

from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from typing import Annotated, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from markupsafe import Markup

from gateways.console.access import READERS, Actor, Doorkeeper, Reader, Sights, SignedIn, SiteName, StudyKey
from gateways.console.acts import NotPossible
from gateways.console.alert import Alert
from gateways.console.backstage import backstage
from gateways.console.cache import Cache
from gateways.console.live import TooMany
from gateways.console.rendering import condition, markup, render, words_for
from gateways.console.study import Level
from gateways.console.study_page import study_page
from gateways.console.terms import mark

router = APIRouter()
PAGE: Final = 50
LONGEST_REASON: Final = 500
PageNumber = Annotated[int, Query(ge=1, le=100_000)]


class Show(StrEnum):
    """How much of the worklist."""

    TODO = "todo"
    ALL = "all"

    @property
    def through(self) -> Level:
        """The last level of it."""
        return Level.TAKEN if self is Show.TODO else Level.DONE


@router.get("/")
def home(user: SignedIn, request: Request) -> Response:
    """To the page of the person's role."""
    sights = Sights(request.app.state.view, user)
    return RedirectResponse("/worklist" if sights.sites else "/operators", 303)


@router.get("/worklist")
def worklist(
    request: Request, sights: Reader, site: str | None = None, show: Show = Show.TODO, page: PageNumber = 1
) -> HTMLResponse:
    """Studies, most urgent first."""
    rows, link = _rows(request, sights, site, show, page)
    return render(request, "worklist.html", rows=Markup(rows.decode()), link=link)  # noqa: S704 - our own template


@router.get("/worklist/rows")
def rows(
    request: Request, sights: Reader, site: str | None = None, show: Show = Show.TODO, page: PageNumber = 1
) -> HTMLResponse:
    """The same, without the page around it: what an open page asks for when something has changed."""
    rows, _ = _rows(request, sights, site, show, page)
    return HTMLResponse(rows + condition(request).encode())


@router.get("/live")
async def live(request: Request, sights: Reader) -> Response:
    """What changes, as server-sent events."""
    keeper: Doorkeeper = request.app.state.keeper

    def may_go_on() -> bool:
        """As long as the person sees the sites that they saw when it began."""
        session = keeper.session(request, use=False)
        return session is not None and session.user.sites(*READERS) == sights.sites

    stream = backstage(request).hub.follow(sights.sites, may_go_on)
    try:
        first = await anext(stream)
    except TooMany:
        raise HTTPException(503) from None

    async def all_of_it() -> AsyncIterator[str]:
        yield first
        async for said in stream:
            yield said

    return StreamingResponse(all_of_it(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.get("/studies/{site}/{study_key}")
def study(request: Request, sights: Reader, site: SiteName, study_key: StudyKey) -> HTMLResponse:
    """A study with its findings, pictures and timeline."""
    return study_page(request, sights, sights.study(site, study_key), None)


@router.get("/studies/{site}/{study_key}/state")
def state(
    request: Request, sights: Reader, site: SiteName, study_key: StudyKey, alert: UUID | None = None
) -> HTMLResponse:
    """What of a study page changes, without the page around it."""
    found = sights.study(site, study_key)
    if alert is not None and alert not in found.alerts:
        raise HTTPException(404)
    return study_page(request, sights, found, found.alerts[alert] if alert else None, template="state.html")


@router.get("/alerts/{alert_id}")
def alert(request: Request, sights: Reader, alert_id: UUID) -> HTMLResponse:
    """An alert's study. To open it as a radiologist is to have seen the alert."""
    found, its = sights.alert(alert_id)
    if sights.may_act(found):
        backstage(request).acts.seen(found, its, sights.user.name)
        found, its = sights.alert(alert_id)
    return study_page(request, sights, found, its)


@router.post("/alerts/{alert_id}/acknowledge")
def acknowledge(request: Request, actor: Actor) -> Response:
    """Take an alert."""
    sights, found, its, _ = actor
    try:
        backstage(request).acts.acknowledge(found, its, sights.user.name)
    except NotPossible as no:
        return study_page(request, sights, found, its, status=409, message=str(no))
    return _back(its)


@router.post("/alerts/{alert_id}/hand-on")
def hand_on(request: Request, actor: Actor) -> Response:
    """Ask for the next in the chain."""
    sights, found, its, _ = actor
    try:
        backstage(request).acts.hand_on(found, its, sights.user.name)
    except NotPossible as no:
        return study_page(request, sights, found, its, status=409, message=str(no))
    return _back(its)


@router.post("/alerts/{alert_id}/dismiss")
def dismiss(request: Request, actor: Actor) -> Response:
    """Say that it is no finding, and why."""
    sights, found, its, form = actor
    reason = " ".join(form.get("reason", "").split())
    if not 0 < len(reason) <= LONGEST_REASON:
        message = mark("Say in a few words why it is not a finding (at most 500 characters).")
        return study_page(request, sights, found, its, status=422, message=message)
    try:
        backstage(request).acts.dismiss(found, its, sights.user.name, reason)
    except NotPossible as no:
        return study_page(request, sights, found, its, status=409, message=str(no))
    return _back(its)


def _back(alert: Alert) -> Response:
    return RedirectResponse(f"/alerts/{alert.alert_id}", 303)


def _rows(
    request: Request, sights: Sights, site: str | None, show: Show, page: int
) -> tuple[bytes, Callable[..., str]]:
    """A page of the list, made once for all who see the same, and its address with changes.

    On an alert every open worklist asks at the same moment. The key is all that the markup depends on, and ``markup``
    is given nothing of who asks. Time is in it by the second: what waits, waits longer.
    """
    behind, words, sites = backstage(request), words_for(request), tuple(sorted(sights.sites))
    asked = {"site": site, "show": show.value, "page": page}

    def link(**changes: object) -> str:
        return "/worklist?" + urlencode({name: value for name, value in (asked | changes).items() if value is not None})

    def make() -> bytes:
        listed = sights.worklist(site, show.through, (page - 1) * PAGE, PAGE)
        pages = max(1, -(-listed.total // PAGE))
        shown = {"listed": listed, "Level": Level, "sites": sites, "pages": pages, "link": link}
        return markup(words, "rows.html", **asked, **shown).encode()

    key = (words.language, sites, *asked.values(), behind.hub.version, int(behind.now().timestamp()))
    kept: Cache = request.app.state.rows
    return kept.get(key, make, len), link
