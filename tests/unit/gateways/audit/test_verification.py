"""Whatever is done to a chain is found, and found in its place."""

from dataclasses import replace
from functools import cache
from random import Random

import pytest

from gateways.audit.canonical import canonical
from gateways.audit.chain import Chain
from gateways.audit.fault import FaultKind
from gateways.audit.head import Heads
from gateways.audit.verification import TrailInspection
from gateways.kafka import Record
from schemas.trail import LINK
from tests.unit.gateways.audit.examples import AT, OTHER, SIGNER, VERIFIER, Written, faults, on_topic, told

KINDS = FaultKind


@cache
def suwon() -> Written:
    return Written("suwon")


@cache
def icheon() -> Written:
    return Written("icheon", partition=2)


def flip(random: Random, records: list[Record]) -> tuple[set[FaultKind], set[int]]:
    """One bit of a record, its key included."""
    at = random.randrange(len(records))
    record, key = records[at], random.random() < 0.1
    data = bytearray((record.key if key else record.value) or b"")
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    records[at] = replace(record, key=bytes(data)) if key else replace(record, value=bytes(data))
    return {KINDS.CHANGED}, {at}


def drop(random: Random, records: list[Record]) -> tuple[set[FaultKind], set[int]]:
    first = random.randrange(len(records) - 1)
    count = random.randint(1, min(3, len(records) - 1 - first))
    del records[first : first + count]
    return {KINDS.REMOVED, KINDS.CHECKPOINT}, set(range(first, first + count))


def swap(random: Random, records: list[Record]) -> tuple[set[FaultKind], set[int]]:
    """Either of them stands in the other's place; next to each other, one has moved."""
    one, other = sorted(random.sample(range(len(records)), 2))
    if other == one + 2:
        other -= 1  # of three that stand the other way round, any two may have been swapped
    records[one], records[other] = records[other], records[one]
    return {KINDS.REORDERED}, {one, other}


def insert(random: Random, records: list[Record]) -> tuple[set[FaultKind], set[int]]:
    """A record that fits as well as it can, made without the key; or a copy of one that stands elsewhere."""
    at = random.randrange(1, len(records))
    made = random.choice([*records[: at - 1], *records[at + 1 :]]).value or b""  # of two that are the same, which?
    if random.random() < 0.5:
        before = LINK.validate_json(records[at - 1].value or b"")
        chain = Chain.begin("suwon")
        chain.resume(suwon().values[0], VERIFIER)
        for value in suwon().values[1:at]:
            chain.resume(value, VERIFIER)
        assert chain.newest.sequence == before.sequence
        made = chain.append(told(99_999, "forged")).value
    records.insert(at, replace(records[at], value=made))
    return {KINDS.INSERTED}, {at}


def truncate(random: Random, records: list[Record]) -> tuple[set[FaultKind], set[int]]:
    at = random.randrange(len(records))
    end = len(records)
    del records[at:]
    return {KINDS.TRUNCATED}, set(range(at, end))


def splice(random: Random, records: list[Record]) -> tuple[set[FaultKind], set[int]]:
    """A record of another chain under this one's key: put between two, or in the place of one."""
    at = random.randrange(len(records) - 1)
    foreign = replace(records[at], value=random.choice(icheon().values))
    records[at : at + random.randint(0, 1)] = [foreign]
    return {KINDS.SPLICED}, {at}


@pytest.mark.parametrize("seed", range(200))
def test_each_tampering_is_found_where_it_is(seed, tmp_path):
    random = Random(seed)
    records = suwon().on_topic()
    tamper = random.choice([flip, drop, swap, insert, truncate, splice])
    kinds, places = tamper(random, records)

    found = faults(tmp_path, [suwon(), icheon()], [*records, *icheon().on_topic()])

    located = {sequence for one in found for sequence in range(one.sequence, one.end + 1)}
    assert found, tamper
    assert {one.chain for one in found} == {"suwon"}
    assert {one.kind for one in found} <= kinds, (tamper, found)
    assert located <= places, (tamper, places, found)
    assert located == places or tamper is swap, (tamper, places, found)


