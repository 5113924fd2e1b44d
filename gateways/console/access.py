"""Who may see and do what. Every request passes :func:`gate`, and every study and alert comes out of :class:`Sights`.

Nothing else in the console asks who somebody is, and no page gets at the view itself: what a person has no right to is
not there for them (404), as if it did not exist.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Depends, HTTPException, Path, Request
from starlette.datastructures import FormData

from gateways.console.accounts import Accounts, Refused, User
from gateways.console.alert import Alert
from gateways.console.backstage import backstage
from gateways.console.letters import Kind, Tally
from gateways.console.sessions import Session, Sessions, is_form_token
from gateways.console.study import Level, Study
from gateways.console.view import Listed, View
from gateways.letters.box import Box, Case, State
from gateways.letters.letter import Place
from schemas.alarms import AlarmRaised
from schemas.audit import INSTALLATION, Role

OPEN: Final = frozenset({"/login", "/login/oidc", "/login/oidc/callback", "/preferences"})
"""Paths that are answered without a login; beside them the static files, which are no route."""
IN_THE_BACKGROUND: Final = ("/live", "/rows", "/state")
"""How paths end that pages ask for by themselves: they keep no session from falling idle."""
LARGEST_FORM: Final = 64 * 1024
READERS: Final = (Role.RADIOLOGIST, Role.AUDITOR, Role.ADMIN)
"""Who sees studies."""
OPERATORS: Final = (Role.OPERATOR, Role.ADMIN)
"""Who sees how the parts are."""


class SignInFirst(Exception):
    """Nobody is signed in."""


class NotOurs(Exception):
    """A form that no page of ours in this browser and this session has sent."""


class Doorkeeper:
    """Knows who comes: by session cookie, and for forms by their token and where they come from."""

    def __init__(self, accounts: Accounts, sessions: Sessions, *, secure: bool, url: str) -> None:
        self.sessions = sessions
        self.secure = secure
        self._accounts = accounts
        self._host = urlsplit(url).netloc
        # __Host-: no other host of the domain can set it, and none gets it (RFC 6265bis, 4.1.3.2).
        prefix = "__Host-" if secure else ""
        self.session_cookie = f"{prefix}sinsok"
        self.form_cookie = f"{prefix}sinsok-form"
        self.state_cookie = f"{prefix}sinsok-state"
        self.left_cookie = f"{prefix}sinsok-left"

    def session(self, request: Request, *, use: bool) -> Session | None:
        """The session of a request, as long as its person still may do anything here."""
        token = request.cookies.get(self.session_cookie, "")
        session = self.sessions.find(token, use=use) if token else None
        if session is not None and session.local:
            try:
                user = self._accounts.user(session.user.name)
            except Refused:
                return None  # but the session goes on, once the accounts can be read
            if user is None or user.seal != session.user.seal:
                self.sessions.end(token)
                return None
            session.user = user
        return session

    def form_key(self, request: Request) -> str:
        """What a form's token is bound to: the session, before the login a cookie of its own."""
        names = (self.session_cookie, self.form_cookie)
        return next((request.cookies[name] for name in names if request.cookies.get(name)), "")

    def trusts(self, request: Request, form: FormData) -> bool:
        """Whether a form was sent by a page of ours in the same browser."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc not in (self._host, request.headers.get("host")):
            return False
        key, token = self.form_key(request), form.get("csrf")
        return bool(key) and isinstance(token, str) and is_form_token(key, token)


async def gate(request: Request) -> None:
    """Before every route. Raises :class:`SignInFirst`, :class:`NotOurs`, and HTTP 413 for a huge form."""
    keeper: Doorkeeper = request.app.state.keeper
    path = request.url.path
    session = keeper.session(request, use=not path.endswith(IN_THE_BACKGROUND))
    request.state.session = session
    if session is None and path not in OPEN:
        raise SignInFirst
    if request.method not in ("GET", "HEAD"):
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LARGEST_FORM:
            raise HTTPException(413)
        form = await request.form(max_files=0, max_fields=20)
        if not keeper.trusts(request, form):
            raise NotOurs
        request.state.form = {name: value for name, value in form.items() if isinstance(value, str)}


class Sights:
    """The view, as one person may see it."""

    def __init__(self, view: View, user: User) -> None:
        self._view = view
        self.user = user
        self.sites = user.sites(*READERS)

    def study(self, site: str, key: str) -> Study:
        """A study. Raises HTTP 404, also where there is one that the person may not see."""
        return self._allowed(self._view.study(site, key))

    def alert(self, alert_id: UUID) -> tuple[Study, Alert]:
        """An alert and its study. Raises HTTP 404, also where there is one that the person may not see."""
        study = self._allowed(self._view.of_alert(alert_id))
        return study, study.alerts[alert_id]

    def worklist(self, site: str | None, through: Level, start: int, size: int) -> Listed:
        """A page of the worklist of one or all sites. Raises HTTP 404 for a site that the person may not see."""
        if site is not None and site not in self.sites:
            raise HTTPException(404)
        return self._view.worklist({site} if site else self.sites, through, start, size)

    def may_act(self, study: Study) -> bool:
        """Whether the person may take, hand on and dismiss this study's alerts."""
        return study.site in self.user.sites(Role.RADIOLOGIST)

    def role_for(self, study: Study) -> Role:
        """In which role the person looks at a study."""
        return next(role for role in READERS if role in self.user.rights[study.site])

    def _allowed(self, study: Study | None) -> Study:
        if study is None or study.site not in self.sites:
            raise HTTPException(404)
        return study


