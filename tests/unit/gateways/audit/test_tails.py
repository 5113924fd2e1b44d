"""Where a chain is taken up: as far as its head knows it, whatever stands behind and between."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateways.audit.chain import Broken, Chain
from gateways.audit.head import Head, Heads
from gateways.audit.tails import Standing, Tails, accepted, audited
from gateways.kafka import Record
from tests.unit.gateways.audit.examples import AT, SIGNER, VERIFIER, Written, on_topic, told


def suwon() -> tuple[Written, Head]:
    """A chain of 26 records, the newest four of them behind its newest checkpoint."""
    written = Written("suwon", records=24, each=10)
    assert (written.chain.newest.sequence, written.chain.signed.sequence) == (26, 22)
    return written, written.chain.head(1, 2 * 22)


def forged(written: Written) -> bytes:
    """What follows the newest record: it takes public bytes and no key."""
    return written.chain.copy().append(told(99, "nothing happened")).value


def taken_up(folder: Path, head: Head, records: list[Record]) -> Standing:
    heads = Heads(folder)
    heads.write(head, SIGNER)
    tails = Tails(["suwon"], heads, VERIFIER)
    for record in records:
        if record.offset >= head.since:
            tails.take(record)
    return tails.standing({1: 0})["suwon"]


def test_a_chain_goes_on_where_its_head_has_it(tmp_path):
    written, head = suwon()

    found = taken_up(tmp_path, head, written.on_topic())

    assert (found.chain, found.partition, found.since) == (written.chain, 1, 44)


def test_what_the_head_does_not_know_is_not_gone_on_with_however_well_it_follows(tmp_path):
    written, head = suwon()
    records = [*written.on_topic(), on_topic("suwon", forged(written), 60)]

    with pytest.raises(Broken, match=r"audit\.trail/1/60: record 27 follows, and .*suwon\.head does not know it"):
        taken_up(tmp_path, head, records)


@pytest.mark.parametrize("committed", [True, False])
def test_a_transaction_whose_end_the_head_does_not_know_is_taken_up_where_it_took_place(tmp_path, committed):
    written, head = suwon()
    grown = written.chain.copy()
    values = [grown.append(told(50)).value, grown.checkpoint(SIGNER, AT).value, grown.append(told(51)).value]
    records = written.on_topic([*written.values, *(values if committed else [])])

    found = taken_up(tmp_path, head.model_copy(update={"next": grown.newest}), records)

    assert found.chain == (grown if committed else written.chain)
    assert found.since == (2 * 28 if committed else 44)


def test_what_follows_nothing_or_forks_off_is_passed_over(tmp_path):
    written, head = suwon()
    fork = Chain.begin("suwon")
    for value in written.values[:24]:
        fork.resume(value, VERIFIER)
    strays = [b"{", written.values[3], fork.append(told(99, "nothing happened")).value]
    records = written.on_topic()
    records[24:24] = [on_topic("suwon", stray, 47) for stray in strays]

    assert taken_up(tmp_path, head, records).chain == written.chain


@pytest.mark.parametrize("gone", [slice(25, 27), slice(24, 25), slice(22, 23)])
def test_a_chain_that_does_not_reach_its_head_is_not_gone_on_with(tmp_path, gone):
    written, head = suwon()
    records = written.on_topic()
    del records[gone]

    with pytest.raises(Broken, match=r"does not reach record 26 .* or it was cut off; .* `sinsok audit accept"):
        taken_up(tmp_path, head, records)


def test_a_chain_without_a_head_is_not_gone_on_with(tmp_path):
    tails = Tails(["suwon"], Heads(tmp_path), VERIFIER)

    with pytest.raises(Broken, match="and no head at"):
        tails.take(suwon()[0].on_topic()[0])


def test_who_accepts_passes_over_what_nobody_vouches_for_and_the_next_start_does_too(tmp_path):
    written, head = suwon()
    records = [*written.on_topic(), *(on_topic("suwon", value, 60) for value in (b"?", forged(written)))]

    standing, passed = accepted("suwon", records, head, VERIFIER)
    assert (standing.chain, passed) == (written.chain, 2)

    found = taken_up(tmp_path, standing.head, records)
    assert found.chain == written.chain
    heads, later = Heads(tmp_path), replace(records[-1], offset=62)
    heads.write(found.reaching(found.chain.newest), SIGNER)
    with pytest.raises(Broken, match=r"audit\.trail/1/62: record 27 follows"):
        taken_up(tmp_path, found.head, [*written.on_topic(), later])


@pytest.mark.parametrize("known", [True, False])
def test_where_the_heads_record_is_gone_a_chain_can_be_accepted_to_its_end(known):
    written, head = suwon()
    records = written.on_topic()[:25]

    standing, passed = accepted("suwon", records, head if known else None, VERIFIER)

    assert (standing.chain.newest.sequence, standing.since, passed) == (24, 44, 0)
    assert standing.chain.signed == written.chain.signed


def test_a_chain_whose_middle_is_gone_cannot_be_accepted():
    written, head = suwon()
    records = written.on_topic()
    del records[5]

    with pytest.raises(Broken, match="checkpoint 11 does not sign the records before it as they stand"):
        accepted("suwon", records, head, VERIFIER)


def test_how_far_a_place_is_audited_stands_in_the_trail():
    records = [*suwon()[0].on_topic(), on_topic("suwon", b"{", 60)]

    assert audited(records, {("triage.steps", 3), ("triage.steps", 99)}) == {("triage.steps", 3): 16}
