"""OLMo (the version in transformers) and OLMo 2."""

from __future__ import annotations

from collections.abc import Mapping

from ivg.convert._config import Config
from ivg.convert._plan import Tensor, View, interleaved, simple, unchanged

from ._architecture import (
    OUTPUT,
    Architecture,
    Metadata,
    attention_biases,
    common_metadata,
    common_sizes,
    norm,
)

_ATTENTION = "layers.{layer}.self_attn"
_MLP = "layers.{layer}.mlp"


def _olmo(config: Config, sizes: Mapping[str, int]) -> Metadata:
    found = common_metadata(config.with_defaults({**config.defaults, "rms_norm_eps": 0.0}), sizes)
    # Its norms have no weights and a fixed epsilon.
    del found["attention.layer_norm_rms_epsilon"]
    found["attention.layer_norm_epsilon"] = 1e-5
    if config.has("clip_qkv"):
        found["attention.clamp_kqv"] = config.number("clip_qkv", low=1e-6, high=1e9)
    return found


_DEFAULTS = {"rope_theta": 10_000.0, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5}


def _tensors(query: View, key: View) -> list[Tensor]:
    return [
        simple("token_embd.weight", "embed_tokens.weight", "vocabulary hidden"),
        simple("blk.{layer}.attn_q.weight", f"{_ATTENTION}.q_proj.weight", "query hidden", query),
        simple("blk.{layer}.attn_k.weight", f"{_ATTENTION}.k_proj.weight", "key hidden", key),
        simple("blk.{layer}.attn_v.weight", f"{_ATTENTION}.v_proj.weight", "key hidden"),
        simple("blk.{layer}.attn_output.weight", f"{_ATTENTION}.o_proj.weight", "hidden query"),
        *attention_biases(query, key),
        simple("blk.{layer}.ffn_gate.weight", f"{_MLP}.gate_proj.weight", "feed_forward hidden"),
        simple("blk.{layer}.ffn_up.weight", f"{_MLP}.up_proj.weight", "feed_forward hidden"),
        simple("blk.{layer}.ffn_down.weight", f"{_MLP}.down_proj.weight", "hidden feed_forward"),
        OUTPUT,
    ]


OLMO = Architecture(
    name="olmo",
    model_types=("olmo",),
    sizes=common_sizes,
    metadata=_olmo,
    defaults=_DEFAULTS,
    tensors=_tensors(interleaved("heads"), interleaved("key_heads")),
)

OLMO2 = Architecture(
    name="olmo2",
    model_types=("olmo2",),
    sizes=common_sizes,
    metadata=common_metadata,
    defaults=_DEFAULTS,
    tensors=[
        *_tensors(unchanged, unchanged),
        norm("blk.{layer}.attn_q_norm", f"{_ATTENTION}.q_norm", "query"),
        norm("blk.{layer}.attn_k_norm", f"{_ATTENTION}.k_norm", "key"),
        norm("blk.{layer}.post_attention_norm", "layers.{layer}.post_attention_layernorm"),
        norm("blk.{layer}.post_ffw_norm", "layers.{layer}.post_feedforward_layernorm"),
        norm("output_norm", "norm"),
    ],
)
