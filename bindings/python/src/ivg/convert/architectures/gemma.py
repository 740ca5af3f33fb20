"""Gemma 1 to 3 (of Gemma 3 with pictures: the text model)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from ivg.convert._config import Config
from ivg.convert._numbers import Array
from ivg.convert._plan import Tensor, simple
from ivg.convert._rope import Rope, read_layer_rope, rope_tensors

from ._architecture import (
    OUTPUT,
    Architecture,
    Metadata,
    activation_metadata,
    attention_biases,
    common_metadata,
    common_sizes,
    norm,
    require_off,
    sliding_layers,
    window_metadata,
)

_ATTENTION = "layers.{layer}.self_attn"
_MLP = "layers.{layer}.mlp"


def _norm(name: str, source: str, size: str = "hidden") -> Tensor:
    """Gemma stores by how much a norm's weight differs from 1."""
    return norm(name, source, size, offset=1)


def _activation(config: Config) -> Metadata:
    if config.has("hidden_activation"):
        return activation_metadata(config, "gelu_pytorch_tanh", "hidden_activation")
    # The first Gemma's configs ask for "gelu", and were always read as the approximation.
    old = config.text("hidden_act", "gelu") == "gelu"
    return {} if old else activation_metadata(config, "gelu_pytorch_tanh")


def _common(config: Config, sizes: Mapping[str, int], rope: Rope | None = None) -> Metadata:
    require_off(config, "use_bidirectional_attention")
    return common_metadata(config, sizes, rope, activation=_activation(config))


def _scale(config: Config, sizes: Mapping[str, int], even_layers: int) -> Metadata:
    """The factor of attention scores, where it is not the one that readers assume: 1/√head, but in models of
    `even_layers` layers, as the family's largest has, 1/√(hidden / heads)."""
    scalar = config.number("query_pre_attn_scalar", low=1e-6, high=1e6)
    even = sizes["hidden"] // sizes["heads"] if sizes["layers"] == even_layers else sizes["head"]
    return {} if scalar == sizes["head"] == even else {"attention.scale": 1 / math.sqrt(scalar)}


def _capping(config: Config, name: str) -> Metadata:
    """A bound that scores approach: x becomes cap · tanh(x / cap). Null means none, for which files have 0."""
    if config.is_null(name) and name in config.defaults:
        return {name: 0.0}
    return {name: config.number(name, low=1e-6, high=1e6)} if config.raw(name, None) is not None else {}


def _windows(config: Config, sizes: Mapping[str, int], period: int, assumed: bool) -> Metadata:
    """The window and its layers: where the config has no list, all but every `period`-th.

    `assumed` is whether readers take a window where a file has none.
    """
    layers = sizes["layers"]
    sliding = sliding_layers(config, layers) or [(layer + 1) % period != 0 for layer in range(layers)]
    if not any(sliding):
        return {"attention.sliding_window": 0} if assumed else {}
    if config.is_null("sliding_window"):
        raise config.error("sliding_window", None, "a whole number: some layers have a window")
    found = window_metadata(config.whole("sliding_window", high=1 << 27), sliding)
    # Readers take the family's usual pattern where a file has none.
    if all(sliding):
        found["attention.sliding_window_pattern"] = sliding
    return found


def _gemma2(config: Config, sizes: Mapping[str, int]) -> Metadata:
    return {
        **_common(config, sizes),
        **_scale(config, sizes, 46),
        **_capping(config, "attn_logit_softcapping"),
        **_capping(config, "final_logit_softcapping"),
        **_windows(config, sizes, 2, assumed=True),
    }


def _global_rope(config: Config) -> Rope:
    return read_layer_rope(config, "full_attention", "rope_theta")


