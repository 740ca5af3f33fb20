"""Qwen2 (also 2.5) and Qwen3."""

from __future__ import annotations

from collections.abc import Mapping

from ivg.convert._config import Config
from ivg.convert._plan import Tensor, simple

from ._architecture import (
    OUTPUT,
    Architecture,
    Metadata,
    attention_biases,
    common_metadata,
    common_sizes,
    norm,
    sliding_layers,
    window_metadata,
)

_ATTENTION = "layers.{layer}.self_attn"
_MLP = "layers.{layer}.mlp"


def _metadata(config: Config, sizes: Mapping[str, int]) -> Metadata:
    found = common_metadata(config, sizes)
    if config.text("model_type", "") == "qwen2" and not config.has("head_dim"):
        # As files of this architecture have been written ever since.
        del found["attention.key_length"], found["attention.value_length"]
    if config.flag("use_sliding_window", False) and not config.is_null("sliding_window"):
        layers = sizes["layers"]
        first = config.whole("max_window_layers", 28, low=0)
        sliding = sliding_layers(config, layers) or [layer >= first for layer in range(layers)]
        found |= window_metadata(config.whole("sliding_window", high=1 << 27), sliding)
    return found


_DEFAULTS = {
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "max_position_embeddings": 32_768,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "num_key_value_heads": 32,
}

_TENSORS: list[Tensor] = [
    simple("token_embd.weight", "embed_tokens.weight", "vocabulary hidden"),
    norm("blk.{layer}.attn_norm", "layers.{layer}.input_layernorm"),
    simple("blk.{layer}.attn_q.weight", f"{_ATTENTION}.q_proj.weight", "query hidden"),
    simple("blk.{layer}.attn_k.weight", f"{_ATTENTION}.k_proj.weight", "key hidden"),
    simple("blk.{layer}.attn_v.weight", f"{_ATTENTION}.v_proj.weight", "key hidden"),
    simple("blk.{layer}.attn_output.weight", f"{_ATTENTION}.o_proj.weight", "hidden query"),
    norm("blk.{layer}.ffn_norm", "layers.{layer}.post_attention_layernorm"),
    simple("blk.{layer}.ffn_gate.weight", f"{_MLP}.gate_proj.weight", "feed_forward hidden"),
    simple("blk.{layer}.ffn_up.weight", f"{_MLP}.up_proj.weight", "feed_forward hidden"),
    simple("blk.{layer}.ffn_down.weight", f"{_MLP}.down_proj.weight", "hidden feed_forward"),
    norm("output_norm", "norm"),
    OUTPUT,
]

QWEN2 = Architecture(
    name="qwen2",
    model_types=("qwen2",),
    sizes=common_sizes,
    metadata=_metadata,
    defaults=_DEFAULTS,
    tensors=[
        *_TENSORS,
        simple("blk.{layer}.attn_q.bias", f"{_ATTENTION}.q_proj.bias", "query"),
        simple("blk.{layer}.attn_k.bias", f"{_ATTENTION}.k_proj.bias", "key"),
        simple("blk.{layer}.attn_v.bias", f"{_ATTENTION}.v_proj.bias", "key"),
    ],
)

QWEN3 = Architecture(
    name="qwen3",
    model_types=("qwen3",),
    sizes=common_sizes,
    metadata=_metadata,
    defaults={**_DEFAULTS, "head_dim": 128},
    tensors=[
        *_TENSORS,
        *attention_biases(),
        norm("blk.{layer}.attn_q_norm", f"{_ATTENTION}.q_norm", "head"),
        norm("blk.{layer}.attn_k_norm", f"{_ATTENTION}.k_norm", "head"),
    ],
)
