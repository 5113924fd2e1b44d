"""When a consumer group is behind, and when nobody is in it."""

from gateways.watch.groups import Group, Place
from gateways.watch.lag import Lag, Watched
from gateways.watch.progress import Pace, Progress
from schemas.alarms import AlarmKind
from tests.unit.streams.examples import at

PLACE = Place("triage.studies", 3)


def group(committed: int, end: int, members: int = 1) -> Group:
    return Group(members, {PLACE: committed}, {PLACE: end})


def test_what_is_caught_up_with_is_fine_however_much_comes() -> None:
    progress = Progress()
    assert progress.look(group(5, 5), at(0), 60) is Pace.FINE
    assert progress.done_until == at(0)
    assert progress.look(group(8, 10), at(10), 60) is Pace.FINE, "it has passed what was there"
    assert (progress.done_until, progress.behind_s) == (at(0), 10.0)
    for number in range(2, 100):
        assert progress.look(group(10 * number - 10, 10 * number), at(10 * number), 60) is Pace.FINE
    assert progress.done_until == at(980)


def test_what_stands_still_is_late_after_its_time() -> None:
    progress = Progress()
    progress.look(group(5, 5), at(0), 60)
    assert progress.look(group(5, 9), at(10), 60) is Pace.FINE, "nothing of it was there ten seconds ago"
    assert progress.look(group(5, 9), at(20), 60) is Pace.UNKNOWN
    assert progress.look(group(5, 9), at(70), 60) is Pace.UNKNOWN
    assert progress.look(group(5, 9), at(71), 60) is Pace.LATE
    assert (progress.behind_s, progress.done_until) == (61.0, at(0))
    assert progress.look(group(9, 9), at(81), 60) is Pace.FINE
    assert (progress.behind_s, progress.done_until) == (0.0, at(81))


def test_a_constant_distance_is_late_each_time_and_never_fine_in_between() -> None:
    """One record a second, handled a hundred seconds later."""
    progress, paces = Progress(), []
    for second in range(0, 1000, 10):
        paces.append(progress.look(group(max(0, second - 100), second), at(second), 60))
    late = paces.index(Pace.LATE)
    assert Pace.FINE not in paces[late:]
    assert paces[late:].count(Pace.LATE) > 20


def test_after_a_restart_nothing_is_known_until_it_has_caught_up_or_failed_to() -> None:
    progress = Progress()
    assert progress.look(group(5, 50), at(0), 60) is Pace.UNKNOWN
    assert progress.look(group(5, 50), at(61), 60) is Pace.LATE


def test_what_is_no_longer_its_to_read_is_not_waited_for() -> None:
    progress = Progress()
    progress.look(group(5, 50), at(0), 60)
    other = Group(1, {Place("triage.studies", 4): 7}, {Place("triage.studies", 4): 9})
    assert progress.look(other, at(10), 60) is Pace.FINE


def test_alarms_of_groups() -> None:
    lag = Lag(
        {"sinsok-infer": Watched(AlarmKind.LAG, 60), "sinsok-archiver": Watched(AlarmKind.ARCHIVE_BEHIND, 600)}, 120
    )
    standing = {"sinsok-infer": group(5, 9), "sinsok-archiver": group(5, 9)}
    conditions, unknown = lag.judge(standing, at(0))
    assert (conditions, {key.subject for key in unknown}) == ([], set(standing))
    conditions, unknown = lag.judge(standing, at(61))
    (late,) = conditions
    assert (late.key, late.since, late.after_s) == (("sinsok", AlarmKind.LAG, "sinsok-infer"), at(0), 0)
    assert late.detail.startswith("sinsok-infer is behind: 4 unhandled, some since 2026-03-01 03:00:00 UTC")
    assert {key.kind for key in unknown} == {AlarmKind.ARCHIVE_BEHIND}
    conditions, unknown = lag.judge({"sinsok-infer": group(9, 9), "sinsok-archiver": group(0, 0, members=0)}, at(70))
    (nobody,) = conditions
    assert (nobody.key.kind, nobody.after_s, unknown) == (AlarmKind.ARCHIVE_BEHIND, 120, set())
    assert lag.behind_s == {"sinsok-infer": 0.0, "sinsok-archiver": 0.0}
