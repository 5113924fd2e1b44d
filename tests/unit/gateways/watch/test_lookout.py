"""What one look does, and what it still does where the broker does not answer."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateways.watch.certificates import CertificateFile
from gateways.watch.groups import Group, Groups, Place
from gateways.watch.lag import Watched
from gateways.watch.ledger import Ledger
from gateways.watch.lookout import Lookout, Surroundings
from gateways.watch.settings import WatchSettings
from schemas.alarms import AlarmEvent, AlarmKind
from schemas.envelope import decode
from schemas.failures import Unavailable
from tests.unit.streams.examples import at

PLACE = Place("dicom.series", 0)


class Broker:
    """Answers for the groups as it is told to."""

    def __init__(self) -> None:
        self.own = Group(1, {PLACE: 3}, {PLACE: 3})
        self.away = False

    def look(self, names: list[str]) -> dict[str, Group]:
        if self.away:
            raise Unavailable("Kafka does not answer")
        return dict.fromkeys(names, self.own)


class Tower:
    """A lookout with a clock, a broker and a ledger."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.now = at(0)
        self.broker = broker
        self.ledger = Ledger(folder / "ledger.sqlite")
        with self.ledger.transaction():
            self.ledger.adopt()
            self.ledger.hear("suwon", "CT1", at(0))
        gone = CertificateFile("suwon", "sites.suwon.pacs.tls.ca", folder / "gone.pem")
        around = Surroundings(
            {"suwon": 900.0}, ZoneInfo("Asia/Seoul"), {"sinsok-infer": Watched(AlarmKind.LAG, 60.0)}, {}, [gone]
        )
        settings = WatchSettings(site_silent_after_s=60)
        self.lookout = Lookout(self.ledger, settings, around, "127.0.0.1:1", self.time)

    def time(self) -> datetime:
        return self.now

    def said(self) -> list[AlarmEvent]:
        events = [decode(row.message.headers, row.message.value) for row in self.ledger.outbox(100)]
        return [event for event in events if isinstance(event, AlarmEvent)]


@pytest.fixture
def tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tower]:
    broker = Broker()
    monkeypatch.setattr(Groups, "look", lambda _, names: broker.look(names))
    tower = Tower(tmp_path, broker)
    yield tower
    tower.lookout.close()
    tower.ledger.close()


def kinds(events: list[AlarmEvent]) -> list[tuple[str, str]]:
    return [(type(event).__name__, event.kind) for event in events]


def test_what_is_found_goes_into_the_outbox_once(tower: Tower) -> None:
    tower.now = at(61)
    for _ in range(3):
        tower.lookout.look()
    assert kinds(tower.said()) == [("AlarmRaised", "certificate"), ("AlarmRaised", "site_silent")]
    certificate, silent = tower.said()
    assert (certificate.site, silent.since) == ("suwon", at(0))


def test_nothing_is_judged_by_what_is_not_known_yet(tower: Tower) -> None:
    """The watcher is behind: an image may stand on the topic that it has not read."""
    tower.broker.own = Group(1, {PLACE: 3}, {PLACE: 9})
    for seconds in (61, 71, 1000):
        tower.now = at(seconds)
        tower.lookout.look()
    assert tower.lookout.known_until is None
    assert ("AlarmRaised", "site_silent") not in kinds(tower.said())
    tower.broker.own = Group(1, {PLACE: 9}, {PLACE: 9})
    tower.lookout.look()
    assert tower.lookout.known_until == at(1000)
    assert ("AlarmRaised", "site_silent") in kinds(tower.said())


def test_a_reader_that_has_nothing_assigned_knows_nothing(tower: Tower) -> None:
    tower.broker.own = Group(0, {}, {})
    tower.now = at(61)
    tower.lookout.look()
    assert tower.lookout.known_until is None


def test_without_a_broker_the_rest_is_looked_at_and_the_alarms_stand(tower: Tower) -> None:
    tower.now = at(61)
    tower.lookout.look()
    before = tower.ledger.standing()
    tower.broker.away = True
    tower.now = at(5000)
    with pytest.raises(Unavailable):
        tower.lookout.look()
    assert tower.ledger.standing() == before
    tower.broker.away = False
    with tower.ledger.transaction():
        tower.ledger.hear("suwon", "CT1", at(4999))
    tower.lookout.look()
    assert kinds(tower.said())[-1] == ("AlarmCleared", "site_silent")


def test_a_broker_that_is_away_at_first_hides_no_certificate(tower: Tower) -> None:
    tower.broker.away = True
    with pytest.raises(Unavailable):
        tower.lookout.look()
    assert kinds(tower.said()) == [("AlarmRaised", "certificate")]
