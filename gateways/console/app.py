"""The web application: every page, behind one gate."""

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote

import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from gateways.console import dead_letters, imagery, login, operators, pages
from gateways.console.access import Doorkeeper, NotOurs, SignInFirst, gate
from gateways.console.backstage import Backstage
from gateways.console.cache import Cache
from gateways.console.headers import SecurityHeaders
from gateways.console.rendering import STATIC, render, words_for
from gateways.console.terms import mark
from gateways.console.view import View

log = structlog.get_logger()
_ALERT: Final = re.compile(r"/alerts/[0-9a-f-]{36}(?=/)")
_SAID: Final = {
    403: mark("This is not allowed."),
    404: mark("There is nothing here that you may see."),
    413: mark("This is more than the console takes."),
    503: mark("This cannot be had at the moment. Try again."),
}
_ROWS_BYTES: Final = 8 * 2**20
_ELSE: Final = mark("This cannot be done.")
_STALE: Final = mark("NOT done: the page it was sent from is too old. Load it again, and do it again.")
_NOT_KEPT: Final = mark(
    "NOT done: the console cannot store what people do. Do it by telephone, and tell the operators."
)


def make_app(behind: Backstage, view: View, keeper: Doorkeeper) -> FastAPI:
    """The application."""

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        behind.hub.open()
        yield

    app = FastAPI(dependencies=[Depends(gate)], openapi_url=None, docs_url=None, redoc_url=None, lifespan=running)
    app.state.backstage, app.state.view, app.state.keeper = behind, view, keeper
    app.state.rows = Cache(_ROWS_BYTES)
    for router in (login.router, pages.router, imagery.router, operators.router, dead_letters.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_exception_handler(SignInFirst, _sign_in_first)
    app.add_exception_handler(NotOurs, _not_ours)
    app.add_exception_handler(sqlite3.Error, _not_kept)
    app.add_exception_handler(RequestValidationError, _not_there)
    app.add_exception_handler(HTTPException, _refused)
    # Not add_middleware: what that adds stands inside of what answers 500.
    app.middleware_stack = SecurityHeaders(app.build_middleware_stack(), secure=keeper.secure)
    return app


async def _sign_in_first(request: Request, _: Exception) -> Response:
    keeper: Doorkeeper = request.app.state.keeper
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse(words_for(request).gettext(mark("sign in first")) + "\n", 401)
    if request.url.path == "/logout":
        return RedirectResponse("/login", 303)
    if request.method != "GET":
        return RedirectResponse(f"/login?next={_page_of(request)}&why=not-done", 303)
    if request.headers.get("sec-fetch-site") == "cross-site":
        # From a link elsewhere, a mail in a browser: the strict cookie stays behind, once. Ask again from here.
        return render(request, "onward.html", go_to=path)
    why = "&why=ended" if request.cookies.get(keeper.session_cookie) else ""
    return RedirectResponse(f"/login?next={quote(path, safe='/')}{why}", 303)


async def _not_ours(request: Request, _: Exception) -> Response:
    return _said(request, 403, _STALE)


async def _not_kept(request: Request, error: Exception) -> Response:
    """No act is done that is not on disk, and no study is shown without a word of who looked."""
    log.error("the console cannot store what people do", error=str(error))
    return _said(request, 503, _SAID[503] if request.method == "GET" else _NOT_KEPT)


async def _not_there(request: Request, _: Exception) -> Response:
    return await _refused(request, HTTPException(404))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _said(request, error.status_code, _SAID.get(error.status_code, _ELSE))


def _said(request: Request, status: int, sentence: str) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse(f"{words_for(request).gettext(sentence)}\n", status)
    return render(request, "refused.html", status, said=sentence, back=_page_of(request))


def _page_of(request: Request) -> str:
    """The page from which an act was asked; the beginning where that is not known."""
    found = _ALERT.match(request.url.path)
    return found[0] if found else "/"
