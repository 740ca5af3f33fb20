"""What tensors a file will hold, and how each comes out of the stored ones.

Descriptions of architectures are made of `Tensor`; `plan` looks up what they name in the weights of a folder and
checks every shape, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ._errors import ConvertError
from ._numbers import Array, Element, encoded, widened
from ._source import StoredTensor, Weights, require_shape

#: Sizes by name: "hidden", "query", …
Sizes = Mapping[str, int]
#: From a stored array to the part and order of it that is written; looks, does not copy. Its elements in row-major
#: order are those written.
View = Callable[[Array, Sizes], Array]

#: Bytes that are converted at a time.
_CHUNK = 1 << 22
#: Bytes of a tensor's file that may stay in memory before they are given back.
_RESIDENT = 1 << 24


def unchanged(array: Array, sizes: Sizes) -> Array:
    """All elements in their order."""
    return array


def transposed(array: Array, sizes: Sizes) -> Array:
    """Columns as rows (`Conv1D` of transformers multiplies from the other side)."""
    return np.transpose(array)


def interleaved(heads: str) -> View:
    """Rows of each head in the order 0, n/2, 1, n/2 + 1, …: elements that rotate together then lie side by side.

    `heads` names the size that counts them.
    """

    def view(array: Array, sizes: Sizes) -> Array:
        count = sizes[heads]
        half = array.shape[0] // count // 2
        return np.swapaxes(array.reshape(count, 2, half, *array.shape[1:]), 1, 2)

    return view


def rows(first: str | int, last: str | int, axis: int = 0) -> View:
    """The part first..<last of an axis, each a number or the name of a size."""

    def view(array: Array, sizes: Sizes) -> Array:
        start, stop = (bound if isinstance(bound, int) else sizes[bound] for bound in (first, last))
        return array[(slice(None),) * axis + (slice(start, stop),)]

    return view


@dataclass(frozen=True)
class Source:
    """A stored tensor that a written one can come from. {layer} and {expert} in the name are numbers."""

    name: str
    #: Names of sizes.
    shape: tuple[str, ...]
    view: View = unchanged


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file. {layer} in the name is a number."""

    name: str
    #: Names of sizes, slowest dimension first.
    shape: tuple[str, ...]
    #: The first of which the weights have is taken.
    sources: tuple[Source, ...]
    #: Added to each element.
    offset: float = 0
    #: F32 whatever was chosen, as vectors are.
    exact: bool = False
    #: Whether the tensor belongs to a model of these sizes.
    when: Callable[[Sizes], bool] = field(default=lambda sizes: True)


def simple(
    name: str,
    source: str,
    shape: str,
    view: View = unchanged,
    stored: str | None = None,
    offset: float = 0,
    exact: bool = False,
    flag: str | None = None,
) -> Tensor:
    """A tensor with one source. Shapes are names with spaces between; `stored` is the source's, if it differs.

    With `flag`, the tensor exists where the size of that name is not 0.
    """
    dimensions = tuple(shape.split())
    at_source = Source(source, tuple(stored.split()) if stored else dimensions, view)
    when = (lambda sizes: True) if flag is None else (lambda sizes: bool(sizes[flag]))
    return Tensor(name, dimensions, (at_source,), offset, exact, when)


@dataclass(frozen=True)
class Planned:
    """A tensor about to be written."""

    name: str
    shape: tuple[int, ...]
    element: Element
    #: Stored tensors and the view of each, one after the other.
    parts: tuple[tuple[StoredTensor, View], ...] = ()
    sizes: Sizes = field(default_factory=dict)
    offset: float = 0
    #: Factor of each element.
    scale: float = 1
    #: The elements themselves, in place of `parts`.
    computed: Array | None = None

    @property
    def byte_count(self) -> int:
        count = self.element.held.itemsize
        for extent in self.shape:
            count *= extent
        return count

    def chunks(self) -> Iterator[Array]:
        """The elements in order, encoded, a few at a time."""
        if self.computed is not None:
            yield encoded(np.ascontiguousarray(self.computed), Element.F32, self.element, self.name)
        for stored, view in self.parts:
            looked_at = 0
            for piece in _pieces(view(stored.array(), self.sizes)):
                looked_at += piece.nbytes
                if looked_at >= _RESIDENT:
                    stored.forget()
                    looked_at = 0
                yield self._changed(piece, stored.element)
            stored.forget()

    def _changed(self, piece: Array, element: Element) -> Array:
        """Elements of the stored type, scaled, shifted and encoded."""
        if self.offset != 0 or self.scale != 1:
            piece = widened(piece, element).astype(np.float64) * self.scale + self.offset
            element = Element.F64
        return encoded(piece, element, self.element, self.name)


def _pieces(array: Array) -> Iterator[Array]:
    """Copies of successive parts of an array, cut along its first axis."""
    if array.ndim == 0 or array.shape[0] == 0:
        yield np.ascontiguousarray(array)
        return
    step = max(1, _CHUNK // max(1, array.nbytes // array.shape[0]))
    for start in range(0, array.shape[0], step):
        yield np.ascontiguousarray(array[start : start + step])


def planned(
    tensors: Iterable[Tensor], weights: Weights, prefix: str, sizes: Sizes, choose: Callable[[Element], Element]
) -> tuple[list[Planned], set[str]]:
    """All tensors, and the names of the stored ones they come from.

    `prefix` stands before the stored names, except those that begin with "/". `choose` gives the type in which a
    matrix is written, by the one in which it is stored. Throws naming what is missing or has a wrong shape.
    """
    found: list[tuple[int, Planned]] = []
    used: set[str] = set()
    for tensor in tensors:
        if not tensor.when(sizes):
            continue
        for layer in range(sizes["layers"] if "{layer}" in tensor.name else 1):
            parts = _parts(tensor, weights, prefix, layer, sizes)
            used.update(stored.name for stored, _ in parts)
            shape = tuple(sizes[dimension] for dimension in tensor.shape)
            exact = tensor.exact or len(shape) < 2
            element = Element.F32 if exact else choose(parts[0][0].element)
            name = tensor.name.format(layer=layer)
            found.append((_place(tensor, layer, sizes), Planned(name, shape, element, parts, sizes, tensor.offset)))
    found.sort(key=lambda item: item[0])
    return [tensor for _, tensor in found], used


def _place(tensor: Tensor, layer: int, sizes: Sizes) -> int:
    """Where the tensor stands in the file: in the order in which it is computed with."""
    if "{layer}" in tensor.name:
        return 1 + layer
    return 1 + sizes["layers"] if tensor.name.startswith("output") else 0


def _parts(
    tensor: Tensor, weights: Weights, prefix: str, layer: int, sizes: Sizes
) -> tuple[tuple[StoredTensor, View], ...]:
    """What the tensor comes from: one stored tensor, or one for each expert."""
    wanted = []
    for source in tensor.sources:
        names = [
            source.name[1:].format(layer=layer, expert=expert)
            if source.name.startswith("/")
            else prefix + source.name.format(layer=layer, expert=expert)
            for expert in range(sizes["experts"] if "{expert}" in source.name else 1)
        ]
        wanted.append(names[0])
        if names[0] not in weights:
            continue
        parts = []
        for name in names:
            if name not in weights:
                raise ConvertError(f"tensor {name} is missing in the weights")
            require_shape(weights[name], tuple(sizes[dimension] for dimension in source.shape), "the config")
            parts.append((weights[name], source.view))
        return tuple(parts)
    raise ConvertError(f"tensor {' or '.join(wanted)} is missing in the weights")
