"""Weights of a folder: tensors by name, each read only when it is asked for."""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ._config import require_file
from ._errors import ConvertError
from ._numbers import Array, Element


class MappedFile:
    """A file whose bytes are looked at without being read into memory. Closed with its last view."""

    def __init__(self, path: Path) -> None:
        require_file(path)
        self.path = path
        with path.open("rb") as file:
            self.size = file.seek(0, 2)
            self.mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else None

    def bytes(self, start: int, count: int) -> bytes:
        """A copy of `count` bytes. Throws if they are not all in the file."""
        self._check(start, count)
        return b"" if self.mapping is None else self.mapping[start : start + count]

    def view(self, start: int, count: int) -> memoryview:
        """`count` bytes in place. Throws if they are not all in the file."""
        self._check(start, count)
        whole = memoryview(b"" if self.mapping is None else self.mapping)
        return whole[start : start + count]

    def _check(self, start: int, count: int) -> None:
        # A slice would be silently shorter, or count a negative start from the end.
        if start < 0 or count < 0 or start + count > self.size:
            raise ConvertError(
                f"{self.path}: {count} bytes from byte {start} on are needed, but the file has {self.size}"
            )

    def forget(self, start: int, count: int) -> None:
        """Gives the memory of bytes that will not be looked at again back to the system."""
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (start + count) // mmap.PAGESIZE * mmap.PAGESIZE
        if self.mapping is not None and last > first:
            self.mapping.madvise(mmap.MADV_DONTNEED, first, last - first)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, described; `array()` looks at it."""

    name: str
    element: Element
    shape: tuple[int, ...]
    file: MappedFile
    #: First byte in the file.
    start: int
    #: Steps of each dimension in elements, where they are not those of a packed row-major array.
    steps: tuple[int, ...] | None = None

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def extent(self) -> int:
        """Bytes from the first element to behind the last one."""
        if self.steps is None or self.count == 0:
            return self.count * self.element.held.itemsize
        last = sum((size - 1) * step for size, step in zip(self.shape, self.steps, strict=True))
        return (last + 1) * self.element.held.itemsize

    def array(self) -> Array:
        """The elements in place, read-only (BF16 as its 16 bits). Throws if they are not all in the file."""
        flat = np.frombuffer(self.file.view(self.start, self.extent), self.element.held)
        if self.steps is None:
            return flat.reshape(self.shape)
        if min(self.steps, default=0) < 0:
            raise ConvertError(f"{self.place()} has the steps {list(self.steps)}, but they must be at least 0")
        strides = tuple(step * flat.itemsize for step in self.steps)
        return np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False)

    def forget(self) -> None:
        """Says that the elements will not be needed again."""
        self.file.forget(self.start, self.extent)

    def place(self) -> str:
        """For messages."""
        return f"{self.file.path}: tensor {self.name}"


#: The tensors of a folder, by name.
Weights = Mapping[str, StoredTensor]


def require_shape(tensor: StoredTensor, shape: tuple[int, ...], what: str) -> None:
    """Throws if the tensor has another shape; `what` says where the expected one comes from."""
    if tensor.shape != shape:
        raise ConvertError(f"{tensor.place()} has shape {list(tensor.shape)}, but {what} needs {list(shape)}")
