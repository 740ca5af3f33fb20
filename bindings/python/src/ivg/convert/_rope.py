"""Rotary positions: what a config says about them, and the GGUF fields and tensors that say it.

Two layouts are read: `rope_parameters` of transformers 5 (for some models one object per layer type), and
`rope_theta` with `rope_scaling` of the versions before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._config import Config
from ._errors import ConvertError
from ._numbers import Array

#: What `rope_type` may be, by what it was called before.
_TYPES = {"default": "default", "linear": "linear", "llama3": "llama3", "yarn": "yarn", "longrope": "longrope"}
_FORMER_NAMES = {"su": "longrope", "none": "default"}
#: Kinds of layers, by which a config may list parameters.
_LAYERS = ("full_attention", "sliding_attention")


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
    #: The longest text that the model was first trained with, and that it can read.
    original: int
    positions: int


def read_rope(config: Config, partial: bool = False) -> Rope:
    """The rotation of a model whose layers rotate alike; with `partial`, of one that may rotate a part of each head."""
    fields = _parameters(config)
    for name in _LAYERS:
        if isinstance(fields.values.get(name), dict):
            raise fields.error(name, fields.values[name], "absent: layers of this architecture rotate alike")
    theta = config.raw("rope_theta", None)
    # A length beside the parameters takes precedence over one among them.
    return _rope(config, fields, theta, config.raw("original_max_position_embeddings", None), partial)


def read_layer_rope(config: Config, layers: str, theta: str) -> Rope:
    """The rotation of `layers` ("full_attention", "sliding_attention") in a model where each kind has its own.

    `theta` is the field that held their base before there were `rope_parameters`.
    """
    every = config.section("rope_parameters", {})
    values = every.section(layers, {}).values
    # Parameters of the former layout are about layers with full attention.
    former = config.section("rope_scaling", {}).values if layers == "full_attention" else {}
    place = every.place if config.has("rope_parameters") else config.place
    fields = Config({**values, **former}, f"{place}: {layers}" if values else f"{config.place}: rope_scaling")
    return _rope(config, fields, config.raw(theta, None), None, False)


def _parameters(config: Config) -> Config:
    """The rotation's own fields: those of the former layout, where a config has both."""
    former = config.section("rope_scaling", {})
    return former if former.values else config.section("rope_parameters", {})


def _rope(config: Config, fields: Config, theta: Any, original: Any, partial: bool) -> Rope:
    """The rotation that `fields` describe; `theta` and `original` are what the config has outside of them."""
    name = fields.text("rope_type", fields.raw("type", "default"))
    kind = _TYPES.get(_FORMER_NAMES.get(name, name))
    if kind is None:
        known = ", ".join(_TYPES)
        raise ConvertError(f"{fields.place}: rope_type is {name!r}, which is not supported; known: {known}")
    if fields.has("rope_theta"):
        theta = fields.values["rope_theta"]
    outer = Config({"rope_theta": theta, "original_max_position_embeddings": original}, config.place)
    base = outer.number("rope_theta", low=1, high=1e12)
    if base == 1:
        raise outer.error("rope_theta", theta, "above 1")
    positions = config.whole("max_position_embeddings", high=1 << 27)
    inner = outer if original is not None else fields
    length = inner.whole("original_max_position_embeddings", positions, high=1 << 27)
    shared = fields if fields.has("partial_rotary_factor") else config
    rotating = shared.number("partial_rotary_factor", 1.0, low=1e-3, high=1.0)
    if not partial and kind != "default" and rotating != 1:
        raise shared.error("partial_rotary_factor", rotating, "1 in this architecture")
    return Rope(kind, base, fields, rotating, length, positions)


def rope_metadata(rope: Rope) -> dict[str, Any]:
    """`rope.*` fields, without the name of the architecture. What they leave open is in `rope_tensors`."""
    found: dict[str, Any] = {"rope.freq_base": rope.theta}
    if rope.type == "linear":
        found["rope.scaling.type"] = "linear"
        found["rope.scaling.factor"] = rope.fields.number("factor", low=1, high=1e6)
    elif rope.type == "yarn":
        found |= _yarn_metadata(rope)
    elif rope.type == "longrope":
        found["rope.scaling.type"] = "longrope"
        found["rope.scaling.original_context_length"] = rope.original
        found["rope.scaling.attn_factor"] = longrope_scale(rope)
    return found


