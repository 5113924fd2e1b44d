"""How the chains stand when the writer starts: the head files, and what the topic holds behind them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from gateways import kafka
from gateways.audit.chain import Broken, Chain, Strand
from gateways.audit.head import Head, Heads, Mark
from gateways.audit.keys import Verifier
from gateways.kafka import Place, Record
from schemas.identity import digest
from schemas.topics import AUDIT_TRAIL
from schemas.trail import LINK, AuditRecord, Checkpoint

log = structlog.get_logger()


@dataclass
class Standing:
    """A chain, and where on the topic it stands."""

    chain: Chain
    partition: int | None = None
    since: int = 0
    """Offset of its newest checkpoint; 0 before the first."""
    seen: int = 0
    """What follows the chain before this offset a person has told to pass over."""

    @property
    def head(self) -> Head:
        """What is noted of it."""
        return self.chain.head(self.partition, self.since, self.seen)

    def reaching(self, mark: Mark) -> Head:
        """What is noted of it before a transaction that takes it there."""
        return self.chain.head(self.partition, self.since, self.seen, mark)


class Tails:
    """Takes up the chains of these names where their heads say that they are.

    Behind the newest record that a head knows the one counts that the head says the chain was about to reach, and
    nothing else, however well it follows: anybody may have put it there, or the head is an old one. What follows
    nothing is passed over. Raises :class:`gateways.audit.head.UnusableHead`.
    """

    def __init__(self, names: Collection[str], heads: Heads, verifier: Verifier) -> None:
        self._heads = {name: heads.read(name, verifier) for name in names}
        self._files = heads
        self._verifier = verifier
        self._found = set[str]()
        self._strands = {name: Strand(name, head.signed) for name, head in self._heads.items() if head}

    def read(self, bootstrap: str) -> dict[str, Standing]:
        """The chains as they stand.

        Raises :class:`Broken` where the topic does not hold what the heads say, and
        :class:`schemas.failures.Unavailable` where the broker does not answer.
        """
        with kafka.reader(bootstrap) as consumer:
            spans = kafka.spans(consumer, bootstrap, [AUDIT_TRAIL.name])
            begin = {place: max(low, self._begin(place[1], low, high)) for place, (low, high) in spans.items()}
            ends = {place: high for place, (_, high) in spans.items()}
            for record in kafka.records(consumer, bootstrap, begin, ends):
                self.take(record)
        return self.standing({place[1]: low for place, (low, _) in spans.items()})

    def take(self, record: Record) -> None:
        """The next record of a partition of the trail. Raises :class:`Broken`."""
        name = (record.key or b"").decode(errors="replace")
        if name not in self._heads:
            return
        head = self._heads[name]
        if head is None:
            raise Broken(
                f"chain {name} has records on {record.topic}/{record.partition}, and no head at"
                f" {self._files.place(name)}: bring the file back, or accept the chain as it stands with"
                f" `sinsok audit accept --chain {name}`"
            )
        if head.partition not in (None, record.partition):
            return
        if head.partition is None or record.offset > head.since:
            self._strands[name].keep(record)
        elif record.offset == head.since and digest(record.value or b"") == head.signed.digest:
            self._found.add(name)  # the checkpoint that the chain is taken up from

    def standing(self, lows: Mapping[int, int]) -> dict[str, Standing]:
        """The chains, once all is taken; ``lows`` are the first offsets of the partitions. Raises :class:`Broken`."""
        return {
            name: self._standing(name, head, lows) if head else Standing(Chain.begin(name))
            for name, head in self._heads.items()
        }

    def _begin(self, partition: int, low: int, high: int) -> int:
        if any(head is None or head.partition is None for head in self._heads.values()):
            return low
        here = [head.since for head in self._heads.values() if head and head.partition == partition]
        return min(here, default=high)

    def _standing(self, name: str, head: Head, lows: Mapping[int, int]) -> Standing:
        strand = self._strands[name]
        way = strand.way(head.next) if head.next else None
        if way is None:
            way = strand.way(head.newest)  # the transaction did not take place
        kept = head.partition is not None and head.since >= lows.get(head.partition, 0)
        if way is None or (kept and name not in self._found):
            raise Broken(
                f"chain {name} on {AUDIT_TRAIL.name}/{head.partition} does not reach record {head.newest.sequence} that"
                f" {self._files.place(name)} knows, as it was written: it was changed, which `sinsok audit verify`"
                f" tells, or it was cut off; bring the records back, or accept the loss with"
                f" `sinsok audit accept --chain {name}`"
            )
        reached = way[-1].mark if way else head.signed
        if (stranger := strand.behind(reached, head.seen)) is not None:
            raise Broken(
                f"chain {name} at {AUDIT_TRAIL.name}/{stranger.partition}/{stranger.offset}: record"
                f" {stranger.mark.sequence} follows, and {self._files.place(name)} does not know it: the file is older"
                f" than the trail, or somebody else writes; bring the newest file back, or find out with"
                f" `sinsok audit verify` and go on with `sinsok audit accept --chain {name}`"
            )
        found = Standing(Chain.at(head.signed, name), head.partition, head.since, head.seen)
        for stood in way:
            try:
                found.chain.resume(stood.value, self._verifier)
            except Broken as broken:
                at = f"{AUDIT_TRAIL.name}/{stood.partition}/{stood.offset}"
                raise Broken(f"chain {name} at {at}: {broken}; `sinsok audit verify` says more") from None
            found.partition = stood.partition
            if isinstance(stood.link, Checkpoint):
                found.since = stood.offset
        if foreign := strand.foreign + len(strand) - len(way):
            log.warning("records under its key are not the chain's, and passed over", chain=name, records=foreign)
        return found


def accepted(name: str, trail: Iterable[Record], known: Head | None, verifier: Verifier) -> tuple[Standing, int]:
    """How far a chain can go on where its head does not fit, and how many records under its key are not its own.

    As far as a checkpoint or the head vouches for it; where the head's record is gone, or there is no head, to the
    newest that is there. Raises :class:`Broken`.
    """
    strand, standing, records = Strand(name, Chain.begin(name).newest), Standing(Chain.begin(name)), 0
    for record in trail:
        if record.key != name.encode():
            continue
        records += 1
        standing.seen = max(standing.seen, record.offset + 1)
        if section := strand.close(record, verifier):
            standing.chain = Chain.at(strand.signed, name)
            standing.partition, standing.since = section[-1].partition, section[-1].offset
    marks = [mark for mark in (known.next, known.newest) if mark] if known else []
    ways = (way for mark in marks if (way := strand.way(mark)) is not None)
    for stood in next(ways, strand.longest()):
        standing.chain.resume(stood.value, verifier)
        standing.partition = stood.partition
    return standing, records - standing.chain.newest.sequence - 1


def audited(trail: Iterable[Record], places: Collection[Place]) -> dict[Place, int]:
    """The offset behind the newest that is audited, of those of these places that the trail knows."""
    found: dict[Place, int] = {}
    for record in trail:
        try:
            link = LINK.validate_json(record.value or b"")
        except ValidationError:
            continue  # no record of a chain: `sinsok audit verify` names it
        if isinstance(link, AuditRecord) and (place := (link.where.topic, link.where.partition)) in places:
            found[place] = max(found.get(place, 0), link.where.offset + 1)
    return found
