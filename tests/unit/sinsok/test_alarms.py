"""`sinsok alarms`: what is wrong, and the studies at which no AI has looked."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateways.kafka import Record
from gateways.watch.ledger import Ledger
from gateways.watch.studies import Study
from schemas.alarms import AlarmCleared, AlarmKind, AlarmRaised
from schemas.failures import BrokerAway
from sinsok.commands import alarms
from tests.unit.sinsok.commandline import record, sinsok
from tests.unit.streams.examples import at


def raised(site: str, kind: AlarmKind, subject: str, since: float, detail: str = "look at it") -> AlarmRaised:
    return AlarmRaised(time=at(since + 5), site=site, kind=kind, subject=subject, since=at(since), detail=detail)


SILENT = raised("suwon", AlarmKind.SCANNER_SILENT, "suwon/CT1", 10)
LAG = raised("sinsok", AlarmKind.LAG, "sinsok-infer", 5, detail="it is\x1b[31m behind")
OVER = raised("icheon", AlarmKind.SITE_SILENT, "icheon", 0)
CLEARED = AlarmCleared(time=at(90), site="icheon", kind=OVER.kind, subject=OVER.subject, since=OVER.since)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sinsok.toml"
    path.write_text('home = "home"\n[sites.suwon]\ncalled_ae = "S"\n[sites.icheon]\ncalled_ae = "I"\n')
    monkeypatch.setenv("SINSOK_CONFIG", str(path))
    return tmp_path / "home"


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(bootstrap: str, topics: list[str]) -> Iterator[Record]:
        assert topics == ["operations.alarms"]
        yield from (record(event, 0) for event in (SILENT, OVER, LAG, CLEARED))

    monkeypatch.setattr(alarms, "read", read)


@pytest.mark.usefixtures("topic")
def test_what_is_wrong_now_the_longest_first() -> None:
    lines = sinsok("alarms").out.splitlines()
    assert [line.split()[:2] for line in lines] == [["lag", "sinsok"], ["scanner_silent", "suwon"]]
    assert "it is\\x1b[31m behind" in lines[0]
    assert len(sinsok("alarms", "--site", "icheon").out.splitlines()) == 1, "the installation's are everybody's"


@pytest.mark.usefixtures("topic")
def test_also_what_is_over() -> None:
    told = [json.loads(line) for line in sinsok("alarms", "--all", "--json").out.splitlines()]
    assert [one["subject"] for one in told] == ["icheon", "sinsok-infer", "suwon/CT1"]
    assert told[0] == {
        "site": "icheon",
        "kind": "site_silent",
        "subject": "icheon",
        "since": at(0).isoformat(),
        "cleared": at(90).isoformat(),
        "detail": "look at it",
    }
    assert "over since" in sinsok("alarms", "--all").out.splitlines()[0]


def test_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "read", lambda *_: iter(()))
    assert sinsok("alarms") == (0, "nothing is wrong\n", "")
    assert sinsok("alarms", "--json").out == ""
    assert sinsok("alarms", "--all").out == "no alarm was ever raised\n"


def test_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> Iterator[Record]:
        raise BrokerAway("Kafka does not answer")

    monkeypatch.setattr(alarms, "read", away)
    assert sinsok("alarms") == (1, "", "error: Kafka does not answer; `sinsok status` shows what runs\n")


def test_studies_at_which_no_ai_has_looked(home: Path) -> None:
    home.joinpath("watch").mkdir(parents=True)
    ledger, now = Ledger(home / "watch" / "ledger.sqlite"), datetime.now(UTC)
    studies = {
        "long": Study(site="suwon", study_uid="2.25.1", assembled=2, assembled_at=now - timedelta(hours=2)),
        "now": Study(site="suwon", study_uid="2.25.2", assembled=1, assembled_at=now),
        "failed": Study(
            site="icheon", study_uid="2.25.3", assembled=1, answered=1, assembled_at=now - timedelta(hours=3), said="no"
        ),
    }
    with ledger.transaction():
        for key, study in studies.items():
            ledger.put(key, study, now)
    ledger.close()
    told = [json.loads(line) for line in sinsok("alarms", "--ai", "--json").out.splitlines()]
    assert [(one["study_uid"], one["revision"], one["reason"]) for one in told] == [
        ("2.25.3", 1, "no"),
        ("2.25.1", 2, "no result"),
    ]
    assert "study 2.25.1  revision 2: no result" in sinsok("alarms", "--ai", "--site", "suwon").out


def test_wrong_usage_and_no_ledger(home: Path) -> None:
    assert sinsok("alarms", "--ai", "--all").code == 2
    assert "there is no site 'busan': choose one of suwon, icheon" in sinsok("alarms", "--site", "busan").err
    assert f"there is no ledger at {home}/watch/ledger.sqlite" in sinsok("alarms", "--ai").err
