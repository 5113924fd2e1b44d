"""The chains as they are written: records taken off the event topics become audit records, in transactions."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import structlog

from gateways.audit.account import Account, Tell, account, missing
from gateways.audit.chain import Appended, Chain
from gateways.audit.head import Heads
from gateways.audit.keys import Signer, Verifier
from gateways.audit.settings import AuditSettings
from gateways.audit.source import Lost, Source
from gateways.audit.tails import Standing, Tails, audited
from gateways.audit.transaction import Aborted, Line, Placed, Transactions
from gateways.kafka import Record
from gateways.metrics import AUDITED, CHECKPOINTS, UNSIGNED
from schemas.audit import INSTALLATION, Origin

log = structlog.get_logger()
History = Callable[[], Iterable[Record]]
"""The records of the trail from the first on, archive and broker as one."""

_WHOLE: Final = frozenset({INSTALLATION})


class Trail:
    """The chains of ``sites`` and of the installation, written by one. ``history`` reads all of them, wherever it is.

    What a transaction did not commit has not changed them: the same records are taken again.
    """

    def __init__(
        self,
        settings: AuditSettings,
        sites: Collection[str],
        tell: Tell,
        history: History,
        heads: Heads,
        signer: Signer,
        verifier: Verifier,
        transactions: Transactions,
    ) -> None:
        self._settings = settings
        self._sites = frozenset(sites)
        self._tell = tell
        self._history = history
        self._heads = heads
        self._signer = signer
        self._verifier = verifier
        self._transactions = transactions
        self._chains: dict[str, Standing] = {}
        self._unsigned_since: dict[str, float] = {}
        self.unnoted = set[str]()
        """Chains whose heads could not be written."""

    def take_up(self, bootstrap: str, source: Source) -> None:
        """Find out where the chains and the topics stand; what the broker has forgotten is read off the trail.

        Raises ``Broken`` and ``UnusableHead`` where the chains cannot be gone on with, ``Aborted`` and ``Overtaken``,
        :class:`schemas.failures.Unavailable`, :class:`schemas.failures.Unreadable` and ``KafkaException``.
        """
        known = source.committed()
        forgotten = [place for place, offset in known.items() if offset is None]
        self._chains = Tails(self._sites | _WHOLE, self._heads, self._verifier).read(bootstrap)
        found = audited(self._history(), frozenset(forgotten)) if forgotten else {}
        source.begin(
            {place: offset for place, offset in known.items() if offset is not None},
            {place: found.get(place) or source.first(place) for place in forgotten},
        )
        for name, one in self._chains.items():
            if one.chain.unsigned:
                self._unsigned_since.setdefault(name, time.monotonic())
        log.info("chains taken up", **{name: one.chain.newest.sequence for name, one in self._chains.items()})
        # A chain begins with a signature: it belongs to this key before it says anything.
        new = [name for name, one in self._chains.items() if one.chain.newest.sequence < 0]
        grown = {name: self._chains[name].chain.copy() for name in new}
        self._commit([self._checkpoint(chain) for chain in grown.values()], grown, source)

    def append(self, taken: Iterable[Record | Lost], source: Source) -> None:
        """Give each its audit record, and sign what is due. Raises ``Aborted`` and ``Overtaken``."""
        grown: dict[str, Chain] = {}
        lines: list[Line] = []
        for one in taken:
            name, told = self._account(one)
            if name not in grown:
                grown[name] = self._chains[name].chain.copy()
            chain = grown[name]
            lines.append(_line(chain, chain.append(told), checkpoint=False))
            if len(chain.unsigned) >= self._settings.checkpoint_records:
                lines.append(self._checkpoint(chain))
        for name in self._due(grown):
            chain = grown.setdefault(name, self._chains[name].chain.copy())
            lines.append(self._checkpoint(chain))
        self._commit(lines, grown, source)

    def note(self, names: Iterable[str]) -> None:
        """Write heads as they stand. Where the disk refuses, a person is told: it will refuse the next as well."""
        for name in list(names):
            try:
                self._heads.write(self._chains[name].head, self._signer)
            except OSError as error:
                log.error("head not written", chain=name, error=error.strerror)
                self.unnoted.add(name)
            else:
                self.unnoted.discard(name)

    def _announce(self, grown: Mapping[str, Chain]) -> None:
        """Note where chains are about to be: behind the newest a start takes up nothing else. Raises ``Aborted``."""
        for name, chain in grown.items():
            try:
                self._heads.write(self._chains[name].reaching(chain.newest), self._signer)
            except OSError as error:
                place = self._heads.place(name)
                raise Aborted(f"{place} cannot be written, and nothing without it: {error.strerror}") from error

    def _account(self, one: Record | Lost) -> tuple[str, Account]:
        if isinstance(one, Record):
            return account(one, self._sites, self._tell)
        log.error("records were gone before they were audited", topic=one.topic, partition=one.partition)
        begin = Origin(topic=one.topic, partition=one.partition, offset=one.begin)
        return INSTALLATION, missing(begin, one.end, datetime.now(UTC))

    def _due(self, grown: Mapping[str, Chain]) -> list[str]:
        """Chains that have waited for a signature."""
        now = time.monotonic()
        return [
            name
            for name, since in self._unsigned_since.items()
            if now - since >= self._settings.checkpoint_s and (name not in grown or grown[name].unsigned)
        ]

    def _checkpoint(self, chain: Chain) -> Line:
        return _line(chain, chain.checkpoint(self._signer, datetime.now(UTC)), checkpoint=True)

    def _commit(self, lines: list[Line], grown: Mapping[str, Chain], source: Source) -> None:
        offsets = source.positions()
        if not lines and not offsets:
            return
        self._announce(grown)
        placed = self._transactions.write(lines, offsets, source.group())
        source.settled()
        for line in lines:
            (CHECKPOINTS if line.checkpoint else AUDITED).labels(line.chain).inc()
        for name, chain in grown.items():
            self._grown(name, chain, placed)
        self.note(grown)

    def _grown(self, name: str, chain: Chain, placed: Placed) -> None:
        before = self._chains[name]
        partition, _ = placed[name, chain.newest.sequence]
        signed = placed.get((name, chain.signed.sequence))
        self._chains[name] = Standing(chain, partition, signed[1] if signed else before.since, before.seen)
        if signed or not chain.unsigned:
            self._unsigned_since.pop(name, None)
        if chain.unsigned:
            self._unsigned_since.setdefault(name, time.monotonic())
        UNSIGNED.labels(name).set(len(chain.unsigned))


def _line(chain: Chain, appended: Appended, *, checkpoint: bool) -> Line:
    return Line(chain.name, appended.sequence, appended.value, checkpoint)
