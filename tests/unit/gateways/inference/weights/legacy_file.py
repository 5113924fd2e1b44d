"""A writer of state dicts as PyTorch wrote them before 1.6, from single instructions, so that tests can also lie."""

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = {"<f4": "FloatStorage", "<f8": "DoubleStorage", "<f2": "HalfStorage", "<i8": "LongStorage", "<i4": "IntStorage"}
MAGIC = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
EMPTY = b")"


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else b"\x8a\x09" + value.to_bytes(9, "little")


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def several(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def listed(*parts: bytes) -> bytes:
    return b"](" + b"".join(parts) + b"e"


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(what: bytes, arguments: bytes) -> bytes:
    return what + arguments + b"R"


def mapping(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    return (
        call(named("collections", "OrderedDict"), EMPTY) + b"(" + b"".join(key + value for key, value in items) + b"u"
    )


def storage(key: str, size: int, kind: str = "FloatStorage") -> bytes:
    return several(text("storage"), named("torch", kind), text(key), text("cuda:0"), number(size), b"N") + b"Q"


def tensor(stored: bytes, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    sizes, strides = (several(*map(number, numbers)) for numbers in (shape, stride))
    hooks = call(named("collections", "OrderedDict"), EMPTY)
    return call(
        named("torch._utils", "_rebuild_tensor_v2"), several(stored, number(offset), sizes, strides, b"\x89", hooks)
    )


def whole(state: bytes, keys: Iterable[str], storages: Iterable[tuple[int, bytes]], *, little: bool = True) -> bytes:
    """A file of a pickled object, the keys of its storages, and their sizes and bytes."""
    machine = b"}(" + text("little_endian") + (b"\x88" if little else b"\x89") + b"u"
    parts = [MAGIC, b"M" + struct.pack("<H", 1001), machine, state, listed(*map(text, keys))]
    return b"".join(map(pickled, parts)) + b"".join(struct.pack("<q", size) + raw for size, raw in storages)


def holding(state: bytes, values: NDArray[Any] | None = None) -> bytes:
    """A file whose object is ``state`` and whose only storage, ``0``, holds these values."""
    values = np.arange(6, dtype="<f4") if values is None else values
    return whole(state, ["0"], [(values.size, values.tobytes())])


def state_dict(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A file with these arrays, a storage each, and attributes on the dictionary as PyTorch leaves them."""
    items = []
    for number_of, (name, array) in enumerate(arrays.items()):
        stride = tuple(step // array.itemsize for step in np.empty(array.shape, array.dtype).strides)
        stored = storage(str(number_of), array.size, KINDS[array.dtype.str])
        items.append((text(name), tensor(stored, array.shape, stride)))
    state = mapping(items) + b"}" + text("_metadata") + mapping([]) + b"sb"
    storages = [(array.size, array.tobytes()) for array in arrays.values()]
    return whole(state, map(str, range(len(arrays))), storages)
