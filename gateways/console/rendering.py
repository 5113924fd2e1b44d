"""Templates, in the language and the colours of whoever asks."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from gateways.console.access import OPERATORS, READERS, Doorkeeper
from gateways.console.backstage import backstage
from gateways.console.sessions import Session, form_token
from gateways.console.settings import Language
from gateways.console.words import LANGUAGES, Words, catalogue, language_of
from gateways.text import printable

THEMES: Final = ("system", "dark", "light")
STATIC: Final = Path(__file__).parent / "static"
_LOCAL: Final = re.compile(r"/(?![/\\])[^\\\s]*")
_PARTS: Final = ("state.html", "parts.html")
"""Pieces that open pages ask for anew; behind each comes how much the page can be relied on."""


@lru_cache
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("gateways.console"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["t"] = catalogue(language).gettext
    environment.filters["visible"] = printable
    environment.install_gettext_translations(catalogue(language), newstyle=True)  # type: ignore[attr-defined]
    return environment


def words_for(request: Request) -> Words:
    """In the language that the person chose, else that of their account, else of their browser."""
    session: Session | None = getattr(request.state, "session", None)
    account = session.user.language if session else None
    language = language_of(request.cookies.get("sinsok-language"), account, request.headers.get("accept-language"))
    behind = backstage(request)
    return Words(language, behind.zone, behind.now)


def markup(words: Words, template: str, **values: Any) -> str:
    """A piece that is the same for all who see the same: nothing of who asks for it is there to be shown."""
    return _environment(words.language).get_template(template).render(words=words, **values)


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page or a part of one."""
    session: Session | None = getattr(request.state, "session", None)
    keeper: Doorkeeper = request.app.state.keeper
    words = words_for(request)
    theme = request.cookies.get("sinsok-theme")
    user = session.user if session else None
    standing = condition(request) if session else ""
    given = {
        "words": words,
        "language": words.language,
        "languages": LANGUAGES,
        "theme": theme if theme in THEMES else "system",
        "themes": THEMES,
        "user": user,
        "reads": bool(user and user.sites(*READERS)),
        "operates": bool(user and user.sites(*OPERATORS)),
        "csrf": form_token(keeper.form_key(request)),
        "here": _here(request),
        "condition": Markup(standing),  # noqa: S704 - our own template
    }
    page = _environment(words.language).get_template(template).render(given | values)
    return HTMLResponse(page + standing if template in _PARTS else page, status)


def condition(request: Request) -> str:
    """How much the page can be relied on, and how long its session lasts: behind every part, for console.js."""
    session: Session = request.state.session
    keeper: Doorkeeper = request.app.state.keeper
    left, at_last = keeper.sessions.left(session), keeper.sessions.at_last(session)
    standing = backstage(request).condition()
    return markup(words_for(request), "condition.html", condition=standing, left=left, at_last=at_last)


def _here(request: Request) -> str:
    """The address of the page, to come back to; the beginning where it was the answer to a form."""
    if request.method != "GET":
        return "/"
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def local(path: str | None) -> str:
    """A path of ours to go on to; the beginning where it leads anywhere else."""
    return path if path and _LOCAL.fullmatch(path) else "/"
