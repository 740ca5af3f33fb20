"""Llama 1 to 3, Mistral, Mixtral."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ivg.convert._config import Config
from ivg.convert._plan import Source, Tensor, interleaved, rows, simple

from ._architecture import (
    OUTPUT,
    Architecture,
    Metadata,
    attention_biases,
    common_metadata,
    common_sizes,
    norm,
    window_metadata,
)

_ATTENTION = "layers.{layer}.self_attn"
_MLP = "layers.{layer}.mlp"
_EXPERT = "layers.{layer}.block_sparse_moe.experts.{expert}"
_FUSED = "layers.{layer}.mlp.experts"


def _sizes(config: Config) -> dict[str, int]:
    sizes = common_sizes(config)
    sizes["mlp_bias"] = int(config.flag("mlp_bias", False))
    if config.text("model_type", "llama") == "mixtral":
        sizes["experts"] = config.whole("num_local_experts", 8, low=2, high=1024)
        sizes["experts_used"] = config.whole("num_experts_per_tok", 2, high=sizes["experts"])
    sizes["dense"] = int(sizes["experts"] == 0)
    return sizes


def _metadata(config: Config, sizes: Mapping[str, int]) -> Metadata:
    found = common_metadata(config, sizes)
    found["vocab_size"] = sizes["vocabulary"]
    found["rope.dimension_count"] = sizes["head"]
    if sizes["experts"]:
        found["expert_count"] = sizes["experts"]
        found["expert_used_count"] = sizes["experts_used"]
    return found


def _windowed(config: Config, sizes: Mapping[str, int]) -> Metadata:
    """Mistral and Mixtral; a null means no window."""
    found = _metadata(config, sizes)
    if not config.is_null("sliding_window") and config.raw("sliding_window", None) is not None:
        window = config.whole("sliding_window", high=1 << 27)
        found |= window_metadata(window, [True] * sizes["layers"])
    return found


def _experts(name: str, wide: bool, own: str, first: str | int, last: str, fused: str) -> Tensor:
    """A matrix of all experts: one stored tensor of each, or a part of one that holds all."""
    shape = ("feed_forward", "hidden") if wide else ("hidden", "feed_forward")
    fused_shape = ("experts", "gate_up", "hidden") if fused == "gate_up_proj" else ("experts", *shape)
    return Tensor(
        f"blk.{{layer}}.{name}.weight",
        ("experts", *shape),
        (
            Source(f"{_EXPERT}.{own}.weight", shape),
            Source(f"{_FUSED}.{fused}", fused_shape, rows(first, last, axis=1)),
        ),
        when=lambda sizes: sizes["experts"] > 0,
    )


LLAMA = Architecture(
    name="llama",
    model_types=("llama",),
    sizes=_sizes,
    metadata=_metadata,
    defaults={"rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "max_position_embeddings": 2048},
    tensors=[
        simple("token_embd.weight", "embed_tokens.weight", "vocabulary hidden"),
        norm("blk.{layer}.attn_norm", "layers.{layer}.input_layernorm"),
        simple("blk.{layer}.attn_q.weight", f"{_ATTENTION}.q_proj.weight", "query hidden", interleaved("heads")),
        simple("blk.{layer}.attn_k.weight", f"{_ATTENTION}.k_proj.weight", "key hidden", interleaved("key_heads")),
        simple("blk.{layer}.attn_v.weight", f"{_ATTENTION}.v_proj.weight", "key hidden"),
        simple("blk.{layer}.attn_output.weight", f"{_ATTENTION}.o_proj.weight", "hidden query"),
        *attention_biases(interleaved("heads"), interleaved("key_heads")),
        norm("blk.{layer}.ffn_norm", "layers.{layer}.post_attention_layernorm"),
        simple("blk.{layer}.ffn_gate.weight", f"{_MLP}.gate_proj.weight", "feed_forward hidden", flag="dense"),
        simple("blk.{layer}.ffn_up.weight", f"{_MLP}.up_proj.weight", "feed_forward hidden", flag="dense"),
        simple("blk.{layer}.ffn_down.weight", f"{_MLP}.down_proj.weight", "hidden feed_forward", flag="dense"),
        simple("blk.{layer}.ffn_gate.bias", f"{_MLP}.gate_proj.bias", "feed_forward", flag="mlp_bias"),
        simple("blk.{layer}.ffn_up.bias", f"{_MLP}.up_proj.bias", "feed_forward", flag="mlp_bias"),
        simple("blk.{layer}.ffn_down.bias", f"{_MLP}.down_proj.bias", "hidden", flag="mlp_bias"),
        Tensor(
            "blk.{layer}.ffn_gate_inp.weight",
            ("experts", "hidden"),
            (
                Source("layers.{layer}.block_sparse_moe.gate.weight", ("experts", "hidden")),
                Source("layers.{layer}.mlp.gate.weight", ("experts", "hidden")),
            ),
            exact=True,
            when=lambda sizes: sizes["experts"] > 0,
        ),
        _experts("ffn_gate_exps", True, "w1", 0, "feed_forward", "gate_up_proj"),
        _experts("ffn_up_exps", True, "w3", "feed_forward", "gate_up", "gate_up_proj"),
        _experts("ffn_down_exps", False, "w2", 0, "hidden", "down_proj"),
        norm("output_norm", "norm"),
        OUTPUT,
    ],
)

MISTRAL = replace(
    LLAMA,
    model_types=("mistral",),
    metadata=_windowed,
    defaults={
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "max_position_embeddings": 131_072,
        "num_key_value_heads": 8,
        "sliding_window": 4096,
    },
)

MIXTRAL = replace(
    MISTRAL,
    model_types=("mixtral",),
    defaults={
        "rms_norm_eps": 1e-5,
        "rope_theta": 1_000_000.0,
        "max_position_embeddings": 131_072,
        "num_key_value_heads": 8,
    },
)
