"""Merkle trees as in RFC 9162 (Certificate Transparency), 2.1: leaves are hashed behind 0x00, nodes behind 0x01."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

Step = tuple[Literal["left", "right"], bytes]
"""A sibling on the way from a leaf to the root, and on which side it stands."""


def root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of these leaves, in order."""
    if not leaves:
        return sha256().digest()
    level = [_leaf(one) for one in leaves]
    # From the left, pairs make the very tree of the standard, where what is left over goes up as it is.
    while len(level) > 1:
        paired = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = paired + level[2 * len(paired) :]
    return level[0]


def path(leaves: Sequence[bytes], index: int) -> tuple[Step, ...]:
    """What leads from a leaf to the root (RFC 9162, 2.1.3). Raises ``IndexError`` where there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"no leaf {index} among {len(leaves)}")
    level, steps = [_leaf(one) for one in leaves], list[Step]()
    while len(level) > 1:
        if index % 2:
            steps.append(("left", level[index - 1]))
        elif index + 1 < len(level):
            steps.append(("right", level[index + 1]))
        paired = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level, index = paired + level[2 * len(paired) :], index // 2
    return tuple(steps)


def _leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