class Overview:
    """How the parts are, as one operator may see it."""

    def __init__(self, view: View, user: User, installed: Collection[str]) -> None:
        self._view = view
        self._installed = frozenset(installed)
        self._sites = user.sites(*OPERATORS)
        self.user = user

    def senders(self) -> list[tuple[str, str, datetime]]:
        """Site, AE title and newest image of each scanner."""
        return self._view.senders(self._sites)

    def alarms(self) -> list[AlarmRaised]:
        """What is wrong at these sites, and with the installation as a whole."""
        return [one for one in self._view.alarms() if one.site in self._sites or one.site == INSTALLATION]

    def letters(self) -> dict[Kind, Tally]:
        """Dead letters by kind, the most first."""
        return self._view.letters(self._sites)

    @property
    def box(self) -> Box:
        """All letters, for acting on one that :meth:`case` gave."""
        return self._view.box

    def cases(self, *states: State) -> list[Case]:
        """Letters of these sites, and of none of the installation's, oldest first."""
        return [case for case in self.box.cases(*states) if self._concerns(case)]

    def case(self, place: Place) -> Case:
        """A letter. Raises HTTP 404, also where there is one of another site."""
        case = self.box.case(place)
        if case is None or not self._concerns(case):
            raise HTTPException(404)
        return case

    def before(self, case: Case) -> list[Case]:
        """The letters that a letter was before it was requeued, newest first."""
        return [one for one in self.box.history(case.letter) if self._concerns(one)]

    def reads(self, case: Case) -> Role | None:
        """In which role the person may see what a letter carries; None where they may not: that is of studies.

        Bytes that are no event may be of any site.
        """
        site = case.letter.event_site
        of = self._installed if site is None else {site}
        return next((role for role in READERS if of <= self.user.sites(role)), None)

    def _concerns(self, case: Case) -> bool:
        site = case.letter.site
        return site in self._sites or site not in self._installed


def _user(request: Request) -> User:
    session: Session | None = request.state.session
    if session is None:
        raise SignInFirst
    return session.user


def _reader(request: Request, user: Annotated[User, Depends(_user)]) -> Sights:
    sights = Sights(request.app.state.view, user)
    if not sights.sites:
        raise HTTPException(404)
    return sights


def _operator(request: Request, user: Annotated[User, Depends(_user)]) -> Overview:
    if not user.sites(*OPERATORS):
        raise HTTPException(404)
    return Overview(request.app.state.view, user, backstage(request).sites)


def _actor(
    sights: Annotated[Sights, Depends(_reader)], alert_id: UUID, request: Request
) -> tuple[Sights, Study, Alert, dict[str, Any]]:
    study, alert = sights.alert(alert_id)
    if not sights.may_act(study):
        raise HTTPException(403)
    return sights, study, alert, request.state.form


StudyKey = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
SiteName = Annotated[str, Path(pattern="^[a-z][a-z0-9-]{0,31}$")]
SignedIn = Annotated[User, Depends(_user)]
Reader = Annotated[Sights, Depends(_reader)]
Operator = Annotated[Overview, Depends(_operator)]
Actor = Annotated[tuple[Sights, Study, Alert, dict[str, Any]], Depends(_actor)]
