"""What the watcher remembers over a restart, and what it would say after one."""

from pathlib import Path

from gateways.watch.alarms import Alarms, alarms
from gateways.watch.condition import Condition, Key, settle
from gateways.watch.intake import Intake
from gateways.watch.ledger import Ledger
from schemas.alarms import AlarmKind
from tests.unit.gateways.watch.test_studies import FINAL, FIRST, SECOND, result
from tests.unit.sinsok.commandline import record
from tests.unit.streams.examples import at

KEY = Key("suwon", AlarmKind.LAG, "sinsok-infer")


def intake(ledger: Ledger) -> Intake:
    def nobody() -> None:
        raise AssertionError("it is given events by hand")

    return Intake(ledger, nobody)  # type: ignore[arg-type]


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    began, reader = ledger.began_at, ledger.reader
    intake(ledger).take([FIRST, SECOND])
    standing, _ = settle({}, [Condition(KEY, at(0), "behind")], [AlarmKind.LAG], (), at(10))
    with ledger.transaction():
        ledger.stand(standing)
    ledger.close()
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert (ledger.began_at, ledger.reader, ledger.adopted) == (began, reader, False)
    assert ledger.heard() == {("suwon", "CT1"): SECOND.series.last_image_at}
    assert [study.waits_since for study in ledger.under_way()] == [at(1)]
    assert ledger.standing() == standing
    ledger.close()


def test_a_lost_ledger_reads_under_another_name(tmp_path: Path) -> None:
    first, second = Ledger(tmp_path / "first.sqlite"), Ledger(tmp_path / "second.sqlite")
    assert first.reader != second.reader
    first.close()
    second.close()


def test_only_studies_of_which_something_is_to_come_are_looked_at(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    taker = intake(ledger)
    taker.take([SECOND, FINAL])
    assert len([*ledger.under_way()]) == 1
    taker.take([result(FINAL)])
    assert [*ledger.under_way()] == []
    study = ledger.study(SECOND.key)
    assert study is not None
    assert study.done
    ledger.forget(at(1000))
    assert ledger.study(SECOND.key) is None
    assert ledger.heard(), "when it was heard is not forgotten with its studies"
    ledger.close()


def test_an_older_image_does_not_turn_back_the_time(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with ledger.transaction():
        ledger.hear("suwon", "CT1", at(50))
        ledger.hear("suwon", "CT1", at(20))
    assert ledger.heard() == {("suwon", "CT1"): at(50)}
    ledger.close()


def test_the_alarms_that_stand_come_out_of_the_topic_in_any_order() -> None:
    condition, kinds = Condition(KEY, at(0), "behind"), [AlarmKind.LAG]
    standing, (raised,) = settle({}, [condition], kinds, (), at(10))
    _, (cleared,) = settle(standing, [], kinds, (), at(20))
    _, (again,) = settle({}, [Condition(KEY, at(30), "behind again")], kinds, (), at(40))
    for events in ((raised, cleared, again), (again, cleared, raised, raised)):
        found = alarms(record(event, 0) for event in events)
        assert [event.since for event in found.standing] == [at(30)]
        assert [(event.since, over) for event, over in found.all] == [(at(0), at(20)), (at(30), None)]
    found = Alarms()
    for event in (raised, cleared, again):
        found.take(event)
    found.forget(at(21))
    assert [event.since for event, _ in found.all] == [at(30)]
