"""The safetensors format: a length, a JSON header, then the bytes of all tensors.

Read here rather than by the package of that name, which cannot hand BF16 to numpy, and because every field of the
header is checked against the file before it is used.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ._config import parse_json
from ._errors import ConvertError, shown
from ._numbers import Element
from ._source import MappedFile, StoredTensor

#: The bound that the format itself sets.
_MAXIMUM_HEADER = 100_000_000
_ELEMENTS = {"F64": Element.F64, "F32": Element.F32, "F16": Element.F16, "BF16": Element.BF16}


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file, none of them read yet.

    Tensors of other types than floating point numbers are left out: what holds them is not a weight.
    """
    file = MappedFile(path)
    if file.size < 8:
        raise ConvertError(f"{path} is not a safetensors file: it has {file.size} bytes")
    length = int.from_bytes(file.bytes(0, 8), "little")
    if length > min(_MAXIMUM_HEADER, file.size - 8):
        raise ConvertError(f"{path} is truncated or no safetensors file: its header should have {length} bytes")
    header = parse_json(file.bytes(8, length), f"{path}: header")
    found: dict[str, StoredTensor] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        tensor = _tensor(name, entry, file, 8 + length)
        if tensor is not None:
            found[name] = tensor
    return found


def _tensor(name: str, entry: Any, file: MappedFile, base: int) -> StoredTensor | None:
    place = f"{file.path}: tensor {shown(name)}"
    if not isinstance(entry, dict):
        raise ConvertError(f"{place} is described by {shown(entry)}, not an object")
    element = _ELEMENTS.get(entry["dtype"]) if isinstance(entry.get("dtype"), str) else None
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not _is_list_of_whole(shape) or len(shape) > 8 or math.prod(shape) > file.size:
        raise ConvertError(f"{place} has the shape {shown(shape)}, which is impossible in {file.size} bytes")
    if not _is_list_of_whole(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ConvertError(f"{place} has the data_offsets {shown(offsets)}, which are impossible")
    if base + offsets[1] > file.size:
        raise ConvertError(f"{place} ends at byte {base + offsets[1]}, but the file has {file.size}: it is truncated")
    if element is None:
        return None
    tensor = StoredTensor(name, element, tuple(shape), file, base + offsets[0])
    if tensor.extent != offsets[1] - offsets[0]:
        raise ConvertError(
            f"{place} has {offsets[1] - offsets[0]} bytes, but {shape} elements of {element.label} need {tensor.extent}"
        )
    return tensor


def _is_list_of_whole(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, int) and item is not True and item >= 0 for item in value)
