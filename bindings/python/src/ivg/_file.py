"""Looking inside GGUF files."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from . import _bindings as c
from ._library import call, lib, new_error, take_error, text
from ._managed import Managed
from ._model import PathLike, _path

FileKind = Literal["model", "adapter", "value_head"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file."""

    name: str
    #: "F16", "Q4_0", …
    type: str
    #: Fastest dimension (columns) first.
    shape: tuple[int, ...]
    #: Bytes from the start of the file.
    offset: int
    #: Bytes.
    size: int


class File(Managed):
    """A GGUF file, opened only to look inside.

    with ivg.File("model.gguf") as file:
        print(file.kind, file.metadata(max_elements=4))
        for tensor in file.tensors():
            print(tensor.name, tensor.type, tensor.shape)
    """

    def __init__(self, path: PathLike) -> None:
        self.path = os.fspath(path)
        self._create(c.ivg_file, lib.ivg_file_free, lib.ivg_file_open, _path(path))

    def keys(self) -> list[str]:
        """The names of the metadata entries, in file order."""
        count = lib.ivg_file_metadata_count(self._handle)
        return [text(lib.ivg_file_metadata_key(self._handle, index)) or "" for index in range(count)]

    def metadata(self, max_elements: int = 8) -> dict[str, Any]:
        """All metadata; of each array the first `max_elements`."""
        return {key: self._value(index, max_elements) for index, key in enumerate(self.keys())}

    def get(self, key: str, max_elements: int = 8) -> Any:
        """The value of one metadata entry, or None."""
        keys = self.keys()
        return self._value(keys.index(key), max_elements) if key in keys else None

    def _value(self, index: int, max_elements: int) -> Any:
        capacity = 256
        while True:
            buffer = ctypes.create_string_buffer(capacity)
            needed = ctypes.c_size_t()
            error = new_error()
            status = lib.ivg_file_metadata_json(
                self._handle, index, max_elements, buffer, capacity, ctypes.byref(needed), ctypes.byref(error)
            )
            if status == c.IVG_ERROR_BUFFER_TOO_SMALL and needed.value >= capacity:
                lib.ivg_error_free(error)
                capacity = needed.value + 1
                continue
            if status < 0:
                raise take_error(status, error)
            return json.loads(buffer.raw[: needed.value].decode("utf-8", "replace"))

    def tensors(self) -> Iterator[Tensor]:
        """The tensors, in file order."""
        for index in range(lib.ivg_file_tensor_count(self._handle)):
            info = c.ivg_tensor_info(struct_size=ctypes.sizeof(c.ivg_tensor_info))
            handle = self._handle  # which owns the texts
            call(lib.ivg_file_tensor, handle, index, ctypes.byref(info))
            shape = tuple(info.shape[: info.dimension_count])
            tensor = Tensor(text(info.name) or "", text(info.type) or "", shape, info.offset, info.size)
            del handle
            yield tensor

    @property
    def architecture(self) -> str | None:
        """The file's `general.architecture`."""
        value = self.get("general.architecture")
        return value if isinstance(value, str) else None

    @property
    def kind(self) -> FileKind:
        """What the file is for: its `general.type`, as far as libivg knows it."""
        kind = self.get("general.type")
        return kind if kind in ("adapter", "value_head") else "model"
