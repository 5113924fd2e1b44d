"""Where a stretch of a chain is not as it was written: which records are the chain, and what happened to the others.

The chain is the way through the stretch with most records in rising order, where a record that names the one before by
its digest counts most. What is left over was changed, put in or moved; what the way skips was taken out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import rfc8785

from gateways.audit.fault import Fault, FaultKind
from gateways.audit.head import Mark
from schemas.identity import digest
from schemas.topics import AUDIT_TRAIL

_LOOK_BACK: Final = 256
"""So far before it a record is looked for the one it follows."""
_THERE, _LINKED, _IN_PLACE = 10, 20, 1
"""What counts for the way: a record, that it names the one before, and that it is where it would be undisturbed."""


class Seen(NamedTuple):
    """A record as it stands on the topic."""

    key: str
    partition: int
    offset: int
    digest: str
    sequence: int
    """-1 where the value cannot be read."""
    previous: str
    said: str
    """The chain that the value names."""
    body: dict[str, Any]

    def follows(self, sequence: int, named: str) -> bool:
        """Whether it is the next record behind this one."""
        return self.sequence == sequence + 1 and self.previous == named

    @property
    def at(self) -> tuple[str, int, int]:
        """Where it stands."""
        return AUDIT_TRAIL.name, self.partition, self.offset


@dataclass
class Alignment:
    """``path`` is the chain through a stretch, ``extra`` what may have been moved there, ``gaps`` what is skipped."""

    path: list[Seen]
    faults: list[Fault] = field(default_factory=list)
    extra: list[tuple[Seen, int]] = field(default_factory=list)
    """Each with the sequence that it stands in the place of."""
    gaps: list[range] = field(default_factory=list)


def align(name: str, anchor: Mark, items: Sequence[Seen], vouched: Mark | None, end: int | None) -> Alignment:
    """Tell what happened to a stretch behind ``anchor``, a record that another has named.

    ``vouched`` is the head's record; ``end`` the last sequence that there should be, where the chain ends here.
    """
    names = {anchor.digest: anchor.sequence} | {one.digest: one.sequence for one in items}
    ours = [
        one.key == name == one.said and names.get(one.previous, one.sequence - 1) == one.sequence - 1 for one in items
    ]
    chosen = _way(anchor, items, ours)
    found = Alignment([items[at] for at in chosen])
    before, place = anchor, 0
    for at in [*chosen, len(items)]:
        between = range(place, at)
        if at < len(items):
            until = items[at].sequence
        else:
            until = before.sequence + 1 if end is None else max(end, before.sequence) + 1
        free = range(before.sequence + 1, until)
        for index in between:
            free = _leftover(name, before, items[index], ours[index], free, found)
        if at < len(items):
            if free:
                found.gaps.append(free)
            before, place = Mark(sequence=items[at].sequence, digest=items[at].digest), at + 1
    found.faults += _changed(name, anchor, found.path, vouched)
    return found


def _way(anchor: Mark, items: Sequence[Seen], ours: Sequence[bool]) -> list[int]:
    best: dict[int, tuple[int, int | None]] = {}
    order: list[int] = []
    for at, one in enumerate(items):
        if not ours[at] or one.sequence <= anchor.sequence:
            continue
        score, come = (_LINKED if one.follows(anchor.sequence, anchor.digest) else 0), None
        for earlier in order[-_LOOK_BACK:]:
            other = items[earlier]
            if other.sequence < one.sequence:
                reached = best[earlier][0] + (_LINKED if one.follows(other.sequence, other.digest) else 0)
                if reached > score:
                    score, come = reached, earlier
        in_place = one.sequence == anchor.sequence + 1 + at
        best[at] = (score + _THERE + (_IN_PLACE if in_place else 0), come)
        order.append(at)
    way: list[int] = []
    at_end = max(best, key=lambda at: best[at][0], default=None)
    while at_end is not None:
        way.append(at_end)
        at_end = best[at_end][1]
    return way[::-1]


def _leftover(name: str, before: Mark, one: Seen, ours: bool, free: range, found: Alignment) -> range:
    """Say what a record off the way is; the sequences that are still free in its place."""
    here = free[0] if free else before.sequence + 1
    if ours:
        found.extra.append((one, here))
        return free
    if one.sequence >= 0 and one.said != name and one.previous != before.digest:
        said = f"it is record {one.sequence} of {one.said}"
        found.faults.append(Fault(FaultKind.SPLICED, name, here, said, at=one.at))
    elif not free:
        found.faults.append(Fault(FaultKind.INSERTED, name, here, "nobody wrote it", at=one.at))
    else:
        found.faults.append(Fault(FaultKind.CHANGED, name, here, _altered(name, one), at=one.at))
    return free[1:]


def _altered(name: str, one: Seen) -> str:
    if one.sequence < 0:
        return "it cannot be read"
    if one.key != name:
        return "its key is another"
    return "it names another chain" if one.said != name else f"it says that it is record {one.sequence}"


def _changed(name: str, anchor: Mark, path: Sequence[Seen], vouched: Mark | None) -> list[Fault]:
    """Of two neighbours that do not fit, the one that changed."""
    marks = [anchor, *(Mark(sequence=one.sequence, digest=one.digest) for one in path)]
    broken = [
        after.sequence == mark.sequence + 1 and after.previous != mark.digest
        for mark, after in zip(marks, path, strict=False)
    ]
    faults: list[Fault] = []
    at = 0
    while at < len(path):
        if broken[at]:
            after = path[at]
            follower = path[at + 1] if at + 1 < len(path) else None
            named = _named(after, follower, vouched)
            later = at == 0 or marks[at] == vouched or (named != after.digest and _restored(after, marks[at]) == named)
            guilty = after if later else path[at - 1]
            faults.append(Fault(FaultKind.CHANGED, name, guilty.sequence, "its digest is another", at=guilty.at))
            if later and at + 1 < len(path) and broken[at + 1]:
                at += 1
        at += 1
    return faults


def _named(one: Seen, follower: Seen | None, vouched: Mark | None) -> str | None:
    """The digest that a record must have, if anybody says."""
    if follower is not None and follower.sequence == one.sequence + 1:
        return follower.previous
    return vouched.digest if vouched is not None and vouched.sequence == one.sequence else None


def _restored(one: Seen, before: Mark) -> str | None:
    """The digest it would have if it named the record before it."""
    try:
        return digest(rfc8785.dumps({**one.body, "previous": before.digest}))
    except ValueError:
        return None