def rope_tensors(rope: Rope, rotated: int) -> dict[str, Array]:
    """By what frequencies are divided, for each pair of `rotated` elements, where metadata cannot say it."""
    if rope.type == "llama3":
        return {"rope_freqs.weight": _llama3_factors(rope, rotated)}
    if rope.type == "longrope":
        return {f"rope_factors_{name}.weight": _factors(rope, f"{name}_factor", rotated) for name in ("long", "short")}
    return {}


def _yarn_metadata(rope: Rope) -> dict[str, Any]:
    """Fields of YaRN (arXiv 2309.00071, §3). Readers scale rotated elements by (1 + 0.1 ln factor) · `attn_factor`,
    which is written where the config asks for another scale than the paper's."""
    fields = rope.fields
    factor = _factor(rope)
    if factor < 1:
        raise fields.error("factor", factor, "at least 1")
    found = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": factor,
        "rope.scaling.original_context_length": rope.original,
    }
    usual = 0.1 * math.log(factor) + 1
    upper, lower = (fields.number(name, 0.0, low=0, high=100) for name in ("mscale", "mscale_all_dim"))
    if fields.has("attention_factor"):
        scale = _scale(fields)
    elif upper and lower:
        scale = (0.1 * upper * math.log(factor) + 1) / (0.1 * lower * math.log(factor) + 1)
    else:
        scale = usual
    if scale != usual:
        found["rope.scaling.attn_factor"] = scale / usual
    if not fields.flag("truncate", True):
        raise ConvertError(f"{fields.place}: truncate is false, which GGUF cannot say")
    for name in ("beta_fast", "beta_slow"):
        if fields.has(name):
            found[f"rope.scaling.yarn_{name}"] = fields.number(name, low=1e-3, high=1e6)
    return found


def _factor(rope: Rope) -> float:
    """By what texts became longer than those of the first training."""
    return rope.fields.number("factor", rope.positions / rope.original, low=1e-6, high=1e6)


def _scale(fields: Config) -> float:
    """The scale of rotated elements that a config asks for; readers bound it."""
    return fields.number("attention_factor", low=0.01, high=100)


def _llama3_factors(rope: Rope, rotated: int) -> Array:
    """By what each of the `rotated` / 2 frequencies is divided (Llama 3.1: long waves are stretched, short ones are
    kept, those between are blended)."""
    fields = rope.fields
    factor = fields.number("factor", low=1, high=1e6)
    low, high = (fields.number(f"{name}_freq_factor", low=1e-6, high=1e6) for name in ("low", "high"))
    if low >= high:
        raise ConvertError(f"{fields.place}: low_freq_factor is {low:g}, but must be below high_freq_factor, {high:g}")
    frequencies = rope.theta ** (-np.arange(0, rotated, 2, dtype=np.float64) / rotated)
    turns = rope.original * frequencies / (2 * math.pi)
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - blend) / factor + blend)).astype(np.float32)


def _factors(rope: Rope, name: str, rotated: int) -> Array:
    """The list `name` ("long_factor", "short_factor"), one number for each pair of rotated elements."""
    factors = rope.fields.numbers(name, low=1e-6, high=1e6)
    if len(factors) != rotated // 2:
        raise ConvertError(
            f"{rope.fields.place}: {name} has {len(factors)} entries, but must have {rotated // 2}, one for each pair "
            "of rotated elements"
        )
    return np.array(factors, np.float32)


def longrope_scale(rope: Rope) -> float:
    """The scale of rotated elements (LongRoPE, arXiv 2402.13753), unless the config says another."""
    if rope.fields.has("attention_factor"):
        return _scale(rope.fields)
    factor = _factor(rope)
    return math.sqrt(1 + math.log(factor) / math.log(rope.original)) if factor > 1 and rope.original > 1 else 1.0
