"""A chain, its keys and its head."""

import json
from hashlib import sha256

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from gateways.audit import keys
from gateways.audit.canonical import canonical, record_digest
from gateways.audit.chain import Broken, Chain
from gateways.audit.head import Heads, UnusableHead
from gateways.audit.keys import UnusableKey, Verifier
from gateways.kafka import Record
from schemas.trail import LINK, genesis
from tests.unit.gateways.audit.examples import AT, OTHER, SIGNER, VERIFIER, Written, told


def test_each_record_names_the_one_before_by_the_digest_of_its_bytes():
    values = Written("suwon", records=25).values

    previous = genesis("suwon")
    for at, value in enumerate(values):
        record = json.loads(value)
        assert (record["sequence"], record["previous"]) == (at, previous)
        assert value == rfc8785.dumps(record)
        previous = f"sha256:{sha256(value).hexdigest()}"


def test_a_chain_is_taken_up_where_it_ended():
    written, again = Written("suwon", records=25), Chain.begin("suwon")
    for value in written.values:
        again.resume(value, VERIFIER)

    assert again == written.chain
    assert again.append(told(1)) == written.chain.append(told(1))


def test_another_installations_checkpoint_does_not_continue_a_chain():
    value = Chain.begin("suwon").checkpoint(OTHER, AT).value

    with pytest.raises(Broken, match="not signed with a key of this installation"):
        Chain.begin("suwon").resume(value, VERIFIER)


def test_a_record_of_another_chain_does_not_continue_it():
    with pytest.raises(Broken, match="does not follow"):
        Chain.begin("suwon").resume(Written("icheon").values[0], VERIFIER)


def test_a_copy_grows_without_the_chain():
    chain = Written("suwon", records=3).chain
    copied, before = chain.copy(), chain.newest
    copied.append(told(4))

    assert (chain.newest, len(chain.unsigned), len(copied.unsigned)) == (before, 3, 4)


def test_what_a_chain_says_is_what_its_model_reads():
    for value in Written("suwon", records=12).values:
        assert canonical(LINK.validate_json(value)) == value


def test_a_head_is_read_as_it_was_written_and_by_nobody_else(tmp_path):
    heads, chain = Heads(tmp_path / "audit"), Written("suwon", records=12).chain
    heads.write(chain.head(3, 17), SIGNER)

    head = heads.read("suwon", VERIFIER)
    assert head is not None
    assert (head.newest, head.signed, head.partition, head.since) == (chain.newest, chain.signed, 3, 17)
    assert heads.read("icheon", VERIFIER) is None
    with pytest.raises(UnusableHead, match=r"no key of this installation: name its public part in audit\.retired"):
        heads.read("suwon", Verifier([OTHER.public]))
    heads.place("suwon").rename(heads.place("icheon"))
    with pytest.raises(UnusableHead, match=r"was changed: .*; bring the newest back, or .* accept --chain icheon`"):
        heads.read("icheon", VERIFIER)


@pytest.mark.parametrize("change", [(b'"since":17', b'"since":18'), (b"{", b"")])
def test_a_head_that_was_changed_is_not_believed(tmp_path, change):
    heads = Heads(tmp_path)
    heads.write(Written("suwon").chain.head(3, 17), SIGNER)
    place = heads.place("suwon")
    place.write_bytes(place.read_bytes().replace(*change, 1))

    with pytest.raises(
        UnusableHead, match=r"suwon\.head .* back, or `sinsok audit verify`, then .* accept --chain suwon`"
    ):
        heads.read("suwon", VERIFIER)


def test_a_key_is_its_owners_alone_and_never_replaced(tmp_path):
    place = tmp_path / "keys" / "audit.pem"
    made = keys.create(place)

    assert place.stat().st_mode & 0o777 == 0o600
    assert keys.signer(place).id == made.id == keys.key_id(keys.public_key(keys.public_place(place)))
    with pytest.raises(UnusableKey, match="is a key at"):
        keys.create(place)
    assert keys.signer(place).id == made.id
    assert sorted(one.name for one in place.parent.iterdir()) == ["audit.pem", "audit.pub"]


def test_what_is_no_key_is_said_with_its_place(tmp_path):
    place = tmp_path / "audit.pem"
    with pytest.raises(UnusableKey, match=r"no key at .*audit\.pem"):
        keys.signer(place)
    place.write_text("no key")
    with pytest.raises(UnusableKey, match=r"audit\.pem cannot be used: it is no such key in PEM"):
        keys.signer(place)
    with pytest.raises(UnusableKey, match=r"audit\.pem cannot be used"):
        keys.public_key(place)


TEXT = st.none() | st.binary(max_size=6)
RECORDS = st.builds(
    Record,
    st.just("triage.steps"),
    st.just(1),
    st.just(7),
    st.integers(0, 3),
    TEXT,
    st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=6)), max_size=3),
    TEXT,
)


@given(RECORDS, RECORDS)
def test_two_records_have_one_digest_only_where_they_are_the_same(one, other):
    assert (record_digest(one) == record_digest(other)) == (one == other)


def test_the_framing_of_a_record_is_fixed():
    record = Record("triage.steps", 1, 7, 1_000, b"k", [("a", b"12")], None)
    framed = "00000000000003e8000000016bffffffff000000010000000161000000023132"

    assert record_digest(record) == f"sha256:{sha256(bytes.fromhex(framed)).hexdigest()}"
