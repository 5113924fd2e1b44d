"""Signing in and out, and the choice of language and colours."""

import secrets
from typing import Any, Final

import structlog
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from gateways.console.access import Doorkeeper
from gateways.console.accounts import Refused, User
from gateways.console.backstage import backstage
from gateways.console.oidc import NotSignedIn
from gateways.console.rendering import THEMES, local, render
from gateways.console.sessions import Session, form_token
from gateways.console.terms import mark
from gateways.console.words import LANGUAGES

log = structlog.get_logger()
router = APIRouter()
_YEAR_S: Final = 365 * 24 * 3600
_WHY: Final = {
    "not-done": mark("NOT done: you were signed out meanwhile. Sign in, and do it again."),
    "ended": mark("Your session has ended: it was not used for a while, or its time was over. Sign in to go on."),
}
"""Why somebody is sent here, as console.js and app.py say it in the address."""
_SAME_NAME: Final = mark(
    "Your name is also that of an account here. An administrator has to rename or remove that one."
)


@router.get("/login")
def ask(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name in the address
    """The login page; on to where they wanted to go for who is signed in."""
    if request.state.session is not None:
        return RedirectResponse(local(next), 303)
    return _login_page(request, local(next), message=_WHY.get(request.query_params.get("why", ""), ""))


@router.post("/login")
def sign_in(request: Request) -> Response:
    """Check a local account's password."""
    if not backstage(request).settings.takes_passwords:
        raise HTTPException(404)
    form: dict[str, str] = request.state.form
    name, password, go_to = form.get("name", "")[:64], form.get("password", "")[:1024], local(form.get("next"))
    address = request.client.host if request.client else "?"
    behind = backstage(request)
    if not behind.throttle.allows(name, address):
        log.warning("login refused, too many failures", address=address)
        return _login_page(request, go_to, 429, mark("Too many failed attempts. Try again in a quarter of an hour."))
    try:
        user = behind.accounts.check(name, password)
    except Refused as error:
        log.error("accounts cannot be read", error=str(error))
        raise HTTPException(503) from None
    if user is None or not user.rights:
        log.warning("login failed", address=address)
        return _login_page(request, go_to, 403, mark("Name or password is wrong."))
    behind.throttle.succeeded(name, address)
    return _signed_in(request, user, RedirectResponse(go_to, 303))


@router.post("/stay")
def stay(request: Request) -> Response:
    """Keep the session from falling idle: to have asked is to have used it."""
    return RedirectResponse(local(request.state.form.get("next")), 303)


@router.post("/logout")
async def sign_out(request: Request) -> Response:
    """End the session, also at the identity provider: whoever sits here next would be let in as this person."""
    keeper: Doorkeeper = request.app.state.keeper
    session: Session = request.state.session
    keeper.sessions.end(request.cookies.get(keeper.session_cookie, ""))
    oidc = backstage(request).oidc
    answer: Response = RedirectResponse("/login", 303)
    if oidc is not None and not session.local:
        if (there := await oidc.end(session.id_token)) is not None:
            # A page that goes on, and not a redirect: form-action 'self' holds for where a form is redirected to.
            answer = render(request, "onward.html", go_to=there)
        # Where the provider has no such way, or the person turns back on it.
        _keep(answer, keeper, keeper.left_cookie, "1", samesite="lax", max_age=_YEAR_S)
    _forget(answer, keeper, keeper.session_cookie)
    # The next person at this browser gets no page out of its history.
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


@router.get("/login/oidc")
async def to_the_provider(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name in the address
    """Send the browser to the identity provider."""
    oidc = backstage(request).oidc
    if oidc is None:
        raise HTTPException(404)
    keeper: Doorkeeper = request.app.state.keeper
    try:
        url, state = await oidc.begin(local(next), anew=keeper.left_cookie in request.cookies)
    except NotSignedIn as error:
        return _no_sign_on(request, error)
    answer = RedirectResponse(url, 303)
    # Lax: the provider sends the browser back from another site.
    _keep(answer, keeper, keeper.state_cookie, state, samesite="lax", max_age=600)
    return answer


@router.get("/login/oidc/callback")
async def from_the_provider(request: Request, state: str = "", code: str = "") -> Response:
    """The identity provider has sent the browser back."""
    oidc = backstage(request).oidc
    if oidc is None:
        raise HTTPException(404)
    keeper: Doorkeeper = request.app.state.keeper
    try:
        user, go_to, id_token = await oidc.finish(state, request.cookies.get(keeper.state_cookie, ""), code)
    except NotSignedIn as error:
        return _no_sign_on(request, error)
    if _is_local_name(request, user.name):
        log.warning("sign-on refused: a local account has the same name, and events would not tell them apart")
        return _login_page(request, "/", 403, _SAME_NAME)
    # Not a redirect: the browser would take it as coming from the provider, and keep the strict cookie back.
    answer = _signed_in(request, user, render(request, "onward.html", go_to=go_to), id_token=id_token)
    for cookie in (keeper.state_cookie, keeper.left_cookie):
        if cookie in request.cookies:
            _forget(answer, keeper, cookie)
    return answer


@router.post("/preferences")
def prefer(request: Request) -> Response:
    """Remember the language or the colours in this browser."""
    form: dict[str, str] = request.state.form
    keeper: Doorkeeper = request.app.state.keeper
    answer = RedirectResponse(local(form.get("next")), 303)
    for name, known in (("language", LANGUAGES), ("theme", THEMES)):
        if (value := form.get(name)) in known and value is not None:
            _keep(answer, keeper, f"sinsok-{name}", value, max_age=_YEAR_S)
    return answer


def _login_page(request: Request, go_to: str, status: int = 200, message: str = "") -> HTMLResponse:
    keeper: Doorkeeper = request.app.state.keeper
    key = keeper.form_key(request) or secrets.token_urlsafe(32)
    behind = backstage(request)
    answer = render(
        request,
        "login.html",
        status,
        go_to=go_to,
        message=message,
        oidc=behind.oidc is not None,
        passwords=behind.settings.takes_passwords,
        csrf=form_token(key),
    )
    if not keeper.form_key(request):
        _keep(answer, keeper, keeper.form_cookie, key)
    return answer


def _signed_in(request: Request, user: User, answer: Response, *, id_token: str = "") -> Response:
    """Begin a session under a new token, whatever cookie the browser had before."""
    keeper: Doorkeeper = request.app.state.keeper
    keeper.sessions.end(request.cookies.get(keeper.session_cookie, ""))
    token = keeper.sessions.begin(user, local=not id_token, id_token=id_token)
    _keep(answer, keeper, keeper.session_cookie, token)
    _forget(answer, keeper, keeper.form_cookie)
    log.info("signed in", by=user.name)
    return answer


def _is_local_name(request: Request, name: str) -> bool:
    """Whether somebody else may sign in here with a password under this name."""
    behind = backstage(request)
    try:
        return behind.settings.takes_passwords and behind.accounts.is_taken(name)
    except Refused as error:
        log.error("accounts cannot be read", error=str(error))
        raise HTTPException(503) from None


def _no_sign_on(request: Request, error: NotSignedIn) -> Response:
    log.warning("sign-on failed", error=str(error))
    return _login_page(request, "/", 403, mark("The identity provider did not let you in."))


def _keep(answer: Response, keeper: Doorkeeper, name: str, value: str, **more: Any) -> None:
    answer.set_cookie(name, value, httponly=True, secure=keeper.secure, **{"samesite": "strict"} | more)


def _forget(answer: Response, keeper: Doorkeeper, name: str) -> None:
    answer.delete_cookie(name, httponly=True, secure=keeper.secure, samesite="strict")
