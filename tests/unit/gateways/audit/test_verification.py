"""Whatever is done to a chain is found, and found in its place."""

import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

import pytest
import rfc8785

from gateways.audit.canonical import canonical, record_digest
from gateways.audit.chain import Broken, Chain
from gateways.audit.fault import FaultKind
from gateways.audit.head import Heads, Mark
from gateways.audit.keys import Signer, Verifier
from gateways.audit.verification import TrailInspection
from gateways.kafka import Record
from schemas.audit import Origin
from schemas.identity import digest
from schemas.trail import LINK
from tests.unit.gateways.audit.examples import (
    AT,
    OTHER,
    SIGNER,
    VERIFIER,
    Written,
    faults,
    inspected,
    on_topic,
    told,
)

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


def test_what_follows_and_the_head_does_not_know_is_found(tmp_path):
    """It takes public bytes and no key to write a record that follows the newest."""
    written = Written("suwon", records=24)
    grown = written.chain.copy()
    records = written.on_topic([*written.values, grown.append(told(99, "nothing happened")).value])

    assert [(one.kind, one.sequence) for one in faults(tmp_path, [written], records)] == [(KINDS.INSERTED, 27)]


def test_the_record_that_the_auditor_is_about_to_write_is_no_fault(tmp_path):
    written = Written("suwon", records=24)
    grown, heads = written.chain.copy(), Heads(tmp_path)
    records = written.on_topic([*written.values, grown.append(told(25)).value])
    inspection = inspected(tmp_path, [written], records)
    heads.write(written.chain.head(1, 0, reaching=grown.newest), SIGNER)

    assert inspection.finish() == []


@pytest.mark.parametrize(("type_of", "found"), [("sinsok.StepTaken.v1", [(KINDS.CHANGED, 4)]), ("missing", [])])
def test_a_record_without_a_digest_is_a_fault_unless_what_it_is_about_is_missing(tmp_path, type_of, found):
    written = Written("suwon", records=3)
    body = json.loads(written.chain.copy().append(told(9)).value)
    value = rfc8785.dumps({**body, "digest": None, "type": type_of})
    written.chain.newest = Mark(sequence=4, digest=digest(value))

    told_of = faults(tmp_path, [written], written.on_topic([*written.values, value]))

    assert [(fault.kind, fault.sequence) for fault in told_of] == found
    with pytest.raises(Broken) if found else nullcontext():
        Chain.at(Mark(sequence=3, digest=body["previous"]), "suwon").resume(value, VERIFIER)


def grown_by(signers: tuple[Signer, ...]) -> tuple[Chain, list[bytes]]:
    """A chain with a checkpoint and a record by each."""
    chain, values = Chain.begin("suwon"), []
    for number, signer in enumerate(signers):
        values += [chain.checkpoint(signer, AT).value, chain.append(told(number)).value]
    return chain, values


@pytest.mark.parametrize(
    ("signers", "head_by", "found"),
    [
        ((SIGNER, OTHER), OTHER, []),
        ((SIGNER, SIGNER), SIGNER, []),
        ((SIGNER, OTHER, SIGNER), OTHER, [(KINDS.CHECKPOINT, 4)]),
        ((SIGNER, OTHER), SIGNER, [(KINDS.HEAD, 3)]),
    ],
)
def test_a_key_that_was_retired_signs_nothing_any_more(tmp_path, signers, head_by, found):
    chain, values = grown_by(signers)
    heads = Heads(tmp_path)
    heads.write(chain.head(1, 0), head_by)
    inspection = TrailInspection(["suwon"], heads, Verifier([SIGNER.public, OTHER.public]), 10)
    for at, value in enumerate(values):
        inspection.take(on_topic("suwon", value, at))

    assert [(one.kind, one.sequence) for one in inspection.finish()] == found


EVENTS: Final = [Record("triage.steps", 3, offset, 1_000, b"k", [], b"%d" % offset) for offset in range(6)]
SINCE: Final = datetime.fromtimestamp(0.5, UTC)


