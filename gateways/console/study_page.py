"""What the page of a study shows."""

from itertools import pairwise
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse

from gateways.console.access import Sights
from gateways.console.alert import Alert
from gateways.console.backstage import backstage
from gateways.console.imagery import viewer_of
from gateways.console.rendering import render
from gateways.console.study import Level, Study
from schemas.audit import Sight


def study_page(
    request: Request,
    sights: Sights,
    study: Study,
    asked: Alert | None,
    *,
    template: str = "study.html",
    status: int = 200,
    message: str = "",
) -> HTMLResponse:
    """The page of a study, or what of it changes. ``asked`` is the alert that was asked for, where one was."""
    behind = backstage(request)
    whole = template == "study.html"
    look = behind.acts.viewed if whole else behind.acts.still_viewed
    look(study, sights.user.name, sights.role_for(study), Sight.PAGE)
    alert = asked or study.alert
    now = behind.now()
    address = f"/alerts/{asked.alert_id}" if asked else f"/studies/{study.site}/{study.key}"
    return render(
        request,
        template,
        status,
        study=study,
        alert=alert,
        asked=asked,
        level=study.level(now, behind.clocks),
        Level=Level,
        address=address,
        unread=study.unread(now, behind.clocks),
        may_act=sights.may_act(study),
        message=message,
        refusals=_refusals(alert, sights.user.name),
        timeline=_timeline(study),
        **(_once(request, study, address) if whole else {}),
    )


def _once(request: Request, study: Study, address: str) -> dict[str, Any]:
    """What does not change while the page is open."""
    behind = backstage(request)
    site = behind.sites[study.site]
    link = site.pacs_link.replace("{study_uid}", quote(study.study_uid, safe=".")) if site.pacs_link else None
    pictures = study.pictures
    return {
        "pacs_link": link,
        "show_patient": site.show_patient,
        "patient": behind.patients.of(pictures[0].manifest) if site.show_patient and pictures else None,
        "viewer": viewer_of(request, study, address),
    }


def _timeline(study: Study) -> list[tuple[Any, float]]:
    """Each entry with the seconds since the one before."""
    entries = study.entries
    waits = [(after.at - before.at).total_seconds() for before, after in pairwise(entries)]
    return list(zip(entries, [0.0, *waits], strict=True))


def _refusals(alert: Alert | None, name: str) -> list[str]:
    """Why what this person asked was refused."""
    return [act.reason for _, act in alert.refused.values() if act.by == name] if alert else []
