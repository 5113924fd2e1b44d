"""What happened: the topics of an installation, archive and broker as one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final

import click

from gateways.archive import history
from gateways.archive.store import WHAT_TO_DO
from gateways.kafka import Place, Record
from gateways.objects import FileStore
from sinsok.errors import UserError
from sinsok.settings import Settings
from sinsok.wording import printable

_NOT_WHOLE: Final = f"the archive is not whole, see above: {WHAT_TO_DO}"


def read_history(
    settings: Settings,
    topics: Iterable[str],
    since: datetime | None = None,
    until: datetime | None = None,
    offsets: Mapping[Place, int] | None = None,
    on_fault: Callable[[str], None] | None = None,
) -> Iterator[Record]:
    """Every record of these topics, once; as :func:`gateways.archive.history.read` of this installation."""
    store = FileStore(settings.store)
    return history.read(settings.kafka.bootstrap_servers, store, topics, since, until, offsets, on_fault)


@contextmanager
def going_on() -> Iterator[Callable[[str], None]]:
    """For a command that shows what there is: the ``on_fault`` of all that it reads. Each fault is told on stderr once.

    Raises :class:`UserError` at the end where there was any; an error of the command says so too.
    """
    told = set[str]()

    def tell(fault: str) -> None:
        if fault not in told:
            told.add(fault)
            click.echo(printable(fault), err=True)

    try:
        yield tell
    except UserError as error:
        if not told:
            raise
        raise type(error)(f"{error}; {_NOT_WHOLE}") from None
    if told:
        raise UserError(_NOT_WHOLE)
