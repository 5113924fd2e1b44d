"""The trees of RFC 9162, against its own definition."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from gateways.audit import merkle

LEAVES = st.lists(st.binary(max_size=40), max_size=70)


def defined(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, as it is written there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha256(b"\x01" + defined(leaves[:half]) + defined(leaves[half:])).digest()


def reached(leaf: bytes, steps: tuple[merkle.Step, ...]) -> bytes:
    """The root that a leaf and its path lead to."""
    found = sha256(b"\x00" + leaf).digest()
    for side, sibling in steps:
        found = sha256(b"\x01" + (sibling + found if side == "left" else found + sibling)).digest()
    return found


@given(LEAVES)
def test_the_root_is_that_of_the_standard(leaves):
    assert merkle.root(leaves) == defined(leaves)


@given(LEAVES.filter(bool), st.data())
def test_a_path_leads_from_its_leaf_to_the_root_and_from_no_other(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.binary(max_size=40).filter(lambda one: one != leaves[index]))
    steps = merkle.path(leaves, index)

    assert reached(leaves[index], steps) == merkle.root(leaves)
    assert reached(other, steps) != merkle.root(leaves)


@given(LEAVES.filter(lambda leaves: len(set(leaves)) > 1), st.randoms())
def test_another_order_has_another_root(leaves, random):
    moved = random.sample(leaves, len(leaves))

    assert (merkle.root(moved) == merkle.root(leaves)) == (moved == leaves)


@given(LEAVES, st.binary(max_size=40))
def test_one_more_leaf_has_another_root(leaves, more):
    assert merkle.root([*leaves, more]) != merkle.root(leaves)
