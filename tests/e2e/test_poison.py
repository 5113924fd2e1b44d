"""A burst of poison on every topic: the bytes are in the dead letters, and the next study passes."""

import json
import random
from typing import NamedTuple

import pytest

from gateways.kafka import producer
from schemas.envelope import EVENT_TYPES
from schemas.topics import DEADLINES, DICOM_SERIES, RESULTS, STUDIES
from streams.dead_letters import read_obituary
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
