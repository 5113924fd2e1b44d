"""Is a chain as it was written? Read once, in the order of its partition, it says every place where it is not."""

from collections.abc import Callable
from typing import Any, Final

from pydantic import ValidationError

from gateways.audit import merkle
from gateways.audit.alignment import Seen, align
from gateways.audit.chain import genuine
from gateways.audit.fault import Fault, FaultKind, gathered
from gateways.audit.head import Head, Mark
from gateways.audit.keys import Verifier
from schemas.trail import MISSING, Checkpoint, genesis

_SURE: Final = 32
"""So many records in a row, each naming the one before, and the chain is itself again."""
_LONGEST: Final = 20_000


class ChainInspection:
    """One chain. ``accepted`` is called with each of its records that is as it was written, as far as it can be told.

    ``head`` is what stands outside the broker; ``checkpoint_records`` how many records may lack a signature.
    """

    def __init__(
        self,
        name: str,
        head: Head | None,
        verifier: Verifier,
        checkpoint_records: int,
        accepted: Callable[[Seen], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.records = self.checkpoints = 0
        self.unsigned: list[bytes] = []
        """Digests behind the newest checkpoint."""
        self._head = head
        self._verifier = verifier
        self._most = checkpoint_records
        self._accepted = accepted
        self._anchor = Mark(sequence=-1, digest=genesis(name))
        self._sequence, self._digest = self._anchor.sequence, self._anchor.digest  # of the newest accepted
        self._pending: Seen | None = None
        self._stretch: list[Seen] = []
        self._linked = 0
        self._signed = -1
        self._key = -1  # how many keys signed before the newest that has signed a checkpoint
        self._spoiled = False
        self._faults: list[Fault] = []
        self._guilty = set[int]()
        self._gaps: list[range] = []
        self._extra: list[tuple[Seen, int]] = []
        self._expected_checkpoints = set[int]()
        self._cut: int | None = None
        """From here on records are missing because the end is."""

    def expects(self, seen: Seen) -> bool:
        """Whether a record stands on this chain's partition and names its newest, whatever else it says."""
        if self._head is not None and self._head.partition not in (None, seen.partition):
            return False
        return seen.previous == (self._pending.digest if self._pending else self._digest)

    def take(self, seen: Seen) -> None:
        """The next record that stands where this chain does."""
        if not self._stretch:
            pending = self._pending
            at, named = (pending.sequence, pending.digest) if pending else (self._sequence, self._digest)
            if seen.previous == named and seen.sequence == at + 1 and seen.key == self.name == seen.said:
                # Only what another record names is sure to be as it was written.
                if pending:
                    self._accept(pending)
                self._pending = seen
                return
            self._stretch, self._linked = [pending] if pending else [], 0
        last = self._stretch[-1] if self._stretch else None
        linked = last is not None and seen.key == self.name == seen.said and seen.follows(last.sequence, last.digest)
        self._linked = self._linked + 1 if linked else 0
        self._stretch.append(seen)
        if self._linked >= _SURE or len(self._stretch) >= _LONGEST:
            self._settle(end=None)

    def finish(self, latest: Head | None = None) -> list[Fault]:
        """All that is wrong, in order. ``latest`` is the head as it is once all is read: the chain may have grown."""
        newest = self._head.newest if self._head else None
        if self._stretch:
            self._settle(end=newest.sequence if newest else None)
        if self._pending:
            self._accept(self._pending)
            self._pending = None
        if newest is not None:
            self._cut = max([self._sequence, *self._guilty]) + 1
            self._gaps.append(range(self._cut, newest.sequence + 1))
        if latest is not None:
            self._hold(latest)
        self._settle_moved()
        # Where something behind the newest checkpoint is wrong, another may have been lost with it.
        if len(self.unsigned) > self._most and all(one.end <= self._signed for one in self._faults):
            said = f"no checkpoint signs it: {len(self.unsigned)} records stand behind the newest"
            self._faults.append(Fault(FaultKind.CHECKPOINT, self.name, self._signed + 1, said))
        return gathered(self._faults)

    def _hold(self, latest: Head) -> None:
        """What nobody has written yet nobody knows; and who signs does not go back to an older key."""
        end, known = self._sequence, [mark for mark in (latest.newest, latest.next) if mark]
        vouched = any(mark.sequence == end and mark.digest == self._digest for mark in known)
        if end > latest.newest.sequence and not vouched:
            said = "it follows, and the head does not know it: nobody of ours wrote it"
            self._faults.append(Fault(FaultKind.INSERTED, self.name, latest.newest.sequence + 1, said, last=end))
        if self._verifier.order(latest.key) < self._key:
            said = "its head is signed with a key that was retired before"
            self._faults.append(Fault(FaultKind.HEAD, self.name, latest.newest.sequence, said))

    def _settle(self, end: int | None) -> None:
        anchor = Mark(sequence=self._sequence, digest=self._digest)
        found = align(self.name, anchor, self._stretch, self._head.newest if self._head else None, end)
        self._faults += found.faults
        self._guilty |= {one.sequence for one in found.faults}
        self._gaps += found.gaps
        self._extra += found.extra
        for seen in found.path[:-1]:
            self._accept(seen)
        self._pending = found.path[-1] if found.path else None
        self._stretch, self._linked = [], 0

    def _accept(self, seen: Seen) -> None:
        sequence = seen.sequence
        guilty = sequence in self._guilty
        if sequence != self._sequence + 1 or guilty:
            self._spoiled = True
        self._sequence, self._digest = sequence, seen.digest
        self.records += 1
        head = self._head
        if head is not None and sequence == head.newest.sequence and seen.digest != head.newest.digest and not guilty:
            self._blame(FaultKind.CHANGED, seen, "its digest is not the one that the head knows")
            self._spoiled = guilty = True
        if seen.body.get("kind") == "checkpoint":
            self._check(seen, guilty)
        else:
            self.unsigned.append(bytes.fromhex(seen.digest[7:]))
            if not guilty and seen.body.get("digest") is None and seen.body.get("type") != MISSING:
                self._blame(FaultKind.CHANGED, seen, "it names no digest of what it is about")
                guilty = True
        if not guilty:
            self._accepted(seen)

    def _check(self, seen: Seen, guilty: bool) -> None:
        self.checkpoints += 1
        if not guilty:
            wrong = self._wrong(seen.body)
            if wrong:
                self._blame(FaultKind.CHECKPOINT, seen, wrong)
        self._signed, self.unsigned, self._spoiled = seen.sequence, [], False

    def _wrong(self, body: dict[str, Any]) -> str:
        try:
            checkpoint = Checkpoint.model_validate(body)
        except ValidationError:
            return "it is no checkpoint"
        if not self._verifier.knows(checkpoint.key):
            return f"it is signed with {checkpoint.key}, no key of this installation"
        if not genuine(checkpoint, self._verifier):
            return "its signature does not fit"
        if (order := self._verifier.order(checkpoint.key)) < self._key:
            return (
                f"it is signed with {checkpoint.key}, which was retired before (audit.retired names the oldest first)"
            )
        self._key = order
        before = self._signed if self._signed >= 0 else None
        if checkpoint.before != before and checkpoint.before is not None:
            self._expected_checkpoints.add(checkpoint.before)
        if self._spoiled:
            return ""
        last = checkpoint.sequence - 1
        if (checkpoint.before, checkpoint.first, checkpoint.last) != (before, self._signed + 1, last):
            return "it does not follow the checkpoint before it"
        if checkpoint.root != f"sha256:{merkle.root(self.unsigned).hex()}":
            return f"it does not sign records {checkpoint.first} to {checkpoint.last} as they stand"
        return ""

    def _settle_moved(self) -> None:
        """What is in the wrong place is not gone; the rest of what the chain skips is."""
        for seen, here in self._extra:
            gap = next((at for at, one in enumerate(self._gaps) if seen.sequence in one), None)
            if gap is None:
                said = f"nobody wrote it here; it says that it is record {seen.sequence}"
                self._faults.append(Fault(FaultKind.INSERTED, self.name, here, said, at=seen.at))
                continue
            free = self._gaps.pop(gap)
            self._gaps += [
                one for one in (range(free.start, seen.sequence), range(seen.sequence + 1, free.stop)) if one
            ]
            self._blame(FaultKind.REORDERED, seen, f"it stands where record {here} belongs")
        for missing in filter(None, self._gaps):
            for first, last, kind, said in self._gone(missing):
                self._faults.append(Fault(kind, self.name, first, said, last=last))

    def _gone(self, gap: range) -> list[tuple[int, int, FaultKind, str]]:
        if self._cut is not None and gap.start >= self._cut:
            said = "the chain ends before it, and its head knows it"
            return [(gap.start, gap.stop - 1, FaultKind.TRUNCATED, said)]
        found, first = [], gap.start
        for checkpoint in sorted(one for one in self._expected_checkpoints if one in gap):
            if checkpoint > first:
                found.append((first, checkpoint - 1, FaultKind.REMOVED, "it is not there"))
            found.append((checkpoint, checkpoint, FaultKind.CHECKPOINT, "a checkpoint is missing here"))
            first = checkpoint + 1
        if first < gap.stop:
            found.append((first, gap.stop - 1, FaultKind.REMOVED, "it is not there"))
        return found

    def _blame(self, kind: FaultKind, seen: Seen, said: str) -> None:
        self._guilty.add(seen.sequence)
        self._faults.append(Fault(kind, self.name, seen.sequence, said, at=seen.at))
