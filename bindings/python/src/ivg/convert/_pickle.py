"""pytorch_model.bin: a zip archive of raw storages and a pickle that says which tensors lie in them.

A pickle is a program. It is not run here: `pickletools` cuts it into its instructions, and those that build
dictionaries and describe tensors are followed on a stack of plain values. Whatever else a pickle may want to call is
refused by name.
"""

from __future__ import annotations

import math
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._errors import ConvertError, shown
from ._numbers import Element
from ._source import MappedFile, StoredTensor

#: A pickle beyond this is refused: each tensor takes about 200 bytes.
_MAXIMUM_PICKLE = 1 << 24
#: What zipfile raises where an archive is damaged.
_DAMAGES = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OverflowError, OSError, struct.error, zlib.error)
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_STORAGES: dict[str, Element | None] = {
    "torch.DoubleStorage": Element.F64,
    "torch.FloatStorage": Element.F32,
    "torch.HalfStorage": Element.F16,
    "torch.BFloat16Storage": Element.BF16,
    # No weights.
    **{f"torch.{name}Storage": None for name in ("Long", "Int", "Short", "Char", "Byte", "Bool")},
}


def read_pickle(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file that `torch.save` wrote, none of them read yet. Nothing in it is executed."""
    file = MappedFile(path)
    start = file.bytes(0, min(file.size, len(_LEGACY)))
    if start == _LEGACY:
        raise ConvertError(
            f"{path} is in the format of torch before version 1.6, which cannot be read without unpickling it; load "
            "and save it with a newer torch, or use safetensors"
        )
    if not start.startswith(b"PK\x03\x04"):
        raise ConvertError(f"{path} is truncated, or no file of torch.save: it does not begin as a zip archive")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, file)
    except ConvertError:
        raise
    except _DAMAGES as error:
        raise ConvertError(f"{path} is truncated, or no zip archive: {error}") from None


def _read_archive(archive: zipfile.ZipFile, file: MappedFile) -> dict[str, StoredTensor]:
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise ConvertError(f"{file.path} holds {len(names)} entries data.pkl, but must hold one")
    folder = names[0].removesuffix("data.pkl")
    program = _read_entry(archive, names[0], _MAXIMUM_PICKLE, file)
    if f"{folder}byteorder" in archive.namelist():
        order = _read_entry(archive, f"{folder}byteorder", 16, file)
        if order != b"little":
            raise ConvertError(f"{file.path}: its byte order is {shown(order)}; only little can be read")
    value = _Machine(str(file.path)).run(program)
    if not isinstance(value, dict):
        raise ConvertError(f"{file.path} holds {type(value).__name__}, not tensors by name")
    found = {}
    for name, item in value.items():
        if isinstance(item, _Tensor) and item.storage.element is not None:
            if not isinstance(name, str):
                raise ConvertError(f"{file.path}: a tensor is called {shown(name)}, which is no string")
            found[name] = _stored(name, item, item.storage.element, archive, folder, file)
    if not found:
        raise ConvertError(f"{file.path} holds no tensors by name at its top level")
    return found


def _read_entry(archive: zipfile.ZipFile, name: str, maximum: int, file: MappedFile) -> bytes:
    """The bytes of a small entry."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ConvertError(f"{file.path}: {shown(name)} is compressed, as torch.save never does")
    with archive.open(name) as entry:
        content = entry.read(maximum + 1)
    if len(content) > maximum:
        raise ConvertError(f"{file.path}: {shown(name)} has more than {maximum} bytes")
    return content


def _stored(
    name: str, tensor: _Tensor, element: Element, archive: zipfile.ZipFile, folder: str, file: MappedFile
) -> StoredTensor:
    """Where a tensor lies in the file, checked."""
    place = f"{file.path}: tensor {shown(name)}"
    try:
        entry = archive.getinfo(f"{folder}data/{tensor.storage.key}")
    except KeyError:
        raise ConvertError(f"{place}: its storage {shown(tensor.storage.key)} is missing in the archive") from None
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ConvertError(f"{place}: its storage is compressed, as torch.save never does")
    # zipfile moves every offset by what lies before the archive, which may be less than nothing.
    if not 0 <= entry.header_offset <= file.size - 30:
        raise ConvertError(
            f"{place}: the entry {shown(entry.filename)} begins at byte {entry.header_offset}, but must at 0 to "
            f"{file.size - 30}: the file is truncated or damaged"
        )
    header = file.bytes(entry.header_offset, 30)
    start = entry.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    size = element.held.itemsize
    if not header.startswith(b"PK\x03\x04") or start + entry.file_size > file.size:
        raise ConvertError(f"{place}: its storage lies beyond the end of the file: it is truncated")
    if math.prod(tensor.shape) > tensor.storage.count:
        raise ConvertError(f"{place} has the shape {shown(tensor.shape)}, more than its storage holds")
    result = StoredTensor(name, element, tensor.shape, file, start + tensor.offset * size, tensor.steps)
    if tensor.offset * size + result.extent > min(entry.file_size, tensor.storage.count * size):
        raise ConvertError(f"{place} reaches beyond its storage of {entry.file_size} bytes")
    return result


@dataclass(frozen=True)
class _Global:
    """A name that the pickle mentions."""

    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    element: Element | None
    #: Elements.
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]


