"""The web application: every page, behind one gate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from gateways.console import imagery, login, operators, pages
from gateways.console.access import Doorkeeper, SignInFirst, gate
from gateways.console.backstage import Backstage
from gateways.console.headers import SecurityHeaders
from gateways.console.rendering import STATIC, render
from gateways.console.terms import mark
from gateways.console.view import View
from gateways.health import Complaints

_SAID: Final = {
    403: mark("This is not allowed. If you sent a form, load its page again and repeat it."),
    404: mark("There is nothing here that you may see."),
    413: mark("This is more than the console takes."),
    503: mark("This cannot be had at the moment. Try again."),
}


def make_app(behind: Backstage, view: View, keeper: Doorkeeper, deaths: Complaints, health: Complaints) -> FastAPI:
    """The application. ``deaths`` and ``health`` are what /healthz and /readyz say."""

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        behind.hub.open()
        yield

    app = FastAPI(dependencies=[Depends(gate)], openapi_url=None, docs_url=None, redoc_url=None, lifespan=running)
    app.state.backstage, app.state.view, app.state.keeper = behind, view, keeper
    for router in (login.router, pages.router, imagery.router, operators.router, _probes(deaths, health)):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_middleware(SecurityHeaders, secure=keeper.secure)
    app.add_exception_handler(SignInFirst, _sign_in_first)
    app.add_exception_handler(RequestValidationError, _not_there)
    app.add_exception_handler(HTTPException, _refused)
    return app


def _probes(deaths: Complaints, health: Complaints) -> APIRouter:
    router = APIRouter()

    def answer(complaints: list[str]) -> Response:
        return PlainTextResponse("".join(f"{line}\n" for line in complaints or ["ok"]), 503 if complaints else 200)

    router.add_api_route("/healthz", lambda: answer(deaths()), methods=["GET"])
    router.add_api_route("/readyz", lambda: answer([*deaths(), *health()]), methods=["GET"])
    return router


async def _sign_in_first(request: Request, _: Exception) -> Response:
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if not page:
        return PlainTextResponse("sign in first\n", 401)
    if request.headers.get("sec-fetch-site") == "cross-site":
        # From a link elsewhere, a mail in a browser: the strict cookie stays behind, once. Ask again from here.
        return render(request, "onward.html", go_to=path)
    return RedirectResponse(f"/login?next={quote(path, safe='/')}", 303)


async def _not_there(request: Request, _: Exception) -> Response:
    return await _refused(request, HTTPException(404))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = _SAID.get(error.status_code, HTTPStatus(error.status_code).phrase)
    if "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse(f"{said}\n", error.status_code)
    return render(request, "refused.html", error.status_code, said=said)
