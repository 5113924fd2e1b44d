"""Arrays come out of a state dict; from anything else nothing does, and nothing is called."""

import contextlib
import gc
import pickle
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gateways.inference.weights.legacy_torch import MAX_BYTES, NotAStateDict, read_state
from tests.unit.gateways.inference.weights.legacy_file import (
    EMPTY,
    MAGIC,
    call,
    holding,
    mapping,
    named,
    number,
    pickled,
    several,
    state_dict,
    storage,
    tensor,
    text,
    whole,
)

ARRAYS = {
    "path(5, 5, 5)0.conv.weight": np.arange(24, dtype="<f4").reshape(2, 3, 4),
    "bn.weight": np.array([0.5, 1e-40], "<f4"),
    "bn.num_batches_tracked": np.array(120000, "<i8"),
    "double": np.array([[1.5]], "<f8"),
    "half": np.array([2.5], "<f2"),
    "int": np.array([-3], "<i4"),
}


def one(stored: bytes, *, shape: tuple[int, ...] = (2, 3), stride: tuple[int, ...] = (3, 1), offset: int = 0) -> bytes:
    """The object of a file with the one tensor ``w``."""
    return mapping([(text("w"), tensor(stored, shape, stride, offset))])


def test_the_arrays_come_out_as_they_were_written() -> None:
    read = read_state(state_dict(ARRAYS))
    assert list(read) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert read[name].tobytes() == array.tobytes()


def test_two_tensors_of_one_storage() -> None:
    stored = storage("0", 6)
    parts = [(text("a"), tensor(stored, (2,), (1,))), (text("b"), tensor(stored, (2, 2), (2, 1), 2))]
    read = read_state(holding(mapping(parts)))
    assert read["a"].tolist() == [0, 1]
    assert read["b"].tolist() == [[2, 3], [4, 5]]


def deep(levels: int) -> bytes:
    """Dictionaries within dictionaries."""
    return mapping([]) + (text("x") + mapping([])) * levels + b"s" * levels


def doubling(levels: int) -> bytes:
    """A tuple of twice the one before, and so on: 2 ** levels entries for one who looks at all."""
    return EMPTY + b"q\x00" + b"h\x00\x86q\x00" * levels


