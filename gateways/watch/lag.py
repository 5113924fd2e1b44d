"""Consumer groups that are behind, or that nobody is in: what is on their topics waits."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from gateways.watch.condition import Condition, Key
from gateways.watch.groups import Group
from gateways.watch.progress import Pace, Progress
from schemas.alarms import AlarmKind
from schemas.audit import INSTALLATION


class Watched(NamedTuple):
    """A consumer group that has to be there and to keep up."""

    kind: AlarmKind
    late_after_s: float
    joins: bool = True
    """Whether its process is a member; one that chooses its partitions by itself is none."""


class Judgement(NamedTuple):
    """What a look at the groups found, and of which it cannot tell yet."""

    conditions: list[Condition]
    unknown: set[Key]


class Lag:
    """Follows the groups from look to look."""

    def __init__(self, groups: Mapping[str, Watched], no_reader_after_s: float) -> None:
        self._groups = dict(groups)
        self._no_reader_after_s = no_reader_after_s
        self._progress = {name: Progress() for name in groups}

    @property
    def behind_s(self) -> dict[str, float]:
        """For how long records have been waiting for each group, in seconds."""
        return {name: progress.behind_s for name, progress in self._progress.items()}

    def judge(self, found: Mapping[str, Group], now: datetime) -> Judgement:
        """Take in how the groups are now."""
        judgement = Judgement([], set())
        for name, (kind, late_after_s, joins) in self._groups.items():
            group, progress, key = found[name], self._progress[name], Key(INSTALLATION, kind, name)
            pace = progress.look(group, now, late_after_s)
            # Who has committed nothing has read nothing; what was committed is forgotten a week after the last reader.
            if (joins and not group.members) or not (joins or group.ends):
                detail = f"nobody reads as {name}: `sinsok status` shows which process does not run, its log why"
                judgement.conditions.append(Condition(key, now, detail, after_s=self._no_reader_after_s))
            elif pace is Pace.LATE:
                since = now - timedelta(seconds=progress.behind_s)
                detail = (
                    f"{name} is behind: {group.waiting} unhandled, some since {since:%Y-%m-%d %H:%M:%S} UTC:"
                    " /readyz of the process says what it waits for"
                )
                judgement.conditions.append(Condition(key, since, detail))
            elif pace is Pace.UNKNOWN:
                judgement.unknown.add(key)
        return judgement
