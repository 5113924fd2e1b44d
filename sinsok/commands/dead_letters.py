"""``sinsok dead-letters``: what could not be handled, why, and what is to become of it."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import click

from gateways import kafka
from gateways.kafka import Record
from gateways.letters.acts import ATTEMPTS, Desk, NoSuchLetter, NotPossible
from gateways.letters.box import Box, State, grouped
from gateways.letters.contents import contents
from gateways.letters.letter import Place
from gateways.letters.post import Post
from schemas.failures import Refused
from schemas.topics import AUDIT_ACTS, DEAD_LETTERS, topic_of
from sinsok.auditing import account
from sinsok.errors import UsageError, UserError
from sinsok.history import going_on, read_history
from sinsok.letters import carried, described, told, told_of
from sinsok.settings import Settings, load
from sinsok.stack.processes import HOPS
from sinsok.wording import printable


class _PlaceType(click.ParamType):
    """``PARTITION/OFFSET``."""

    name = "PARTITION/OFFSET"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        try:
            return value if isinstance(value, Place) else Place.of(value)
        except ValueError as error:
            raise UsageError(str(error)) from None


_PLACE: Final = _PlaceType()
_by: Final = click.option("--by", metavar="NAME", help="Who does it; the user of this machine where not said.")


@click.group()
def command() -> None:
    """List, show, requeue and discard what could not be handled.

    A letter is called PARTITION/OFFSET, after its place on dead.letters. It is open until it is requeued (sent back to
    the topic that it came from) or discarded. Who did what to it, and why, stands on audit.acts.
    """


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Those too that were requeued or discarded, by whom and why.")
@click.option("--site", help="Only letters of this site.")
@click.option("--hop", help="Only what this hop gave up.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line a cause.")
def list_letters(everything: bool, site: str | None, hop: str | None, as_json: bool) -> None:
    """Show open letters by cause.

    For each hop, error and topic: how many there are, since when, and their ids.
    """
    settings = load()
    if site is not None and site not in settings.sites:
        raise UsageError(f"there is no site {site!r}: choose one of {', '.join(settings.sites)}")
    with going_on() as on_fault:
        box = _box(settings, on_fault)
        cases = box.cases(*State) if everything else box.cases(State.OPEN)
        chosen = [case for case in cases if site in (None, case.letter.site) and hop in (None, case.letter.cause.hop)]
        if not chosen and hop is not None and hop not in HOPS:
            raise UsageError(f"there is no hop {hop!r}: choose one of {', '.join(HOPS)}")
        for group in grouped(chosen):
            click.echo(json.dumps(described(group), ensure_ascii=False) if as_json else told(group))
        if not chosen and not as_json:
            click.echo("no letters" if everything else "no open letters")


@command.command("show")
@click.argument("place", metavar="PARTITION/OFFSET", type=_PLACE)
def show(place: Place) -> None:
    """Show a letter and what it carries.

    Why it died, where it came from, what it was before, what became of it since, its headers and its bytes.
    """
    settings = load()
    with going_on() as on_fault:
        box = _box(settings, on_fault)
        case = box.case(place)
        if case is None:
            raise UserError(str(NoSuchLetter(place)))
        for line in told_of(case, box):
            click.echo(line)
        for record in _records(settings, {place}, on_fault):
            for line in carried(case.letter, contents(record)):
                click.echo(line)


@command.command("requeue")
@click.argument("places", metavar="[PARTITION/OFFSET]...", nargs=-1, type=_PLACE)
@click.option("--hop", help="With --error: all open letters of this hop.")
@click.option("--error", help="With --hop: the class of the error, as `list` shows it.")
@click.option(
    "--attempts", type=click.IntRange(1), default=ATTEMPTS, show_default=True, help="So often at the most, in all."
)
@_by
def requeue(places: tuple[Place, ...], hop: str | None, error: str | None, attempts: int, by: str | None) -> None:
    """Send letters back to where they came from.

    Mend the cause first. Letters that other hops wrote of the same record go with it. To send one twice does no harm:
    it is the same event, and consumers drop what they have seen.
    """
    if bool(places) == (hop is not None and error is not None) or (hop is None) != (error is None):
        raise UsageError("say which: PARTITION/OFFSET..., or --hop with --error")
    settings, name = load(), account(by)
    with going_on() as on_fault:
        box = _box(settings, on_fault)
        post = Post(settings.kafka.bootstrap_servers)
        desk = Desk(box, name, lambda event: kafka.publish(post.producer, topic_of(event), event), _now, attempts)
        died = [(case.letter.place, case.letter.cause) for case in box.cases(State.OPEN)]
        wanted = _there(desk, places) or {place for place, cause in died if (cause.hop, cause.error) == (hop, error)}
        if not wanted:
            cause = printable(f"{hop} with {error}")
            raise UserError(f"there are no open letters of {cause}: see `sinsok dead-letters list`")
        left = _requeue(_records(settings, wanted, on_fault), desk, post, wanted)
        if left:
            raise UserError(left[0] if len(wanted) == 1 else f"{len(left)} of {len(wanted)} letters were not requeued")


@command.command("discard")
@click.argument("places", metavar="PARTITION/OFFSET...", nargs=-1, required=True, type=_PLACE)
@click.option("--reason", required=True, help="Why nothing more is to be done with them.")
@_by
def discard(places: tuple[Place, ...], reason: str, by: str | None) -> None:
    """Say that letters need nothing more, and why.

    Their bytes stay where they are.
    """
    if not reason.strip():
        raise UsageError("--reason is empty: say in a few words why")
    settings, name = load(), account(by)
    with going_on() as on_fault:
        box = _box(settings, on_fault)
        producer = kafka.producer(settings.kafka.bootstrap_servers)
        desk = Desk(box, name, lambda event: kafka.publish(producer, topic_of(event), event), _now)
        for place in sorted(_there(desk, places)):
            try:
                desk.discard(place, reason)
            except NotPossible as error:
                raise UserError(str(error)) from None
            click.echo(f"{place} discarded")


def _requeue(records: Iterable[Record], desk: Desk, post: Post, wanted: set[Place]) -> list[str]:
    """Requeue the letters of these records; why the others could not be, one line each."""
    left = {place: f"letter {place} cannot be read any more" for place in sorted(wanted)}
    done: set[Place] = set()
    for record in records:
        place = Place(record.partition, record.offset)
        if place in done:  # with another of the same record
            continue
        try:
            for act in desk.requeue(record, post):
                sent = Place(act.letter.partition, act.letter.offset)
                done.add(sent)
                click.echo(printable(f"{sent} back on {act.to}, attempt {act.attempt}"))
        except (NotPossible, Refused) as error:
            left[place] = printable(str(error))
            if len(wanted) > 1:
                click.echo(f"{place} not requeued: {left[place]}")
    return [why for place, why in left.items() if place not in done]


def _there(desk: Desk, places: tuple[Place, ...]) -> set[Place]:
    """These letters. Raises :class:`UserError` where there is not each of them, before anything is done to any."""
    try:
        return {desk.case(place).letter.place for place in places}
    except NotPossible as error:
        raise UserError(str(error)) from None


def _box(settings: Settings, on_fault: Callable[[str], None]) -> Box:
    return Box.of(read_history(settings, [DEAD_LETTERS.name, AUDIT_ACTS.name], on_fault=on_fault))


def _records(settings: Settings, places: set[Place], on_fault: Callable[[str], None]) -> Iterator[Record]:
    """Letters with their bytes, which a box does not keep."""
    for record in read_history(settings, [DEAD_LETTERS.name], on_fault=on_fault):
        if (record.partition, record.offset) in places:
            yield record


def _now() -> datetime:
    return datetime.now(UTC)
