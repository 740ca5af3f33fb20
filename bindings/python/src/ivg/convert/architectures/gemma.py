"""Gemma 1 to 3 (of Gemma 3 with pictures: the text model)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ivg.convert._config import Config
from ivg.convert._plan import Tensor, simple
from ivg.convert._rope import read_rope

from ._architecture import (
    OUTPUT,
    Architecture,
    Metadata,
    activation_metadata,
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


def _common(config: Config, sizes: Mapping[str, int]) -> Metadata:
    require_off(config, "attention_bias")
    require_off(config, "use_bidirectional_attention")
    return common_metadata(config, sizes, activation=_activation(config))


def _scale(config: Config, sizes: Mapping[str, int]) -> Metadata:
    """The factor of attention scores, where it is not 1/√head."""
    scalar = config.number("query_pre_attn_scalar", sizes["head"], low=1e-6, high=1e6)
    return {} if scalar == sizes["head"] else {"attention.scale": 1 / math.sqrt(scalar)}


def _capping(config: Config) -> Metadata:
    """Bounds that scores approach: x becomes cap · tanh(x / cap)."""
    return {
        name: config.number(name, low=1e-6, high=1e6)
        for name in ("attn_logit_softcapping", "final_logit_softcapping")
        if config.raw(name, None) is not None
    }


def _windows(config: Config, sizes: Mapping[str, int], period: int) -> Metadata:
    if config.raw("sliding_window", None) is None:
        return {}
    layers = sizes["layers"]
    sliding = sliding_layers(config, layers) or [(layer + 1) % period != 0 for layer in range(layers)]
    found = window_metadata(config.whole("sliding_window", high=1 << 27), sliding)
    # Readers take the family's usual pattern where a file has none.
    if found and all(sliding):
        found["attention.sliding_window_pattern"] = sliding
    return found


def _gemma2(config: Config, sizes: Mapping[str, int]) -> Metadata:
    return {
        **_common(config, sizes),
        **_scale(config, sizes),
        **_capping(config.with_defaults({"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0})),
        **_windows(config, sizes, 2),
    }


def _gemma3(config: Config, sizes: Mapping[str, int]) -> Metadata:
    found = {
        **_common(config, sizes),
        **_scale(config, sizes),
        **_capping(config),
    }
    period = config.whole("sliding_window_pattern", config.raw("_sliding_window_pattern", 6), high=1024)
    found |= _windows(config, sizes, period)
    if config.has("rope_parameters"):
        local = read_rope(config, "sliding_attention")
        if local.type != "default":
            raise local.fields.error("rope_type", local.type, "default for layers with a window")
        found["rope.freq_base_swa"] = local.theta
    else:
        found["rope.freq_base_swa"] = config.number("rope_local_base_freq", 10_000.0, low=1e-3, high=1e12)
    return found


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
    defaults=_DEFAULTS,
    tensors=[*_TENSORS, _norm("blk.{layer}.ffn_norm", "layers.{layer}.post_attention_layernorm")],
)

GEMMA2 = Architecture(
    name="gemma2",
    model_types=("gemma2",),
    sizes=common_sizes,
    metadata=_gemma2,
    defaults={**_DEFAULTS, "query_pre_attn_scalar": 256, "sliding_window": 4096},
    tensors=[*_TENSORS, *_POST_NORMS],
)

GEMMA3 = Architecture(
    name="gemma3",
    model_types=("gemma3_text", "gemma3"),
    sizes=common_sizes,
    metadata=_gemma3,
    defaults={
        **_DEFAULTS,
        "rope_theta": 1_000_000.0,
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