class _Mark:
    """Where a tuple, list or dictionary begins on the stack."""


_MARK = _Mark()

_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_VALUES = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
    )
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = frozenset(("BINPUT", "LONG_BINPUT", "PUT"))
_GETS = frozenset(("BINGET", "LONG_BINGET", "GET"))


class _Machine:
    """Follows a pickle on a stack of plain values."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """What the pickle builds."""
        try:
            for instruction, argument, _ in pickletools.genops(program):
                if instruction.name == "STOP":
                    return self.stack.pop()
                self._follow(instruction.name, argument)
        except ConvertError:
            raise
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConvertError(f"{self.place}: its pickle is damaged: {error}") from None
        raise ConvertError(f"{self.place}: its pickle has no end")

    def _follow(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _VALUES:
            stack.append(argument)
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack[-count:] = [tuple(stack[-count:])] if len(stack) >= count else self._short()
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name in _PUTS:
            self.memo[int(argument)] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in _GETS:
            stack.append(self.memo[int(argument)])
        elif name in ("SETITEM", "SETITEMS"):
            items = self._since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            self._put(stack[-1], items)
        elif name in ("APPEND", "APPENDS"):
            stack[-1].extend(self._since_mark() if name == "APPENDS" else [stack.pop()])
        elif name == "GLOBAL":
            stack.append(_Global(str(argument).replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            member, module = stack.pop(), stack.pop()
            if not isinstance(member, str) or not isinstance(module, str):
                raise TypeError("a name is no text")
            stack.append(_Global(f"{module}.{member}"))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(self._call(function, arguments))
        elif name == "BUILD":
            # Attributes of a dictionary or tensor, such as the versions of modules.
            stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise ConvertError(f"{self.place}: its pickle has the instruction {name}, which weights do not need")

    def _put(self, target: Any, items: list[Any]) -> None:
        """Puts keys and values into a dictionary."""
        for key in items[::2]:
            # A tuple that holds another twice, and so on, takes forever to hash.
            if not isinstance(key, str | int | float | None):
                raise ConvertError(f"{self.place}: a key in its pickle is {shown(key)}, which weights do not need")
        target.update(zip(items[::2], items[1::2], strict=True))

    def _short(self) -> Iterable[Any]:
        raise IndexError("too little on the stack")

    def _since_mark(self) -> list[Any]:
        stack = self.stack
        start = len(stack) - 1
        while stack[start] is not _MARK:
            if start == 0:
                self._short()
            start -= 1
        items = stack[start + 1 :]
        del stack[start:]
        return items

    def _storage(self, value: Any) -> _Storage:
        """A persistent id: ("storage", type, key, device, elements)."""
        kind, storage, key, _, count = value
        if kind != "storage" or not isinstance(storage, _Global) or not isinstance(key, str):
            raise ValueError(f"{shown(value)} is no storage")
        if storage.name not in _STORAGES:
            raise ConvertError(f"{self.place}: its pickle names {shown(storage.name)}, which is no known storage")
        return _Storage(key, _STORAGES[storage.name], self._whole(count))

    def _call(self, function: Any, arguments: Any) -> Any:
        name = function.name if isinstance(function, _Global) else shown(function)
        if name == "collections.OrderedDict" and arguments in ((), ([],)):
            return {}
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            storage, offset, shape, steps = arguments[:4]
            if not isinstance(storage, _Storage) or len(shape) != len(steps) or len(shape) > 8:
                raise ValueError("a tensor is described in an unknown way")
            whole = tuple(map(self._whole, shape)), tuple(map(self._whole, steps))
            return _Tensor(storage, self._whole(offset), *whole)
        if name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            return arguments[0]
        if name == "torch.Size":
            (sizes,) = arguments
            if not isinstance(sizes, tuple | list) or len(sizes) > 8:
                raise ValueError(f"{shown(sizes)} are no sizes of a tensor")
            return tuple(sizes)
        raise ConvertError(
            f"{self.place}: its pickle calls {shown(name)}, which is not needed for weights and is refused"
        )

    def _whole(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 48:
            raise ValueError(f"{shown(value)} is no size")
        return value