HOSTILE = {
    "os.system": call(named("os", "system"), several(text("touch touched"))),
    "posix.system": call(named("posix", "system"), several(text("touch touched"))),
    "builtins.eval": call(named("builtins", "eval"), several(text("open('touched', 'w')"))),
    "builtins.exec": call(named("__builtin__", "exec"), several(text("open('touched', 'w')"))),
    "a way to anything": call(named("builtins", "getattr"), several(named("os", "path"), text("os"))),
    "another of torch's names": call(named("torch", "load"), several(text("touched"))),
    "a dotted name": call(named("torch._utils", "_rebuild_tensor_v2.__globals__"), EMPTY),
    "an instance": b"(ios\nsystem\n",
    "a new object": named("collections", "OrderedDict") + EMPTY + b"\x81",
    "an extension": b"\x82\x01",
    "a dictionary of arguments": call(named("collections", "OrderedDict"), several(several(several(text("a"), b"N")))),
    "a storage called": call(named("torch", "FloatStorage"), several(number(10))),
    "a text called": call(text("os.system"), several(text("touch touched"))),
    "a large buffer": b"\x96" + (1 << 40).to_bytes(8, "little"),
    "a memory of much": EMPTY + b"r\xff\xff\xff\xff",
    "dictionaries in dictionaries": deep(15_000),
    "tuples in tuples as a key": b"}" + EMPTY + b"\x85" * 150_000 + b"Ns",
    "tuples that double": mapping([(text("w"), doubling(60))]),
    "endless instructions": b"N" + b"\x85" * 300_000,
    "attributes of a tensor": mapping([(text("w"), tensor(storage("0", 6), (2, 3), (3, 1)) + b"}b")]),
    "no tensor": mapping([(text("w"), number(3))]),
    "a name that is none": mapping([(text("w\n"), tensor(storage("0", 6), (6,), (1,)))]),
    "a name twice": mapping([(text("w"), tensor(storage("0", 6), (6,), (1,)))] * 2),
    "no dictionary": several(number(3)),
    "a file as storage": several(text("file"), text("touched")) + b"Q",
    "a view of a storage": several(
        text("storage"), named("torch", "FloatStorage"), text("0"), text("cpu"), number(6), EMPTY
    )
    + b"Q",
    "a storage too large": one(storage("0", 1 << 40)),
    "a storage below nothing": one(storage("0", -6)),
    "a storage of another size": one(storage("0", 5), shape=(5,), stride=(1,)),
    "a storage of another key": one(storage("1", 6)),
    "a storage of two kinds": mapping(
        (text(name), tensor(storage("0", 6, kind), (6,), (1,)))
        for name, kind in [("a", "FloatStorage"), ("b", "IntStorage")]
    ),
    "a tensor behind its storage": one(storage("0", 6), offset=1),
    "a tensor before its storage": one(storage("0", 6), offset=-1),
    "a tensor that repeats": one(storage("0", 6), shape=(1 << 20, 6), stride=(0, 1)),
    "a tensor that overflows": one(storage("0", 6), shape=(1 << 40, 1 << 40), stride=(1 << 40, 1)),
    "a tensor turned": one(storage("0", 6), stride=(1, 2)),
    "a tensor of no size": one(storage("0", 6), shape=(0, 3)),
    "a tensor of many axes": one(storage("0", 6), shape=(1,) * 70, stride=(1,) * 70),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_else_a_pickle_asks_for_is_refused(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotAStateDict) as raised:
        read_state(holding(HOSTILE[what]))
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 300
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("what", ["os.system", "posix.system", "builtins.eval", "builtins.exec"])
def test_those_pickles_are_hostile(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
        pickle.loads(pickled(HOSTILE[what]))
    gc.collect()
    assert (tmp_path / "touched").exists()


@pytest.mark.parametrize("part", range(3))
def test_the_small_pickles_may_call_nothing_either(part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parts = [MAGIC, number(1001), mapping([(text("little_endian"), b"\x88")])]
    parts[part] = HOSTILE["posix.system"]
    with pytest.raises(NotAStateDict, match=r"posix\.system"):
        read_state(b"".join(map(pickled, parts)))
    assert not (tmp_path / "touched").exists()


W = one(storage("0", 6))
DAMAGED = {
    "nothing": b"",
    "a zip archive": b"PK\x03\x04" + bytes(100),
    "another magic number": holding(W).replace(MAGIC, b"\x8a\x01\x05"),
    "of a big-endian machine": whole(W, ["0"], [(6, bytes(24))], little=False),
    "a storage too few": whole(W, ["0"], []),
    "a storage too many": whole(W, ["0", "1"], [(6, bytes(24)), (6, bytes(24))]),
    "a storage twice": whole(W, ["0", "0"], [(6, bytes(24)), (6, bytes(24))]),
    "another size": whole(W, ["0"], [(5, bytes(24))]),
    "a size below nothing": whole(W, ["0"], [(-1, bytes(24))]),
    "a byte too few": holding(W)[:-1],
    "a byte too many": holding(W) + b"\0",
    "not a number": holding(W, np.array([0, 1, np.nan, 3, 4, 5], "<f4")),
    "infinite": holding(W, np.array([0, 1, -np.inf, 3, 4, 5], "<f4")),
    "too large": bytes(MAX_BYTES + 1),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_file_that_is_damaged_or_another(what: str) -> None:
    assert read_state(holding(W))["w"].shape == (2, 3)
    with pytest.raises(NotAStateDict):
        read_state(DAMAGED[what])


def flip(data: bytearray, at: int, chance: random.Random) -> None:
    data[at] = chance.randrange(256)


def cut(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at:]


def leave_out(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at : at + chance.randrange(1, 9)]


def repeat(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = data[at : at + chance.randrange(1, 40)]


def put_in(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = chance.choice(INSTRUCTIONS)


INSTRUCTIONS = [bytes([code]) for code in range(256)] + list(HOSTILE.values())[:8]


@pytest.mark.parametrize("change", [flip, cut, leave_out, repeat, put_in])
def test_random_damage_ends_in_arrays_or_in_the_one_error(
    change: Callable[[bytearray, int, random.Random], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = state_dict(ARRAYS)
    refused = 0
    for seed in range(300):
        chance = random.Random(seed)
        data = bytearray(written)
        for _ in range(chance.choice((1, 1, 2, 5))):
            change(data, chance.randrange(len(data) or 1), chance)
        try:
            arrays = read_state(bytes(data))
        except NotAStateDict:
            refused += 1
        else:
            assert all(np.isfinite(array).all() for array in arrays.values())
    assert refused > 100
    assert not list(tmp_path.iterdir())
