"""Dead letters: what could not be handled and why, for operators, who send it back or discard it."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

import structlog
from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from gateways.console.access import Operator, Overview
from gateways.console.backstage import backstage
from gateways.console.rendering import render
from gateways.console.terms import mark
from gateways.kafka import Record
from gateways.letters.acts import (
    ATTEMPTS,
    LONGEST_REASON,
    Desk,
    LimitReached,
    NoOrigin,
    NoReason,
    NotOpen,
    NotPossible,
    TopicGone,
)
from gateways.letters.box import Case, Group, State, grouped
from gateways.letters.contents import contents, plain
from gateways.letters.letter import Place, study_event
from gateways.text import printable
from schemas.audit import RecordAct, Sight
from schemas.base import Event
from schemas.failures import PortFailure, Refused, Unavailable

log = structlog.get_logger()
router = APIRouter()
_LISTED: Final = 20
"""So many of the newest of a group are listed; the command line has all."""
_WAIT_S: Final = 2.0
_STATES: Final = {
    State.OPEN: mark("not dealt with"),
    State.REQUEUED: mark("requeued"),
    State.DISCARDED: mark("discarded"),
}
_NOT_SENT: Final = mark("NOT requeued: Kafka does not answer. Try again.")
_NOT_TAKEN: Final = mark("NOT requeued: Kafka does not take it.")
_NOT_THERE: Final = mark(
    "NOT requeued: Kafka does not hold the letter any more. Operators find it from the command line."
)
_REFUSED: Final[dict[type[NotPossible], str]] = {
    NoOrigin: mark("NOT requeued: the letter does not say where it came from."),
    TopicGone: mark("NOT requeued: Kafka does not have the topic that it came from."),
    LimitReached: mark("NOT requeued: it has been requeued %(limit)s times and came back. Find out why first."),
    NotOpen: mark("NOT discarded: somebody has dealt with this letter already."),
    NoReason: mark("Say in a few words why nothing more is to be done with it (at most 500 characters)."),
}


class Show(StrEnum):
    """Which letters."""

    OPEN = "open"
    ALL = "all"


class Listed(NamedTuple):
    """A group as the page shows it."""

    group: Group
    newest: tuple[Case, ...]
    command: str
    """Requeues all of the group."""


Partition = Annotated[int, Path(ge=0, le=10**9 - 1)]
Offset = Annotated[int, Path(ge=0, le=10**18 - 1)]


@router.get("/dead-letters")
def dead_letters(request: Request, overview: Operator, show: Show = Show.OPEN) -> HTMLResponse:
    """Letters by cause, the newest first."""
    cases = overview.cases(*(State if show is Show.ALL else (State.OPEN,)))
    listed = [Listed(group, group.cases[: -_LISTED - 1 : -1], _command(group)) for group in grouped(cases)]
    return render(
        request,
        "dead_letters.html",
        show=show,
        listed=listed,
        states=_STATES,
        kept=len(overview.cases(*State)) if overview.box.left_out else 0,
    )


@router.get("/dead-letters/{partition}/{offset}")
def dead_letter(request: Request, overview: Operator, partition: Partition, offset: Offset) -> HTMLResponse:
    """One letter: why it died, what it was before and what became of it, and, for who may see that, what it carries."""
    return _page(request, overview, overview.case(Place(partition, offset)))


@router.post("/dead-letters/{partition}/{offset}/discard")
def discard(request: Request, overview: Operator, partition: Partition, offset: Offset) -> Response:
    """Say that nothing more is to be done with a letter, and why."""
    case = overview.case(Place(partition, offset))
    try:
        _desk(request, overview).discard(case.letter.place, request.state.form.get("reason", ""))
    except NotPossible as no:
        status = 422 if isinstance(no, NoReason) else 409
        return _page(request, overview, case, status=status, message=_REFUSED[type(no)])
    return _back(case)


@router.post("/dead-letters/{partition}/{offset}/requeue")
def requeue(request: Request, overview: Operator, partition: Partition, offset: Offset) -> Response:
    """Send a letter back to the topic that it came from."""
    case, behind = overview.case(Place(partition, offset)), backstage(request)
    try:
        with _sorting(request):
            record = behind.letters.fetch(case.letter.place)
            if record is None:
                return _page(request, overview, case, status=409, message=_NOT_THERE)
            _desk(request, overview).requeue(record, behind.letters.outbound())
    except NotPossible as no:
        return _page(request, overview, case, status=409, message=_REFUSED[type(no)])
    except Refused as refusal:
        log.warning("letter refused", letter=str(case.letter.place), error=str(refusal))
        return _page(request, overview, case, status=409, message=_NOT_TAKEN)
    except PortFailure as failure:
        log.warning("letter not requeued", letter=str(case.letter.place), error=str(failure))
        return _page(request, overview, case, status=503, message=_NOT_SENT)
    return _back(case)


def _desk(request: Request, overview: Overview) -> Desk:
    behind = backstage(request)

    def tell(event: Event) -> None:
        assert isinstance(event, RecordAct)
        behind.acts.done(event)

    return Desk(overview.box, overview.user.name, tell, behind.now)


def _back(case: Case) -> Response:
    return RedirectResponse(f"/dead-letters/{case.letter.place}", 303)


def _page(request: Request, overview: Overview, case: Case, *, status: int = 200, message: str = "") -> HTMLResponse:
    record = _carried(request, overview, case) if status == 200 else None
    headers = [(printable(name), plain(value)) for name, value in case.letter.headers] if record else []
    return render(
        request,
        "dead_letter.html",
        status,
        case=overview.case(case.letter.place),
        before=overview.before(case),
        twins=overview.box.twins(case),
        states=_STATES,
        message=message,
        limit=ATTEMPTS,
        may_read=overview.reads(case) is not None,
        contents=contents(record) if record else None,
        key=plain(case.letter.key) if record else "",
        headers=headers,
        longest=LONGEST_REASON,
    )


def _carried(request: Request, overview: Overview, case: Case) -> Record | None:
    """The letter with its bytes, where the person may see them and Kafka gives them now. Who looked is written down."""
    role, behind = overview.reads(case), backstage(request)
    if role is None or behind.condition().away_since is not None:
        return None
    try:
        with _sorting(request):
            record = behind.letters.fetch(case.letter.place)
    except PortFailure as failure:
        log.warning("letter not shown", letter=str(case.letter.place), error=str(failure))
        return None
    event = study_event(record) if record else None
    if event is not None:
        behind.acts.viewed(event, overview.user.name, role, Sight.PAGE)
    return record


@contextmanager
def _sorting(request: Request) -> Iterator[None]:
    """One at a time. Raises :class:`Unavailable` where it is not one's turn soon: whoever has it waits for Kafka."""
    lock = backstage(request).sorting
    if not lock.acquire(timeout=_WAIT_S):
        raise Unavailable("another letter has waited for Kafka for too long")
    try:
        yield
    finally:
        lock.release()


def _command(group: Group) -> str:
    """To be pasted into a shell: what hops and errors are called comes from outside."""
    hop, error = (shlex.quote(printable(said)) for said in (group.cause.hop, group.cause.error))
    return f"sinsok dead-letters requeue --hop {hop} --error {error}"
