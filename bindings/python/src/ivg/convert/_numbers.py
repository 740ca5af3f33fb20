"""Element types of weights, and conversion between them."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from ._errors import ConvertError

Array = NDArray[Any]


class Element(Enum):
    """An element type: what its elements are held in, and what GGUF calls it."""

    F64 = ("F64", np.dtype("<f8"))
    F32 = ("F32", np.dtype("<f4"))
    F16 = ("F16", np.dtype("<f2"))
    #: The upper half of an F32; numpy has no such type.
    BF16 = ("BF16", np.dtype("<u2"))

    def __init__(self, label: str, held: np.dtype[Any]) -> None:
        self.label = label
        self.held = held

    @property
    def gguf(self) -> GGMLQuantizationType:
        return GGMLQuantizationType[self.label]


def widened(values: Array, element: Element) -> Array:
    """Values as F32 (F64 stays)."""
    if element is Element.BF16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values if element is Element.F64 else values.astype(np.float32)


def encoded(values: Array, source: Element, target: Element, name: str) -> Array:
    """Values of type `source` as type `target`, rounded to nearest, ties to even.

    A finite value that `target` cannot hold is an error that names the tensor: `name`.
    """
    if source is target:
        return values
    wide = widened(values, source)
    with np.errstate(over="ignore", invalid="ignore"):
        found = _narrowed(wide, target)
    if source is not Element.F16 and target is not Element.F64:
        lost = np.isfinite(wide) & ~np.isfinite(widened(found, target))
        if lost.any():
            largest = float(np.abs(wide[lost]).max())
            raise ConvertError(
                f"tensor {name} holds {largest:g}, which {target.label} cannot hold; choose another --type"
            )
    return found


def _narrowed(wide: Array, target: Element) -> Array:
    if target is not Element.BF16:
        return wide.astype(target.held)
    bits = wide.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    quiet = (bits >> 16) | 0x40
    return np.where(np.isnan(wide), quiet, rounded).astype(np.uint16)
