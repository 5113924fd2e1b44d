"""Dead letters in words, for a terminal, and as JSON for scripts."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from gateways.letters.box import Box, Case, Group, State
from gateways.letters.contents import Contents, Kind, plain
from gateways.letters.letter import Account, Letter
from sinsok.wording import printable, summary

NAMED: Final = 12
"""So many ids are printed of a group; with --json all of them."""
_KINDS: Final = {
    Kind.JSON: "JSON, no event",
    Kind.TEXT: "text",
    Kind.BYTES: "no text",
    Kind.NOTHING: "nothing",
}


def told(group: Group) -> str:
    """Letters of one cause: the cause, the ids of the open ones, and what became of the others."""
    cause, count = group.cause, len(group.cases)
    times = _at(group.first) if count == 1 else f"{_at(group.first)} to {_at(group.last)}"
    lines = [
        f"{cause.hop}, {cause.error}, from {cause.topic}: {count} letter{'s' if count > 1 else ''}, {times} UTC",
        f"  {cause.message}",
    ]
    open_ones = [str(case.letter.place) for case in group.cases if case.state is State.OPEN]
    if open_ones:
        more = f" and {len(open_ones) - NAMED} more" if len(open_ones) > NAMED else ""
        lines.append(f"  {' '.join(open_ones[:NAMED])}{more}")
    lines += [f"  {_fate(case)}" for case in group.cases if case.state is not State.OPEN]
    return "\n".join(printable(line) for line in lines)


def _fate(case: Case) -> str:
    act = case.acts[-1]
    return f"{case.letter.place} {case.state} {_at(act.time)} UTC: {summary(act)}"


def described(group: Group) -> dict[str, Any]:
    """The same as JSON."""
    return {
        **group.cause._asdict(),
        "count": len(group.cases),
        "first": group.first.isoformat(),
        "last": group.last.isoformat(),
        "letters": [
            {
                "id": str(case.letter.place),
                "state": case.state,
                "time": case.letter.at.isoformat(),
                "site": case.letter.site,
                "event": case.letter.event,
                "acts": [act.model_dump(mode="json", exclude={"event_id", "letter"}) for act in case.acts],
            }
            for case in group.cases
        ],
    }


def told_of(case: Case, box: Box) -> Iterator[str]:
    """Why a letter died, what it was before, and what became of it since, line by line."""
    letter = case.letter
    lines = [
        f"letter {letter.place}, {case.state}, of {_at(letter.at)} UTC",
        *(line for account in letter.accounts for line in _death(account)),
        f"  site {letter.site or 'unknown'}, key {plain(letter.key) or 'none'}",
        *(f"  same record as letter {twin.letter.place}, of {twin.letter.cause.hop}" for twin in box.twins(case)),
    ]
    for before in box.history(letter):
        died = before.letter.cause
        lines.append(f"before, letter {before.letter.place}: {died.hop} gave up: {died.error}: {died.message}")
        lines += [f"  {_at(act.time)} UTC {summary(act)}" for act in before.acts]
    if case.acts:
        lines += ["since:", *(f"  {_at(act.time)} UTC {summary(act)}" for act in case.acts)]
    return (printable(line) for line in lines)


def _death(account: Account) -> Iterator[str]:
    cause, origin = account.cause, account.origin
    tries = f" after {account.attempts} attempt{'' if account.attempts == 1 else 's'}" if account.attempts else ""
    yield f"  {cause.hop} gave up{tries}: {cause.error}: {cause.message}"
    if origin is not None:
        yield f"  was record {origin.offset} of {origin.topic}, partition {origin.partition}"
    if account.first_failure is not None:
        yield f"  first failure {_at(account.first_failure)} UTC"


def carried(letter: Letter, found: Contents) -> Iterator[str]:
    """Its headers, and its bytes as far as they can be read."""
    yield "headers:"
    for name, value in letter.headers:
        yield f"  {printable(name)}: {plain(value)}"
    kind = found.name or _KINDS[found.kind]
    yield f"carries {letter.size_bytes} bytes, {kind}" + (":" if found.lines else "")
    for line in found.lines:
        yield f"  {line}"
    if found.cut:
        yield "  and more: `sinsok events dead.letters --all --json` has all of it"


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