def _gemma3_with_pictures(config: Config, sizes: Mapping[str, int]) -> Metadata:
    """`attn_logit_softcapping` is a field of Gemma 3 too, but of no effect; here, that of logits as well."""
    local = read_layer_rope(config, "sliding_attention", "rope_local_base_freq")
    if local.type != "default":
        raise local.fields.error("rope_type", local.type, "default for layers with a window")
    period = config.whole("sliding_window_pattern", 6, high=1024)
    return {
        **_common(config, sizes, _global_rope(config)),
        **_scale(config, sizes, 62),
        **_windows(config, sizes, period, assumed=False),
        "rope.freq_base_swa": local.theta,
    }


def _gemma3(config: Config, sizes: Mapping[str, int]) -> Metadata:
    return {**_gemma3_with_pictures(config, sizes), **_capping(config, "final_logit_softcapping")}


def _gemma3_factors(config: Config, sizes: Mapping[str, int]) -> dict[str, Array]:
    return rope_tensors(_global_rope(config), sizes["head"])


_DEFAULTS = {
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "head_dim": 256,
}

_TENSORS: list[Tensor] = [
    simple("token_embd.weight", "embed_tokens.weight", "vocabulary hidden"),
    _norm("blk.{layer}.attn_norm", "layers.{layer}.input_layernorm"),
    simple("blk.{layer}.attn_q.weight", f"{_ATTENTION}.q_proj.weight", "query hidden"),
    simple("blk.{layer}.attn_k.weight", f"{_ATTENTION}.k_proj.weight", "key hidden"),
    simple("blk.{layer}.attn_v.weight", f"{_ATTENTION}.v_proj.weight", "key hidden"),
    simple("blk.{layer}.attn_output.weight", f"{_ATTENTION}.o_proj.weight", "hidden query"),
    simple("blk.{layer}.ffn_gate.weight", f"{_MLP}.gate_proj.weight", "feed_forward hidden"),
    simple("blk.{layer}.ffn_up.weight", f"{_MLP}.up_proj.weight", "feed_forward hidden"),
    simple("blk.{layer}.ffn_down.weight", f"{_MLP}.down_proj.weight", "hidden feed_forward"),
    *attention_biases(),
    _norm("output_norm", "norm"),
    OUTPUT,
]
_POST_NORMS = [
    _norm("blk.{layer}.post_attention_norm", "layers.{layer}.post_attention_layernorm"),
    _norm("blk.{layer}.ffn_norm", "layers.{layer}.pre_feedforward_layernorm"),
    _norm("blk.{layer}.post_ffw_norm", "layers.{layer}.post_feedforward_layernorm"),
]

GEMMA = Architecture(
    name="gemma",
    model_types=("gemma",),
    sizes=common_sizes,
    metadata=_common,
    defaults={**_DEFAULTS, "num_key_value_heads": 16},
    tensors=[*_TENSORS, _norm("blk.{layer}.ffn_norm", "layers.{layer}.post_attention_layernorm")],
)

GEMMA2 = Architecture(
    name="gemma2",
    model_types=("gemma2",),
    sizes=common_sizes,
    metadata=_gemma2,
    defaults={
        **_DEFAULTS,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "num_key_value_heads": 4,
    },
    tensors=[*_TENSORS, *_POST_NORMS],
)

GEMMA3 = Architecture(
    name="gemma3",
    model_types=("gemma3_text",),
    sizes=common_sizes,
    metadata=_gemma3,
    computed=_gemma3_factors,
    defaults={
        **_DEFAULTS,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "max_position_embeddings": 131_072,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 262_208,
    },
    prefixes=("model.language_model.", "language_model.model.", "model.", ""),
    other_parts=("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."),
    tensors=[
        *_TENSORS,
        *_POST_NORMS,
        _norm("blk.{layer}.attn_q_norm", f"{_ATTENTION}.q_norm", "head"),
        _norm("blk.{layer}.attn_k_norm", f"{_ATTENTION}.k_norm", "head"),
    ],
)

GEMMA3_PICTURES = replace(GEMMA3, model_types=("gemma3",), metadata=_gemma3_with_pictures)
