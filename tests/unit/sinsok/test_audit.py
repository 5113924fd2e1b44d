"""`sinsok audit`: the trail against the topics, what can be accepted of it, and what is sent of it."""

import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateways.archive import history
from gateways.audit import keys
from gateways.audit.account import Account, account, missing
from gateways.audit.chain import Chain
from gateways.audit.head import Heads
from gateways.audit.keys import Signer
from gateways.kafka import Record
from gateways.objects import FileStore
from schemas.audit import Origin
from schemas.topics import AUDIT_TRAIL, alerts
from sinsok import atna, auditing
from sinsok.settings import Settings, load
from tests.unit.gateways.audit.examples import AT, told
from tests.unit.schemas.examples import JOURNEY
from tests.unit.sinsok.commandline import record, sinsok


class Installation:
    """With one site; its topics hold what a test puts there, archive and broker as one."""

    def __init__(self, home: Path) -> None:
        self.settings = load()
        self.signer: Signer = keys.create(home / "keys" / "audit.pem")
        self.heads = Heads(home / "audit")
        self.topics: dict[str, list[Record]] = {}
        self.noted: list[tuple[str, int]] = []

    def read(
        self,
        _bootstrap: str,
        _store: FileStore,
        topics: Iterable[str],
        since: datetime | None = None,
        until: datetime | None = None,
        _offsets: object = None,
    ) -> Iterable[Record]:
        for topic in topics:
            for one in self.topics.get(topic, []):
                early = since is not None and one.timestamp_ms < since.timestamp() * 1000
                late = until is not None and one.timestamp_ms >= until.timestamp() * 1000
                if not early and not late:
                    yield one

    def note(self, _settings: Settings, _site: str, what: str, records: int) -> None:
        self.noted.append((what, records))

    def chain(self, name: str, *accounts: Account) -> Chain:
        """A chain of these, with its head."""
        chain = Chain.begin(name)
        self.on_trail(name, chain.checkpoint(self.signer, AT).value)
        for one in accounts:
            self.on_trail(name, chain.append(one).value)
        self.heads.write(chain.head(0, 0), self.signer)
        return chain

    def on_trail(self, name: str, value: bytes) -> None:
        trail = self.topics.setdefault(AUDIT_TRAIL.name, [])
        trail.append(Record(AUDIT_TRAIL.name, 0, len(trail), 0, name.encode(), [], value))

    def stands(self, one: Record) -> Account:
        """Put a record on its topic; what the trail says of it."""
        self.topics.setdefault(one.topic, []).append(one)
        return account(one, ["suwon", "icheon"], auditing.tell)[1]


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    path = tmp_path / "sinsok.toml"
    path.write_text('home = "home"\n[sites.suwon]\ncalled_ae = "S"\n')
    monkeypatch.setenv("SINSOK_CONFIG", str(path))
    made = Installation(tmp_path / "home")
    monkeypatch.setattr(history, "read", made.read)
    monkeypatch.setattr(auditing, "note_export", made.note)
    made.chain("sinsok")
    return made


def now_ms() -> int:
    return int(time.time() * 1000)


def test_a_site_that_was_taken_out_of_the_configuration_is_no_tampering(installation):
    event = Record(alerts("icheon").name, 0, 4, 1_000, None, [], b"?")
    installation.chain("suwon")
    installation.chain("icheon", installation.stands(event))

    verified = sinsok("audit", "verify", "--stream")

    assert (verified.code, verified.out.splitlines()[-1]) == (0, "as it was written"), verified


@pytest.mark.parametrize(("age_s", "code", "said"), [(0, 0, "1 records on the topics wait"), (7200, 1, "unaudited: ")])
def test_an_event_may_wait_for_its_audit_record_but_not_for_long(installation, age_s, code, said):
    installation.chain("suwon")
    installation.stands(Record("triage.steps", 0, 4, now_ms() - age_s * 1000, None, [], b"?"))

    verified = sinsok("audit", "verify", "--stream")

    assert (verified.code, said in verified.out) == (code, True), verified


def test_what_somebody_wrote_behind_a_chain_can_be_passed_over(installation):
    chain = installation.chain("suwon", told(1))
    installation.on_trail("suwon", chain.copy().append(told(99, "nothing happened")).value)
    installation.on_trail("suwon", b"?")

    assert "inserted: chain suwon, record 2" in sinsok("audit", "verify", "--chain", "suwon").out
    accepted = sinsok("audit", "accept", "--chain", "suwon")

    assert (accepted.code, accepted.err) == (0, "")
    assert accepted.out.startswith("chain suwon goes on behind record 1\n2 records under its key are not the chain's")
    head = installation.heads.read("suwon", keys.Verifier([installation.signer.public]))
    assert head is not None
    assert (head.newest, head.seen) == (chain.newest, 5)


class Repository:
    """Takes messages."""

    def __init__(self) -> None:
        self.taken: list[datetime] = []

    def __enter__(self) -> None:
        """It answers."""

    def __exit__(self, *_: object) -> None:
        """It has all."""

    def send(self, _xml: bytes, at: datetime) -> None:
        self.taken.append(at)


def test_messages_are_sent_a_few_at_a_time_and_what_is_no_record_is_counted(installation, monkeypatch):
    monkeypatch.setattr(atna, "_AT_ONCE", 3)
    events = [record(event, 1_000 * number, number) for number, event in enumerate(JOURNEY)]
    told_of = [installation.stands(one) for one in events]
    changed = installation.topics[events[0].topic]
    changed[changed.index(events[0])] = Record(events[0].topic, 0, 0, 0, None, [], b"changed")
    late = Record("triage.steps", 5, 1, 2**63 - 1, None, [], b"?")  # whose clock shows no time that there is
    gap = missing(Origin(topic="triage.steps", partition=7, offset=0), 3, AT)
    installation.chain("suwon", *told_of, installation.stands(late), gap)
    installation.on_trail("suwon", b"{")
    repository: Any = Repository()

    sent = atna.send_messages(installation.settings, repository, "arr:6514", None, None)

    assert sent.messages == len(repository.taken) > 10
    assert (sent.gone, sent.foreign) == (1, 1)
    assert sent.messages + sent.others == len(JOURNEY) - 1 + 2
    assert installation.noted == [("syslog arr:6514", sent.messages)]
