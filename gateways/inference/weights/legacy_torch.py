"""State dicts in PyTorch's serialisation before 1.6, read without PyTorch and without unpickling.

Such a file is five pickles (a magic number, a protocol number, the writer's machine, the objects, the keys of their
storages) and then each storage: its number of elements as int64, its elements. A pickle is a program for a stack
machine that may call anything, so none is run here: :func:`_build` knows the few instructions a state dict needs, calls
nothing at all, and of the names a pickle can ask for knows those in ``_STORAGES`` and two more. Whatever else a file
holds ends in :class:`NotAStateDict`.

Format: ``torch.serialization`` (``_legacy_save``) and the standard library's ``pickletools``.
"""

import io
import math
import pickletools
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.failures import Unreadable

MAX_BYTES: Final = 64 << 20
"""Larger files are not looked at."""
_MAX_INSTRUCTIONS: Final = 200_000
"""In one pickle; a network of a hundred layers has about ten thousand."""
_MAX_DIMENSIONS: Final = 8
_MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001
_DICT: Final = "collections OrderedDict"
_TENSOR: Final = "torch._utils _rebuild_tensor_v2"
_STORAGES: Final[dict[str, np.dtype[Any]]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
}
_LITERALS: Final = {"NONE", "NEWTRUE", "NEWFALSE", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"}
_NUMBERS_AND_TEXTS: Final = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"}
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STRUCTURE: Final = {"PROTO", "MARK", "STOP", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "TUPLE"}
_FILLING: Final = {"SETITEM", "SETITEMS", "APPEND", "APPENDS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"}
_INSTRUCTIONS: Final = {
    instruction.code.encode("latin-1"): instruction
    for instruction in pickletools.opcodes
    if instruction.name in _LITERALS | _NUMBERS_AND_TEXTS | _STRUCTURE | _FILLING | set(_TUPLES)
}


class NotAStateDict(Unreadable):
    """The bytes are no state dict of this form, are damaged, or ask for more than arrays."""


@dataclass(frozen=True, slots=True)
class _Global:
    """A name a pickle asks for, ``module name``. It stays a name."""

    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    """Elements that stand behind the pickles."""

    key: str
    dtype: np.dtype[Any]
    size: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where an array lies in its storage, C order."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]


def read_state(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a state dict by name, in the file's order; read-only, little-endian, finite.

    Raises :class:`NotAStateDict`, and nothing else, for any other bytes.
    """
    if len(data) > MAX_BYTES:
        raise NotAStateDict(f"{len(data)} bytes are more than the {MAX_BYTES} that are read")
    stream = io.BytesIO(data)
    if _build(stream) != _MAGIC or _build(stream) != _PROTOCOL:
        raise NotAStateDict("it does not begin as a PyTorch file from before 1.6 does")
    machine = _build(stream)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise NotAStateDict("it was not written on a little-endian machine")
    tensors, keys = _tensors(_build(stream)), _build(stream)
    elements = _elements(stream, _storages(tensors, keys))
    return {name: _view(elements[tensor.storage.key], tensor, name) for name, tensor in tensors.items()}


def _tensors(state: object) -> dict[str, _Tensor]:
    if not isinstance(state, dict):
        raise NotAStateDict("its object is no dictionary")
    for name, value in state.items():
        if not isinstance(value, _Tensor):
            raise NotAStateDict(f"{name!a:.80} is no tensor")
        if not name.isprintable():
            raise NotAStateDict(f"{name!a:.80} is no name for a tensor")
    return state


def _storages(tensors: dict[str, _Tensor], keys: object) -> list[_Storage]:
    """The storages in the order in which they stand in the file."""
    used: dict[str, _Storage] = {}
    for tensor in tensors.values():
        if used.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise NotAStateDict(f"storage {tensor.storage.key!a:.80} is described in two ways")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(used):
        raise NotAStateDict("its storages are not those its tensors use")
    return [used[key] for key in keys]


def _elements(stream: io.BytesIO, storages: list[_Storage]) -> dict[str, NDArray[Any]]:
    elements = {}
    for storage in storages:
        header = stream.read(8)
        if len(header) < 8 or struct.unpack("<q", header) != (storage.size,):
            raise NotAStateDict(f"storage {storage.key!a:.80} is cut off or not of the size its tensors state")
        # The size was bounded when the pickle was read, so this asks for no more than MAX_BYTES at once.
        raw = stream.read(storage.size * storage.dtype.itemsize)
        if len(raw) < storage.size * storage.dtype.itemsize:
            raise NotAStateDict(f"storage {storage.key!a:.80} is cut off")
        elements[storage.key] = np.frombuffer(raw, storage.dtype)
        if not np.isfinite(elements[storage.key]).all():
            raise NotAStateDict(f"storage {storage.key!a:.80} holds values that are not finite")
    if stream.read(1):
        raise NotAStateDict("bytes follow the last storage")
    return elements


def _view(elements: NDArray[Any], tensor: _Tensor, name: str) -> NDArray[Any]:
    size = math.prod(tensor.shape)
    if tensor.offset + size > elements.size:
        raise NotAStateDict(f"{name!a:.80} lies outside its storage")
    return elements[tensor.offset : tensor.offset + size].reshape(tensor.shape)


def _build(stream: io.BytesIO) -> Any:
    """What the next pickle describes: numbers, texts, lists, tuples, dictionaries, tensors. Calls nothing.

    The stream stands behind the pickle afterwards.
    """
    try:
        return _follow(stream)
    except NotAStateDict:
        raise
    except (ValueError, IndexError, KeyError) as error:
        # Cut off in an argument, nothing on the stack, nothing remembered under a number.
        raise NotAStateDict(f"a pickle in it is damaged near byte {stream.tell()}") from error


def _follow(stream: io.BytesIO) -> Any:
    stack: list[Any] = []
    marks: list[int] = []
    memory: dict[int, Any] = {}
    for _ in range(_MAX_INSTRUCTIONS):
        code = stream.read(1)
        if code not in _INSTRUCTIONS:
            raise NotAStateDict(f"a pickle in it ends early or does what no state dict does ({code!a})")
        instruction = _INSTRUCTIONS[code]
        argument: Any = instruction.arg.reader(stream) if instruction.arg else None
        match instruction.name:
            case "STOP":
                (result,) = stack
                return result
            case "PROTO":
                if argument != 2:
                    raise NotAStateDict(f"it holds a pickle of protocol {argument}, not 2")
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE" as name:
                stack.append(name == "NEWTRUE")
            case name if name in _NUMBERS_AND_TEXTS:
                stack.append(argument)
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(_since(stack, marks.pop())))
            case name if name in _TUPLES:
                stack.append(tuple(_since(stack, len(stack) - _TUPLES[name])))
            case "SETITEM" | "SETITEMS" as name:
                items = _since(stack, marks.pop() if name == "SETITEMS" else len(stack) - 2)
                _set(stack[-1], items)
            case "APPEND" | "APPENDS" as name:
                items = _since(stack, marks.pop() if name == "APPENDS" else len(stack) - 1)
                _append(stack[-1], items)
            case "BINPUT" | "LONG_BINPUT":
                memory[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memory[argument])
            case "GLOBAL":
                stack.append(_global(argument))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_made(stack.pop(), arguments))
            case "BUILD":
                # Attributes of the dictionary: versions of its layers, which nobody needs.
                stack.pop()
                if not isinstance(stack[-1], dict):
                    raise NotAStateDict("it gives attributes to what is no dictionary")
    raise NotAStateDict(f"a pickle in it takes more than {_MAX_INSTRUCTIONS} instructions")


def _since(stack: list[Any], start: int) -> list[Any]:
    """Take everything above ``start`` off the stack."""
    if not 0 <= start <= len(stack):
        raise IndexError(start)
    items = stack[start:]
    del stack[start:]
    return items


def _set(target: object, items: list[Any]) -> None:
    keys = items[::2]
    # Texts only: hashing a deeply nested tuple would overrun the C stack.
    if not isinstance(target, dict) or len(items) % 2 or not all(isinstance(key, str) for key in keys):
        raise NotAStateDict("it sets items of what is no dictionary of names")
    for key, value in zip(keys, items[1::2], strict=True):
        if key in target:
            raise NotAStateDict(f"{key!a:.80} stands in it twice")
        target[key] = value


def _append(target: object, items: list[Any]) -> None:
    if not isinstance(target, list):
        raise NotAStateDict("it appends to what is no list")
    target.extend(items)


def _global(name: str) -> _Global:
    if name not in _STORAGES and name not in (_DICT, _TENSOR):
        raise NotAStateDict(f"it asks for {name.replace(' ', '.', 1)!a:.80}, which is not needed to hold tensors")
    return _Global(name)


def _storage(described: object) -> _Storage:
    match described:
        case ("storage", _Global(name), str(key), str(), int(size), None) if name in _STORAGES:
            if 0 <= size * _STORAGES[name].itemsize <= MAX_BYTES:
                return _Storage(key, _STORAGES[name], size)
            raise NotAStateDict(f"storage {key!a:.80} would not fit into {MAX_BYTES} bytes")
    raise NotAStateDict("it describes a storage of a kind that is not read")


def _made(what: object, arguments: object) -> object:
    """What a call in the pickle would have made: an empty dictionary or a tensor."""
    match what, arguments:
        case _Global(name), () if name == _DICT:
            return {}
        case _Global(name), (_Storage() as storage, int(offset), tuple(shape), tuple(stride), bool(), dict()) if (
            name == _TENSOR and len(shape) <= _MAX_DIMENSIONS
        ):
            if offset < 0 or not all(type(length) is int and length > 0 for length in shape):
                raise NotAStateDict("a tensor in it has an impossible shape or place")
            if stride != tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape))):
                raise NotAStateDict("a tensor in it does not lie in order in its storage")
            return _Tensor(storage, offset, shape)
    raise NotAStateDict("it calls for something that is neither a tensor nor an empty dictionary")
