"""What was found to be wrong, against what stands: which alarms begin, and which are over."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from schemas.alarms import AlarmCleared, AlarmEvent, AlarmKind, AlarmRaised

REPEAT: Final = timedelta(days=1)
"""A standing alarm is said again after it, as the same event: topics forget, and what is read of them begins late."""


class Key(NamedTuple):
    """What makes it the same trouble from look to look."""

    site: str
    kind: AlarmKind
    subject: str


@dataclass(frozen=True)
class Condition:
    """Something is wrong, as one look has it."""

    key: Key
    since: datetime
    """As far as this look can tell; what stands already keeps its own."""
    detail: str
    after_s: float = 0.0
    """Only once it has lasted for so long does a person have to look."""
    renews: bool = False
    """Another ``since`` is another trouble, and not the old one seen from elsewhere."""


@dataclass(frozen=True)
class Standing:
    """A trouble that has not ended yet."""

    since: datetime
    detail: str
    raised_at: datetime | None = None
    """When a person was last told; None where nobody was yet."""


class Settled(NamedTuple):
    """What stands from now on, and what to say of it."""

    standing: dict[Key, Standing]
    events: list[AlarmEvent]


def settle(
    standing: Mapping[Key, Standing],
    found: Iterable[Condition],
    judged: Collection[AlarmKind],
    unknown: Collection[Key],
    now: datetime,
) -> Settled:
    """One look. What is of no kind that was ``judged``, or is ``unknown`` this time, stands as it stood."""
    found = list(found)
    seen = {one.key for one in found} | set(unknown)
    new: dict[Key, Standing] = {}
    events: list[AlarmEvent] = []
    for key, old in standing.items():
        if key.kind not in judged or key in seen:
            new[key] = old
        elif old.raised_at is not None:
            events.append(_cleared(key, old, now))
    for one in found:
        known = new.get(one.key)
        if known is not None and one.renews and known.since != one.since:
            if known.raised_at is not None:
                events.append(_cleared(one.key, known, now))
            known = None
        now_standing = Standing(one.since, one.detail) if known is None else replace(known, detail=one.detail)
        if _is_due(now_standing, one, now):
            now_standing = replace(now_standing, raised_at=now)
            events.append(_raised(one.key, now_standing, now))
        new[one.key] = now_standing
    return Settled(new, events)


def _is_due(standing: Standing, found: Condition, now: datetime) -> bool:
    if standing.raised_at is not None:
        return now - standing.raised_at >= REPEAT
    return now - standing.since >= timedelta(seconds=found.after_s)


def _raised(key: Key, standing: Standing, now: datetime) -> AlarmRaised:
    return AlarmRaised(**key._asdict(), time=now, since=standing.since, detail=standing.detail)


def _cleared(key: Key, standing: Standing, now: datetime) -> AlarmCleared:
    return AlarmCleared(**key._asdict(), time=now, since=standing.since)
