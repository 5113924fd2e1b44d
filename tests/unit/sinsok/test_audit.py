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
from schemas.failures import BrokerAway, Unreadable
from schemas.topics import AUDIT_TRAIL, alerts
from sinsok import atna, auditing
from sinsok.commands import audit
from sinsok.settings import Settings, load
from tests.unit.gateways.audit.examples import AT, told
from tests.unit.schemas.examples import JOURNEY
from tests.unit.sinsok.commandline import FAULT, NOT_WHOLE, lacking, record, sinsok


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
        _on_fault: object = None,
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


def test_what_the_archive_lost_is_told_and_the_trail_is_held_against_the_rest(installation, monkeypatch):
    steps = [Record("triage.steps", 0, offset, 1_000, None, [], b"%d" % offset) for offset in range(9)]
    installation.chain("suwon", *[installation.stands(one) for one in steps])
    kept = [steps[offset] for offset in (0, 4, 5, 8)]
    installation.topics["triage.steps"] = [*kept[:2], Record("triage.steps", 0, 5, 1_000, None, [], b"?"), kept[3]]
    monkeypatch.setattr(history, "read", lacking(installation.read))

    verified = sinsok("audit", "verify", "--stream")

    assert verified.code == 1
    lost = "is neither on triage.steps nor readable in the archive"
    assert verified.out.splitlines()[2:] == [
        f"removed: chain suwon, record 2 at triage.steps/0/1: what is audited from here to 3 {lost}",
        "changed: chain suwon, record 6 at triage.steps/0/5: what stands there is not what was audited",
        f"removed: chain suwon, record 7 at triage.steps/0/6: what is audited from here to 7 {lost}",
        "3 faults",
    ]
    fault, last = verified.err.splitlines()
    assert fault == FAULT
    assert last.startswith(f"error: {NOT_WHOLE}")


def test_what_chains_know_of_a_partition_is_one_fault_where_it_is_lost(installation):
    one, other, third = (installation.stands(Record("triage.steps", 0, at, 1_000, None, [], b"?")) for at in range(3))
    installation.chain("suwon", other, third)
    installation.chain("icheon", one)
    installation.topics["triage.steps"] = []

    removed = [line for line in sinsok("audit", "verify", "--stream").out.splitlines() if line.startswith("removed")]

    lost = "is neither on triage.steps nor readable in the archive"
    assert removed == [f"removed: chain icheon, record 1 at triage.steps/0/0: what is audited from here to 2 {lost}"]


@pytest.mark.parametrize("end", [7, 4])
def test_what_was_not_compared_is_told(installation, end):
    steps = [Record("triage.steps", 0, offset, 1_000, None, [], b"?") for offset in range(6)]
    installation.chain("suwon", *[installation.stands(one) for one in steps])
    trail = installation.topics[AUDIT_TRAIL.name]
    installation.topics[AUDIT_TRAIL.name] = [one for one in trail if one.key == b"sinsok" or not 4 <= one.offset <= end]

    (line,) = [one for one in sinsok("audit", "verify", "--stream").out.splitlines() if one.startswith("unaudited")]

    told = f"{end - 3} records from here to {end - 2} have no audit record: not compared, since the trail lacks some"
    assert line == f"unaudited: chain none, record 0 at triage.steps/0/2: {told}"


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_what_the_archive_lost_of_the_trail_is_missing_to_its_chain(installation, monkeypatch, stream):
    installation.chain("suwon", *[told(number) for number in range(60)])
    trail = installation.topics[AUDIT_TRAIL.name]
    installation.topics[AUDIT_TRAIL.name] = [*trail[:8], *trail[12:]]
    monkeypatch.setattr(history, "read", lacking(installation.read))

    verified = sinsok("audit", "verify", *stream)

    assert verified.code == 1
    assert "removed: chain suwon, record 7 to 10: it is not there" in verified.out.splitlines()
    assert verified.err.splitlines()[0] == FAULT
    assert NOT_WHOLE in verified.err.splitlines()[-1]


def test_a_fault_of_the_archive_alone_is_none_of_the_trail(installation, monkeypatch):
    installation.chain("suwon")
    monkeypatch.setattr(history, "read", lacking(installation.read))

    verified = sinsok("audit", "verify")

    assert (verified.code, verified.out.splitlines()[-1]) == (1, "as it was written")
    assert NOT_WHOLE in verified.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--study", "1.2", "--out", "x.zip", "--from", "2026-01-01"], "--study goes without --from"),
        (["--study", "1.2", "--out", "x.zip", "--to", "2026-01-01"], "--study goes without --to"),
        (["--study", "1.2", "--ca", "x", "--cert", "y", "--key", "z"], "--study goes without --ca, --cert, --key"),
        (["--syslog", "arr:6514", "--site", "suwon"], "--syslog goes without --site"),
        (["--syslog", "arr:6514", "--out", "x.zip"], "--syslog goes without --out"),
    ],
)
def test_options_of_the_other_export_are_refused(installation, arguments, said):
    assert sinsok("audit", "export", *arguments) == (2, "", f"error: {said}\n")


@pytest.mark.parametrize(
    ("away", "remedy"), [(BrokerAway("away"), "; `sinsok status` shows what runs"), (Unreadable("gone"), "")]
)
def test_what_was_sent_before_something_failed_is_told(installation, monkeypatch, away, remedy):
    def read(*_: object) -> Iterable[Record]:
        raise away

    monkeypatch.setattr(history, "read", read)
    monkeypatch.setattr(audit, "SyslogServer", lambda *_: Repository())
    answer = sinsok("audit", "export", "--syslog", "arr:6514")
    assert (answer.code, answer.err) == (1, f"error: {away}; 0 messages had been sent{remedy}\n")
    assert installation.noted == [("syslog arr:6514", 0)]
