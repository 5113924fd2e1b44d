"""A burst of poison on every topic: the bytes are in the dead letters, and the next study passes.

What was astray is found in the console, sent back, and ends as it should.
"""

import json
import random
import re
from typing import NamedTuple

import httpx
import pytest

from gateways.console.accounts import Accounts
from gateways.console.settings import Grant
from gateways.kafka import producer
from schemas.audit import LetterRequeued, Role
from schemas.envelope import EVENT_TYPES, decode, encode
from schemas.events import Outcome, SeriesReceived, StudyTriaged
from schemas.topics import AUDIT_ACTS, DEADLINES, DICOM_SERIES, RESULTS, STUDIES
from streams.dead_letters import read_obituary
from streams.faust_app import partition_of
from tests.e2e.house import SITES, House
from tests.e2e.scanner import Scanner, small_study
from tests.stack import wait_until

pytestmark = pytest.mark.e2e
SEED = 5
BURST = 10
READERS = {
    DICOM_SERIES.name: {"assemble"},
    DEADLINES.name: {"assemble", "alert", "escalate"},
    STUDIES.name: {"infer", "confirm"},
    RESULTS.name: {"alert"},
}
Place = tuple[str, int, int]


class Poison(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def poisons(chance: random.Random) -> list[Poison]:
    noise, key = chance.randbytes(chance.randint(1, 5000)), chance.randbytes(16)
    kind = chance.choice(sorted(EVENT_TYPES)).encode()
    known: list[tuple[str, bytes | None]] = [("ce_type", kind)]
    return [
        Poison(key, noise, []),
        Poison(key, noise, list(known)),
        Poison(key, noise, [("ce_type", chance.randbytes(20))]),
        Poison(key, noise, [("ce_type", None)]),
        Poison(key, json.dumps({"site": "anseong", "study_uid": "1.2", "time": "yesterday"}).encode(), list(known)),
        Poison(key, b"[" * 10_000, list(known)),
        Poison(key, b"", list(known)),
        Poison(key, None, list(known)),
        Poison(key, None, []),
        Poison(None, noise, list(known)),
        Poison(None, noise, []),
    ]


def test_poison_on_every_topic_ends_in_the_dead_letters(hurt_house: House) -> None:
    scanner = Scanner(hurt_house.settings.dicom.port, SITES["icheon"], "icheon")
    given: dict[Place, Poison] = {}
    sender, chance = producer(hurt_house.bootstrap), random.Random(SEED)
    for topic in READERS:
        for _ in range(BURST):
            for poison in poisons(chance):
                sender.produce(
                    topic,
                    key=poison.key,
                    value=poison.value,
                    headers=poison.headers,
                    on_delivery=lambda _, sent, poison=poison: given.update(
                        {(sent.topic(), sent.partition(), sent.offset()): poison}
                    ),
                )
    assert sender.flush(30) == 0
    study = small_study("after the poison", site="icheon", bright=True)
    scanner.insist(study.datasets)

    def buried() -> None:
        letters: dict[tuple[Place, str], Poison] = {}
        for letter in hurt_house.dead_letters():
            told = read_obituary(letter.headers)
            letters[(told.topic, told.partition, told.offset), told.hop] = Poison(letter.key, letter.value, [])
        for place, poison in given.items():
            for hop in READERS[place[0]]:
                assert (place, hop) in letters, f"{hop} did not bury {place}"
                assert letters[place, hop].key == poison.key
                assert letters[place, hop].value == poison.value

    hurt_house.finish([study], scanner.acknowledged)
    wait_until(buried, seconds=120, every_s=0.5)


def test_an_event_that_went_astray_is_found_in_the_console_and_requeued_and_its_study_is_read(
    hurt_house: House,
) -> None:
    """As a producer does that places keys as librdkafka does by default."""
    scanner = Scanner(hurt_house.settings.dicom.port, SITES["icheon"], "icheon")
    study = small_study("read as another one", site="icheon", bright=True)
    scanner.insist(study.datasets)
    hurt_house.finish([study], scanner.acknowledged)
    *_, received = hurt_house.events(SeriesReceived, [study])  # on a busy machine the slices come in two goes
    said = received.model_dump(exclude={"event_id"}) | {"study_uid": "2.25.20261126"}
    astray = SeriesReceived.model_validate(said)
    message = encode(astray)
    right = partition_of(message.key)
    sender = producer(hurt_house.bootstrap)
    wrong = (right + 1) % DICOM_SERIES.partitions
    sender.produce(DICOM_SERIES.name, message.value, message.key, wrong, headers=message.headers)
    assert sender.flush(30) == 0

    password, url = "correct horse battery", hurt_house.settings.console.url
    accounts = Accounts(hurt_house.home / "console" / "accounts.json", hurt_house.settings.sites)
    accounts.add("operator", password, Grant(roles=(Role.OPERATOR,), sites=("icheon",)))
    with httpx.Client(base_url=url, headers={"origin": url, "accept": "text/html"}, timeout=60) as browser:
        form = {"csrf": _token(browser, "/login"), "name": "operator", "password": password}
        browser.post("/login", data=form)

        def listed() -> str:
            """The address of the letter."""
            page = browser.get("/dead-letters").text
            group = re.search(rf"assemble · NotAnEvent · dicom\.series</h2>\s*<p[^>]*>[^<]*partition {right}:", page)
            assert group is not None
            found = re.search(r'href="(/dead-letters/\d+/\d+)"', page[group.end() :])
            assert found is not None
            return found[1]

        letter = ""

        def shown() -> None:
            nonlocal letter
            letter = listed()

        wait_until(shown, every_s=0.5)
        answer = browser.post(f"{letter}/requeue", data={"csrf": _token(browser, letter)})
        assert (answer.status_code, answer.headers["location"]) == (303, letter)

    def read() -> None:
        results = [one for one in hurt_house.events(StudyTriaged) if one.study_uid == astray.study_uid and one.final]
        assert [one.outcome for one in results] == [Outcome.FINDINGS]
        acts = [decode(one.headers, one.value) for one in hurt_house.records(AUDIT_ACTS.name)]
        requeued = [(act.by, act.site) for act in acts if isinstance(act, LetterRequeued)]
        assert requeued == [("operator", "icheon")]

    wait_until(read, every_s=0.5)


def _token(browser: httpx.Client, page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', browser.get(page).text)
    assert found is not None, page
    return found[1]
