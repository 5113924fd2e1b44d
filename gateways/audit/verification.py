"""The whole trail, chain by chain; and, where it is wanted, every event topic against it."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import ValidationError

from gateways.audit.alignment import Seen
from gateways.audit.canonical import record_digest
from gateways.audit.fault import Fault, FaultKind
from gateways.audit.head import Head, Heads, UnusableHead
from gateways.audit.inspection import ChainInspection
from gateways.audit.keys import Verifier
from gateways.kafka import Place, Record
from schemas.identity import digest
from schemas.trail import AuditRecord, genesis


class Audited(NamedTuple):
    """What the trail says stands at an offset: sha256 as bytes, and which record says so."""

    digest: bytes
    chain: str
    sequence: int


class TrailInspection:
    """Takes the records of ``audit.trail`` in the order of each partition.

    ``chains`` are those that there should be; whoever else has a chain is found, and said to have no head.
    ``checkpoint_records`` may lack a signature. With ``remember`` the places are kept for :meth:`compare`.
    """

    def __init__(
        self,
        chains: Collection[str],
        heads: Heads,
        verifier: Verifier,
        checkpoint_records: int,
        *,
        remember: bool = False,
    ) -> None:
        self._heads = heads
        self._verifier = verifier
        self._most = checkpoint_records
        self._remember = remember
        self._faults: list[Fault] = []
        self._audited: dict[Place, dict[int, Audited]] = defaultdict(dict)
        self._last_on: dict[int, str] = {}
        self._chains: dict[str, ChainInspection] = {}
        for name in sorted(chains):
            self._add(name)

    @property
    def chains(self) -> Mapping[str, ChainInspection]:
        """Every chain that was found or should be there."""
        return self._chains

    def take(self, record: Record) -> None:
        """The next record of a partition."""
        value, key = record.value or b"", (record.key or b"").decode(errors="replace")
        try:
            body = json.loads(value.decode())
            sequence, previous, said = body["sequence"], body["previous"], body["chain"]
            if type(sequence) is not int or sequence < 0:
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            body, sequence, previous, said = {}, -1, "", ""
        seen = Seen(key, record.partition, record.offset, digest(value), sequence, previous, said, body)
        chain = self._chains.get(key) if key == said else None
        if chain is None:
            chain = self._owner(seen)
        if chain is None:
            name = key or "without a name"
            self._faults.append(Fault(FaultKind.INSERTED, name, max(sequence, 0), "it is of no chain", at=seen.at))
            return
        self._last_on[record.partition] = chain.name
        chain.take(seen)

    def finish(self) -> list[Fault]:
        """All that is wrong with the chains, in order."""
        for chain in self._chains.values():
            try:
                latest = self._heads.read(chain.name, self._verifier)
            except UnusableHead:
                latest = None  # said already
            self._faults += chain.finish(latest)
        return sorted(self._faults, key=lambda one: (one.chain, one.sequence))

    @property
    def topics(self) -> frozenset[str]:
        """Event topics that the trail names."""
        return frozenset(topic for topic, _ in self._audited)

    def compare(self, stream: Iterable[Record], since: datetime) -> tuple[list[Fault], int]:
        """Hold the records of the event topics, in archive and broker, against the trail, after :meth:`finish`.

        Returns what is wrong, and how many records are newer than the newest audited of their partition: they still
        wait. Such as are older than ``since`` should not. Where the trail lacks records nobody can say what was put in.
        """
        since_ms = since.timestamp() * 1000
        lost = any(one.kind in (FaultKind.REMOVED, FaultKind.TRUNCATED) for one in self._faults)
        unaudited: dict[Place, list[int]] = defaultdict(list)
        newest = {place: max(offsets) for place, offsets in self._audited.items()}
        faults, waiting = [], 0
        for record in stream:
            place = (record.topic, record.partition)
            audited = self._audited[place].pop(record.offset, None) if place in self._audited else None
            at = (*place, record.offset)
            if audited is not None:
                if record_digest(record) != f"sha256:{audited.digest.hex()}":
                    said = "what stands there is not what was audited"
                    faults.append(Fault(FaultKind.CHANGED, audited.chain, audited.sequence, said, at=at))
            elif record.offset > newest.get(place, -1) and record.timestamp_ms >= since_ms:
                waiting += 1
            elif record.offset > newest.get(place, -1) or lost:
                unaudited[place].append(record.offset)
            else:
                faults.append(Fault(FaultKind.INSERTED, "none", 0, "no audit record knows it", at=at))
        why = "not compared, since the trail lacks some" if lost else "does the auditor run, and read this topic?"
        for place, offsets in unaudited.items():
            said = f"{len(offsets)} records from here to {offsets[-1]} have no audit record: {why}"
            faults.append(Fault(FaultKind.UNAUDITED, "none", 0, said, at=(*place, offsets[0])))
        for place, left in self._audited.items():
            for run in _runs(left):
                audited = left[run.start]
                said = f"what is audited from here to {run[-1]} is neither on {place[0]} nor readable in the archive"
                faults.append(Fault(FaultKind.REMOVED, audited.chain, audited.sequence, said, at=(*place, run.start)))
        return sorted(faults, key=lambda one: (one.chain, one.sequence)), waiting

    def _add(self, name: str) -> ChainInspection:
        head = self._head(name)
        self._chains[name] = ChainInspection(name, head, self._verifier, self._most, self._accepted)
        return self._chains[name]

    def _head(self, name: str) -> Head | None:
        try:
            head = self._heads.read(name, self._verifier)
        except UnusableHead as error:
            self._faults.append(Fault(FaultKind.HEAD, name, 0, str(error)))
            return None
        if head is None:
            said = f"{self._heads.place(name)} is missing: nobody knows where the chain ends"
            self._faults.append(Fault(FaultKind.HEAD, name, 0, said))
        return head

    def _owner(self, seen: Seen) -> ChainInspection | None:
        """Whose a record is that is not as it should be: of the chain it continues, else of the one that it names."""
        named = [self._chains[name] for name in (seen.key, seen.said) if name in self._chains]
        if not named and seen.key == seen.said and seen.sequence == 0 and seen.previous == genesis(seen.key):
            return self._add(seen.key)
        if not named and seen.partition in self._last_on:
            named = [self._chains[self._last_on[seen.partition]]]
            return named[0] if named[0].expects(seen) else None
        return next((chain for chain in named if chain.expects(seen)), named[0] if named else None)

    def _accepted(self, seen: Seen) -> None:
        if not self._remember or seen.body.get("kind") == "checkpoint":
            return
        try:
            link = AuditRecord.model_validate(seen.body)
        except ValidationError:
            said = "it is no audit record"
            self._faults.append(Fault(FaultKind.INSERTED, seen.said, seen.sequence, said, at=seen.at))
            return
        if link.digest is None:
            return
        place, offset = (link.where.topic, link.where.partition), link.where.offset
        known = self._audited[place].get(offset)
        if known is not None:
            said = f"record {known.sequence} of {known.chain} is about the same: {place[0]}/{place[1]}/{offset}"
            self._faults.append(Fault(FaultKind.INSERTED, link.chain, seen.sequence, said, at=seen.at))
        self._audited[place][offset] = Audited(bytes.fromhex(link.digest[7:]), link.chain, seen.sequence)


def _runs(offsets: Iterable[int]) -> list[range]:
    """Those that follow each other together: a segment of the archive that is lost is one fault."""
    runs: list[range] = []
    for offset in sorted(offsets):
        if runs and runs[-1].stop == offset:
            runs[-1] = range(runs[-1].start, offset + 1)
        else:
            runs.append(range(offset, offset + 1))
    return runs
