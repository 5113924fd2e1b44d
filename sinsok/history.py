"""What happened: the topics of an installation, archive and broker as one."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from gateways.archive import history
from gateways.kafka import Place, Record
from gateways.objects import FileStore
from sinsok.settings import Settings


def read_history(
    settings: Settings,
    topics: Iterable[str],
    since: datetime | None = None,
    until: datetime | None = None,
    offsets: Mapping[Place, int] | None = None,
) -> Iterator[Record]:
    """Every record of these topics, once; as :func:`gateways.archive.history.read` of this installation."""
    store = FileStore(settings.store)
    return history.read(settings.kafka.bootstrap_servers, store, topics, since, until, offsets)
