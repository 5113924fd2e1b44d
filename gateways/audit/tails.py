"""How the chains stand when the writer starts: the head files, and what the topic holds behind them."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from gateways import kafka
from gateways.audit.canonical import digest
from gateways.audit.chain import Broken, Chain
from gateways.audit.head import Head, Heads
from gateways.audit.keys import Verifier
from gateways.kafka import Place, Record
from schemas.topics import AUDIT_TRAIL
from schemas.trail import Checkpoint

_MORE: Final = "`sinsok audit verify` says more"


@dataclass
class Standing:
    """A chain, and where on the topic it stands."""

    chain: Chain
    partition: int | None = None
    since: int = 0
    """Offset of its newest checkpoint; 0 before the first."""

    @property
    def head(self) -> Head:
        """What is noted of it."""
        return self.chain.head(self.partition, self.since)


class Tails:
    """Takes up the chains of these names where their heads say that they are.

    ``forgotten`` are places on event topics whose offsets the broker does not know: how far they are audited then
    stands in the trail itself, all of which is read, as for a chain that has no record yet. Raises
    :class:`gateways.audit.head.UnusableHead`.
    """

    def __init__(
        self, names: Collection[str], heads: Heads, verifier: Verifier, forgotten: Collection[Place] = ()
    ) -> None:
        self._heads = {name: heads.read(name, verifier) for name in names}
        self._files = heads
        self._verifier = verifier
        self._forgotten = frozenset(forgotten)
        self._found = set[str]()
        self._standing = {name: _noted(name, head) for name, head in self._heads.items()}
        self.audited: dict[Place, int] = {}
        """Of the forgotten places, once all is read: the offset behind the newest that is audited."""

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
                self._take(record)
        for (_, partition), (low, _) in spans.items():
            self._check_whole(partition, low)
        return self._standing

    def _begin(self, partition: int, low: int, high: int) -> int:
        if self._forgotten or any(head is None or head.partition is None for head in self._heads.values()):
            return low
        here = [head.since for head in self._heads.values() if head and head.partition == partition]
        return min(here, default=high)

    def _take(self, record: Record) -> None:
        name, value = (record.key or b"").decode(errors="replace"), record.value or b""
        if name not in self._heads:
            return
        head = self._heads[name]
        if head is None:
            raise Broken(
                f"chain {name} has records on {record.topic}/{record.partition}, and no head at"
                f" {self._files.place(name)}: bring the file back, or accept the chain as it stands with"
                f" `sinsok audit accept --chain {name}`"
            )
        if self._forgotten:
            self._note(value)
        if head.partition is None or (head.partition == record.partition and record.offset > head.since):
            self._resume(name, head, record)
        elif record.offset == head.since and digest(value) == head.signed.digest:
            self._found.add(name)  # the checkpoint that the chain is taken up from

    def _resume(self, name: str, head: Head, record: Record) -> None:
        standing = self._standing[name]
        at = f"chain {name} at {record.topic}/{record.partition}/{record.offset}"
        try:
            link = standing.chain.resume(record.value or b"", self._verifier)
        except Broken as broken:
            raise Broken(f"{at}: {broken}; {_MORE}") from None
        standing.partition = record.partition
        if isinstance(link, Checkpoint):
            standing.since = record.offset
        newest = standing.chain.newest
        if newest.sequence == head.newest.sequence and newest.digest != head.newest.digest:
            known = self._files.place(name)
            raise Broken(f"{at}: record {newest.sequence} is another than {known} says was written; {_MORE}")

    def _note(self, value: bytes) -> None:
        where = json.loads(value).get("where")
        if where is not None and (place := (where["topic"], where["partition"])) in self._forgotten:
            self.audited[place] = max(self.audited.get(place, 0), where["offset"] + 1)

    def _check_whole(self, partition: int, low: int) -> None:
        for name, head in self._heads.items():
            if head is None or head.partition != partition:
                continue
            newest = self._standing[name].chain.newest
            if newest.sequence < head.newest.sequence or (head.since >= low and name not in self._found):
                raise Broken(
                    f"chain {name} on {AUDIT_TRAIL.name}/{partition} does not reach record {head.newest.sequence} that"
                    f" {self._files.place(name)} knows: it was cut off; bring the records back, or accept the loss with"
                    f" `sinsok audit accept --chain {name}`"
                )


def _noted(name: str, head: Head | None) -> Standing:
    if head is None:
        return Standing(Chain.begin(name))
    return Standing(Chain.at(head.signed, name), head.partition, head.since)