def compared(
    folder: Path, stream: list[Record], since: datetime = SINCE, lost: slice = slice(0)
) -> tuple[list[str], int]:
    """A chain that knows the first four of :data:`EVENTS`, against what stands there now.

    ``lost`` are records of the chain that are not there any more.
    """
    written = Written("suwon", records=0)
    for event in EVENTS[:4]:
        where = Origin(topic=event.topic, partition=event.partition, offset=event.offset)
        about = told(event.offset)._replace(where=where, digest=record_digest(event))
        written.values.append(written.chain.append(about).value)
    trail = written.on_topic()
    del trail[lost]
    inspection = inspected(folder, [written], trail)
    assert bool(inspection.finish()) == (lost != slice(0))
    assert inspection.topics == {"triage.steps"}
    found, waiting = inspection.compare(stream, since)
    return [f"{one.kind} {one.sequence} {one.at}" for one in found], waiting


def test_events_as_they_were_audited_are_no_fault_and_the_newest_may_wait(tmp_path):
    assert compared(tmp_path, EVENTS) == ([], 2)


def test_an_event_that_was_changed_is_found(tmp_path):
    stream = [*EVENTS[:2], replace(EVENTS[2], value=b"no finding"), EVENTS[3]]

    assert compared(tmp_path, stream) == (["changed 3 ('triage.steps', 3, 2)"], 0)


def test_an_event_that_was_removed_is_found(tmp_path):
    assert compared(tmp_path, EVENTS[:3]) == (["removed 4 ('triage.steps', 3, 3)"], 0)


def test_events_in_a_row_that_were_removed_are_one_fault(tmp_path):
    found = ["removed 1 ('triage.steps', 3, 0)", "removed 3 ('triage.steps', 3, 2)"]

    assert compared(tmp_path, [EVENTS[1]]) == (found, 0)


@pytest.mark.parametrize(
    ("lost", "since", "found", "waiting"),
    [
        (slice(2, 4), SINCE, ["unaudited 0 ('triage.steps', 3, 1)"], 2),
        (slice(2, 4), datetime.fromtimestamp(2, UTC), ["unaudited 0 ('triage.steps', 3, 1)"], 0),
        (slice(3, 5), datetime.fromtimestamp(2, UTC), ["unaudited 0 ('triage.steps', 3, 2)"], 0),
    ],
)
def test_where_the_trail_lacks_records_nothing_counts_as_put_in(tmp_path, lost, since, found, waiting):
    """It may have been audited by those; what was changed is found all the same."""
    assert compared(tmp_path, EVENTS, since, lost) == (found, waiting)
    changed = [replace(EVENTS[0], value=b"no finding"), *EVENTS[1:]]
    assert "changed 1 ('triage.steps', 3, 0)" in compared(tmp_path, changed, since, lost)[0]


def test_an_event_that_was_put_in_is_found(tmp_path):
    stream = [replace(EVENTS[0], value=b"twice"), *EVENTS[:4]]

    assert compared(tmp_path, stream)[0] == [
        "inserted 0 ('triage.steps', 3, 0)",
        "changed 1 ('triage.steps', 3, 0)",
    ]


def test_events_that_have_waited_for_too_long_are_found(tmp_path):
    other = Record("triage.results", 0, 7, 1_000, None, [], None)

    found, waiting = compared(tmp_path, [*EVENTS, other], datetime.fromtimestamp(2, UTC))

    assert found == ["unaudited 0 ('triage.steps', 3, 4)", "unaudited 0 ('triage.results', 0, 7)"]
    assert waiting == 0


def test_two_audit_records_of_one_event_are_found(tmp_path):
    written = Written("suwon", records=0)
    values = [written.chain.append(told(1, what)).value for what in ("one", "two")]

    found = inspected(tmp_path, [written], written.on_topic([*written.values, *values])).finish()

    assert [(one.kind, one.sequence) for one in found] == [(KINDS.INSERTED, 2)]
