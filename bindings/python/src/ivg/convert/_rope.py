"""Rotary positions: what a config says about them, and the GGUF fields and tensors that say it.

Two layouts are read: `rope_parameters` of transformers 5 (for some models one object per layer type), and
`rope_theta` with `rope_scaling` of the versions before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._config import Config
from ._errors import ConvertError

#: What `rope_type` may be, by what it was called before.
_TYPES = {"default": "default", "linear": "linear", "llama3": "llama3", "yarn": "yarn", "longrope": "longrope"}
_FORMER_NAMES = {"su": "longrope", "none": "default"}


@dataclass(frozen=True)
class Rope:
    """The rotation of one kind of layer."""

    type: str
    #: Base of the frequencies.
    theta: float
    #: The fields that belong to `type`.
    fields: Config
    #: The part of each head that rotates.
    partial: float


def read_rope(config: Config, layers: str = "full_attention") -> Rope:
    """The rotation of `layers` ("full_attention", "sliding_attention")."""
    if config.has("rope_parameters"):
        fields = config.section("rope_parameters")
        if layers in fields.values:
            fields = fields.section(layers)
        theta = fields.number("rope_theta", config.raw("rope_theta", None), low=1e-3, high=1e12)
    else:
        fields = config.section("rope_scaling", {})
        theta = config.number("rope_theta", low=1e-3, high=1e12)
    name = fields.text("rope_type", fields.raw("type", "default"))
    kind = _TYPES.get(_FORMER_NAMES.get(name, name))
    if kind is None:
        known = ", ".join(_TYPES)
        raise ConvertError(f"{fields.place}: rope_type is {name!r}, which is not supported; known: {known}")
    values: dict[str, Any] = dict(fields.values)
    for shared in ("original_max_position_embeddings", "partial_rotary_factor"):
        if values.get(shared) is None and config.has(shared):
            values[shared] = config.values[shared]
    fields = Config(values, fields.place)
    return Rope(kind, theta, fields, fields.number("partial_rotary_factor", 1.0, low=1e-3, high=1.0))


def rope_metadata(rope: Rope, maximum_positions: int) -> dict[str, Any]:
    """`rope.*` fields, without the name of the architecture."""
    found: dict[str, Any] = {"rope.freq_base": rope.theta}
    fields = rope.fields
    if rope.type == "linear":
        found["rope.scaling.type"] = "linear"
        found["rope.scaling.factor"] = fields.number("factor", low=1, high=1e6)
    elif rope.type == "yarn":
        found |= _yarn_metadata(fields, maximum_positions)
    return found


def _yarn_metadata(fields: Config, maximum_positions: int) -> dict[str, Any]:
    """Fields of YaRN (arXiv 2309.00071, §3). Readers scale rotated elements by (1 + 0.1 ln factor) · `attn_factor`,
    which is written where the config asks for another scale than the paper's."""
    original = fields.whole("original_max_position_embeddings", maximum_positions, high=1 << 27)
    factor = fields.number("factor", maximum_positions / original, low=1, high=1e6)
    found = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": factor,
        "rope.scaling.original_context_length": original,
    }
    usual = 0.1 * math.log(factor) + 1
    if fields.has("attention_factor"):
        scale = fields.number("attention_factor", low=1e-6, high=1e6)
    elif fields.has("mscale") and fields.has("mscale_all_dim"):
        upper, lower = (fields.number(name, low=0, high=1e6) for name in ("mscale", "mscale_all_dim"))
        scale = (0.1 * upper * math.log(factor) + 1) / (0.1 * lower * math.log(factor) + 1)
    else:
        scale = usual
    if scale != usual:
        found["rope.scaling.attn_factor"] = scale / usual
    if not fields.flag("truncate", True):
        raise ConvertError(f"{fields.place}: truncate is false, which GGUF cannot say")
    for name in ("beta_fast", "beta_slow"):
        if fields.has(name):
            found[f"rope.scaling.yarn_{name}"] = fields.number(name, low=1e-6, high=1e6)
    return found


def llama3_factors(rope: Rope, rotated: int) -> NDArray[np.float32]:
    """By what each of the `rotated` / 2 frequencies is divided (Llama 3.1: long waves are stretched, short ones are
    kept, those between are blended)."""
    fields = rope.fields
    factor = fields.number("factor", low=1, high=1e6)
    low, high = (fields.number(f"{name}_freq_factor", low=1e-6, high=1e6) for name in ("low", "high"))
    if low >= high:
        raise ConvertError(f"{fields.place}: low_freq_factor is {low:g}, but must be below high_freq_factor, {high:g}")
    original = fields.whole("original_max_position_embeddings", high=1 << 27)
    frequencies = rope.theta ** (-np.arange(0, rotated, 2, dtype=np.float64) / rotated)
    turns = original * frequencies / (2 * math.pi)
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - blend) / factor + blend)).astype(np.float32)


def longrope_factors(rope: Rope, name: str, rotated: int) -> NDArray[np.float32]:
    """The list `name` ("long_factor", "short_factor"), one number for each pair of rotated elements."""
    factors = rope.fields.numbers(name, low=1e-6, high=1e6)
    if len(factors) != rotated // 2:
        raise ConvertError(
            f"{rope.fields.place}: {name} has {len(factors)} entries, but must have {rotated // 2}, one for each pair "
            "of rotated elements"
        )
    return np.array(factors, np.float32)


def longrope_scale(original: int, maximum: int) -> float:
    """The scale of rotated elements (LongRoPE, arXiv 2402.13753, as Phi-3 uses it)."""
    ratio = maximum / original
    return math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 and original > 1 else 1.0
