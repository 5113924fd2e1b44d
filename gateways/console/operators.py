"""How the parts are: alarms, health, lag, dead letters, and when each scanner sent its newest image."""

from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from gateways.console.access import Operator, Overview
from gateways.console.backstage import backstage
from gateways.console.rendering import render
from gateways.letters.box import State

router = APIRouter()
_OLD: Final = timedelta(minutes=2)
"""What was said longer ago says nothing of now. A round takes a minute where nobody answers."""


@router.get("/operators")
def operators(request: Request, overview: Operator) -> HTMLResponse:
    """The whole page."""
    return render(request, "operators.html", **_shown(request, overview))


@router.get("/operators/state")
def state(request: Request, overview: Operator) -> HTMLResponse:
    """The same, without the page around it: what an open page asks for from time to time."""
    return render(request, "parts.html", **_shown(request, overview))


def _shown(request: Request, overview: Overview) -> dict[str, Any]:
    behind = backstage(request)
    now = behind.now()
    silent_since = now - timedelta(minutes=behind.settings.silent_minutes)
    return {
        "parts": [(part, now - part.at > _OLD) for part in behind.probes.newest],
        "senders": [(site, ae, at, at < silent_since) for site, ae, at in overview.senders()],
        "alarms": overview.alarms(),
        "letters": overview.letters(),
        "open_letters": len(overview.cases(State.OPEN)),
        "more_letters": overview.box.left_out > 0,
        "listeners": behind.hub.listeners,
    }