@pytest.mark.parametrize("seed", range(40))
def test_it_goes_on_behind_a_fault_and_finds_the_next(seed, tmp_path):
    random = Random(1000 + seed)
    records = suwon().on_topic()
    wrong = sorted(random.sample(range(0, len(records), 2), 4))
    for at in wrong:
        value = (records[at].value or b"").replace(b"2026", b"2025", 1)
        records[at] = replace(records[at], value=value)

    found = faults(tmp_path, [suwon()], records)

    assert [(one.kind, one.sequence) for one in found] == [(KINDS.CHANGED, at) for at in wrong]


def test_what_was_written_has_no_fault(tmp_path):
    mixed = [record for pair in zip(suwon().on_topic(), icheon().on_topic(), strict=True) for record in pair]

    assert faults(tmp_path, [suwon(), icheon()], mixed) == []


def test_who_writes_it_all_anew_without_the_key_is_found_at_every_checkpoint(tmp_path):
    forged = Chain.begin("suwon")
    values = [forged.checkpoint(OTHER, AT).value]
    for number in range(30):
        values.append(forged.append(told(number, "nothing happened")).value)
        if len(forged.unsigned) == 10:
            values.append(forged.checkpoint(OTHER, AT).value)

    written = Written("suwon", records=30)
    found = faults(tmp_path, [written], written.on_topic(values))

    assert [one.sequence for one in found] == [0, 11, 22, 33]
    assert {one.kind for one in found[:-1]} == {KINDS.CHECKPOINT}


def test_a_checkpoint_that_signs_other_records_is_found(tmp_path):
    written = Written("suwon", records=20)
    links = [LINK.validate_json(value) for value in written.values]
    chain = Chain.begin("suwon")
    chain.checkpoint(SIGNER, AT)
    for number in range(10):
        chain.append(told(number, "another" if number == 4 else f"suwon {number}"))
    foreign = LINK.validate_json(chain.checkpoint(SIGNER, AT).value).model_copy(update={"previous": links[11].previous})
    # Whoever has the key can sign anything: then the checkpoint fits, and the records before it do not.
    unsigned = canonical(foreign, without=frozenset({"signature"}))
    values = [*written.values]
    values[11] = canonical(foreign.model_copy(update={"signature": SIGNER.sign(unsigned)}))

    found = faults(tmp_path, [written], written.on_topic(values))

    assert (KINDS.CHANGED, 11) in [(one.kind, one.sequence) for one in found]


def test_an_end_that_nobody_signs_is_said(tmp_path):
    heads, chain = Heads(tmp_path), Chain.begin("suwon")
    values = [chain.checkpoint(SIGNER, AT).value] + [chain.append(told(number)).value for number in range(11)]
    heads.write(chain.head(1, 0), SIGNER)
    inspection = TrailInspection(["suwon"], heads, VERIFIER, 10)
    for at, value in enumerate(values):
        inspection.take(on_topic("suwon", value, at))

    assert [(one.kind, one.sequence) for one in inspection.finish()] == [(KINDS.CHECKPOINT, 1)]


def test_a_chain_without_a_head_and_a_head_that_was_changed_are_said(tmp_path):
    heads = Heads(tmp_path)
    heads.write(icheon().chain.head(2, 0), SIGNER)
    place = heads.place("icheon")
    place.write_bytes(place.read_bytes().replace(b'"since":0', b'"since":7'))
    inspection = TrailInspection(["icheon"], heads, VERIFIER, 10)
    for record in [*suwon().on_topic(), *icheon().on_topic()]:
        inspection.take(record)

    assert [(one.kind, one.chain) for one in inspection.finish()] == [(KINDS.HEAD, "icheon"), (KINDS.HEAD, "suwon")]
