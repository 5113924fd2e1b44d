"""The audit trail on a real broker: its writer killed, overtaken and misled, and what leaves the house of it."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from shutil import copytree
from threading import Event, Thread
from typing import Any, Final, NamedTuple

import pytest
import rfc8785
from click.testing import CliRunner

from gateways import kafka
from gateways.audit import keys
from gateways.audit.head import Heads, Mark
from gateways.audit.keys import Verifier
from schemas.envelope import encode
from schemas.events import StudyTriaged
from schemas.failures import PortFailure
from schemas.identity import digest
from schemas.topics import AUDIT_TRAIL, topic_of
from sinsok.auditing import audited_topics
from sinsok.cli import cli
from sinsok.errors import UserError
from sinsok.stack.part import CHECKOUT
from sinsok.stack.processes import PROCESSES
from tests.integration.certificates import Authority
from tests.integration.syslog_server import SyslogDaemon
from tests.stack import Installation, RunningPart, free_port, install, wait_until
from tests.unit.schemas.examples import JOURNEY

pytestmark = [pytest.mark.integration, pytest.mark.record]

CHANGES: Final = "[audit]\ncheckpoint_records = 50\ncheckpoint_s = 1.5\n"
SCRIPT: Final = CHECKOUT / "docs" / "examples" / "python" / "verify_bundle.py"
RESULT: Final = next(event for event in JOURNEY if isinstance(event, StudyTriaged))


class Told(NamedTuple):
    """What a command said, and the one line of why it did not do it."""

    code: int
    said: str
    error: str


class House:
    """An installation with a broker, events that come, and as many auditors as one likes."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.bootstrap = installation.settings.kafka.bootstrap_servers
        self.auditor = installation.part("auditor")
        self.writer = kafka.producer(self.bootstrap)

    def publish(self, times: int = 1) -> None:
        """The whole journey of a study, some bytes that are no event, and a letter that does not say why it is dead."""
        for _ in range(times):
            for event in JOURNEY:
                message = encode(event)
                self.writer.produce(topic_of(event), key=message.key, value=message.value, headers=message.headers)
            self.writer.produce("triage.steps", b"\xff no event", b"k", headers=[("ce_type", b"\xff"), ("x", None)])
            self.writer.produce("dead.letters", None, None)
        assert self.writer.flush(10) == 0

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Events come while a test does something."""
        over = Event()

        def come() -> None:
            while not over.wait(0.4):
                self.publish()

        thread = Thread(target=come)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def trail(self) -> list[dict[str, Any]]:
        return [json.loads(record.value or b"") for record in kafka.read(self.bootstrap, [AUDIT_TRAIL.name])]

    def newest(self, home: Path | None = None) -> int:
        """The newest record of the busiest chain, as its head has it; -1 where it has none yet."""
        place = (home or self.installation.settings.home) / "audit" / "suwon.head"
        return int(json.loads(place.read_bytes())["newest"]["sequence"]) if place.exists() else -1

    def told(self, *arguments: str) -> Told:
        """The command line, in this process."""
        environment = {name: None for name in os.environ if name.startswith(("SINSOK_", "KAFKA_"))}
        configured = {**environment, "SINSOK_CONFIG": str(self.installation.path)}
        result = CliRunner().invoke(cli, ["audit", *arguments], env=configured)
        if isinstance(result.exception, UserError):
            return Told(result.exception.exit_code, result.output, str(result.exception))
        if isinstance(result.exception, PortFailure):
            return Told(1, result.output, str(result.exception))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Told(result.exit_code, result.output, "")

    def check_audited(self) -> None:
        """Every record on an event topic has one audit record, and no chain has a gap or a fork."""
        trail = self.trail()
        topics = [topic.name for topic in audited_topics(self.installation.settings)]
        there = Counter((one.topic, one.partition, one.offset) for one in kafka.read(self.bootstrap, topics))
        assert (
            Counter(
                tuple(one["where"][key] for key in ("topic", "partition", "offset"))
                for one in trail
                if one["kind"] == "event"
            )
            == there
        )
        for name in {one["chain"] for one in trail}:
            sequences = [one["sequence"] for one in trail if one["chain"] == name]
            assert sequences == list(range(len(sequences)))

    def other(self, folder: Path) -> RunningPart:
        """An auditor on another machine, as it were: with a copy of the key."""
        copytree(self.installation.settings.home / "keys", folder / "keys")
        ports = {"SINSOK_HEALTH__FIRST_PORT": str(free_port() - list(PROCESSES).index("auditor"))}
        environment = {**self.installation.environment, "SINSOK_HOME": str(folder), **ports}
        return RunningPart(replace(self.auditor.part, environment=environment), folder / "auditor.log")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    installation = install(tmp_path_factory.mktemp("audit"), changes=CHANGES)
    with installation.part("kafka"):
        house = House(installation)
        house.publish()
        house.auditor.start()
        yield house
        house.auditor.kill()


def test_killed_while_events_come_it_audits_each_once(house):
    random = Random(7)
    with house.coming():
        for _ in range(3):
            before = house.newest()
            wait_until(partial(grown, house, before), seconds=300, every_s=0.01)
            time.sleep(random.uniform(0, 0.3))  # between two transactions, or in the middle of one
            house.auditor.kill()
            house.auditor.start(wait=False)

    wait_until(house.check_audited, seconds=300, every_s=0.3)


def grown(house: House, before: int, home: Path | None = None) -> None:
    assert house.newest(home) > before


def test_of_two_only_one_writes(house, tmp_path):
    """Each begins, with the heads of the other, while that is asleep in the middle of its work."""
    here, there = house.installation.settings.home, tmp_path / "second"
    first, second = house.auditor, house.other(there)
    with house.coming():
        for old, home, new, place in ((first, here, second, there), (second, there, first, here)):
            old.signal(signal.SIGSTOP)
            copytree(home / "audit", place / "audit", dirs_exist_ok=True)
            new.kill()
            new.start(wait=False)
            wait_until(partial(grown, house, house.newest(place), place), seconds=300)
            old.signal(signal.SIGCONT)
            assert old.process.wait(30) == 1
            assert "another auditor has taken over" in old.log.read_text()
    second.kill()

    wait_until(house.check_audited, seconds=300, every_s=0.3)


def test_the_trail_verifies_and_says_who_did_what(house):
    house.publish()
    wait_until(house.check_audited, seconds=300, every_s=0.3)

    verified = house.installation.sinsok("audit", "verify", "--stream")
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
    assert verified.stdout.splitlines()[-1] == "as it was written"
    assert house.told("verify", "--chain", "suwon").said.startswith("suwon: ")
    told = [one for one in house.trail() if one["kind"] == "event"]
    assert {"dicom-gateway", "assemble", "alert", "escalate", "notifier", "pacs-writer"} <= {one["who"] for one in told}
    assert {one["type"] for one in told if one["chain"] == "sinsok"} >= {"undecodable", "DeadLetter"}
    assert not any(RESULT.study_uid in json.dumps(one) for one in told), "only study keys"


def test_a_bundle_is_checked_without_us_and_a_changed_one_is_named(house, tmp_path):
    out = tmp_path / "study.zip"
    made = house.told("export", "--study", RESULT.study_uid, "--out", str(out))
    assert (made.code, made.said.count("signed with sha256:")) == (0, 1), made

    public = house.installation.settings.home / "keys" / "audit.pub"
    assert checked(out, public).returncode == 0
    where = change(out, changed := tmp_path / "changed.zip")
    refused = checked(changed, public)
    assert refused.returncode == 1
    assert f"changed: event {RESULT.TYPE} at {where}" in refused.stdout
    assert "changed: events.json" in refused.stdout

    again = house.told("export", "--study", RESULT.study_uid, "--out", str(out))
    assert (again.code, again.error) == (1, f"{out} is there already: name another file")
    wait_until(partial(noted, house, "bundle of study"), seconds=300)
    later = tmp_path / "later.zip"
    assert house.told("export", "--study", RESULT.study_uid, "--out", str(later)).code == 0
    assert checked(later, public).returncode == 0, "the note of the first names the study, and is not about it"


def noted(house: House, what: str) -> None:
    acts = [one["what"] for one in house.trail() if one.get("type") == "sinsok.AuditExported.v1"]
    assert any(what in one for one in acts), acts


def checked(bundle: Path, public: Path) -> subprocess.CompletedProcess[str]:
    """The documented script, with nothing of ours on its path."""
    command = [sys.executable, "-I", str(SCRIPT), str(bundle), str(public)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def change(bundle: Path, changed: Path) -> str:
    """Let a result in a bundle be a millisecond later; where the result stood."""
    with zipfile.ZipFile(bundle) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    events = json.loads(files["events.json"])
    event = next(one for one in events if one["topic"] == "triage.results")
    event["timestamp_ms"] += 1
    files["events.json"] = json.dumps(events).encode()
    with zipfile.ZipFile(changed, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return f"{event['topic']}/{event['partition']}/{event['offset']}"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["verify", "--chain", "nowhere"], 1, "no chain 'nowhere'; chains are anseong, icheon, sinsok, suwon"),
        (["export", "--study", "1.2.3", "--out", "nothing.zip"], 1, "knows no study with this UID at any site"),
        (["export", "--study", "1.2.3", "--out", "nothing/at.zip"], 1, "there is no folder"),
        (["export", "--study", "1.2.3", "--site", "x", "--out", "nothing.zip"], 2, "there is no site 'x'"),
        (["export", "--syslog", "here"], 2, "give HOST:PORT"),
        (["export"], 2, "choose one"),
        (["init"], 1, "there are chains"),
        (["accept", "--chain", "suwon"], 1, "`sinsok down auditor` stops it"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(house, arguments, code, said):
    told = house.told(*arguments)

    assert (told.code, told.said, told.error.count("\n")) == (code, "", 0)
    assert said in told.error
    assert not Path("nothing.zip").exists()


def test_a_repository_takes_the_messages(house, tmp_path):
    with SyslogDaemon(tmp_path / "rsyslog", Authority(tmp_path / "ca")) as repository:
        address = f"127.0.0.1:{repository.port}"
        sent = house.told("export", "--syslog", address, "--ca", str(repository.ca))
        assert sent.code == 0, sent
        count = int(sent.said.split()[0])
        wait_until(partial(arrived, repository, count), seconds=300)
        taken = repository.taken()
        stranger = house.told("export", "--syslog", address)
    assert {(one.priority, one.version, one.message_id) for one in taken} == {("85", "1", "DICOM+RFC3881")}
    assert sum("DICOM Instances Accessed" in one.text and RESULT.study_uid in one.text for one in taken) > 0
    assert (stranger.code, "certificate is not accepted" in stranger.error) == (1, True)
    wait_until(partial(noted, house, f"syslog {address}, {count} records"), seconds=300)


def arrived(repository: SyslogDaemon, count: int) -> None:
    assert len(repository.taken()) == count > 0


def test_an_end_that_is_missing_is_found_and_can_be_accepted(house):
    """The head knows records that the topic has not, as after the broker came back from a backup."""
    house.auditor.kill()
    home = house.installation.settings.home
    signer, heads = keys.signer(home / "keys" / "audit.pem"), Heads(home / "audit")
    head = heads.read("suwon", Verifier([signer.public]))
    later = Mark(sequence=head.newest.sequence + 7, digest=head.newest.digest)
    heads.write(head.model_copy(update={"newest": later}), signer)

    verified = house.told("verify")
    assert verified.code == 1
    assert f"truncated: chain suwon, record {head.newest.sequence + 1} to {later.sequence}" in verified.said

    assert house.told("accept", "--chain", "suwon").code == 0
    house.auditor.start(wait=False)
    house.publish()
    wait_until(house.check_audited, seconds=300, every_s=0.3)
    assert house.told("verify").code == 0


def test_what_somebody_else_wrote_is_found_and_not_gone_on_with(house):
    """The last test here. What follows nothing is passed over; what follows the newest is for a person to judge."""
    house.auditor.kill()
    last = [one for one in house.trail() if one["chain"] == "suwon"][-1]
    follows = {"sequence": last["sequence"] + 1, "previous": digest(rfc8785.dumps(last))}
    for forged in ({"what": "nothing happened"}, follows):
        house.writer.produce(AUDIT_TRAIL.name, rfc8785.dumps({**last, **forged}), b"suwon")
    assert house.writer.flush(10) == 0

    house.auditor.start(wait=False)
    assert house.auditor.process.wait(30) == 1
    assert f"record {follows['sequence']} follows" in house.auditor.log.read_text().splitlines()[-1]
    assert "are not the chain's and passed over" in house.told("accept", "--chain", "suwon").said
    house.publish()
    house.auditor.kill()
    house.auditor.start(wait=False)
    wait_until(partial(grown, house, last["sequence"]), seconds=300)
    verified = house.told("verify")
    assert (verified.code, "inserted: chain suwon" in verified.said) == (1, True)
