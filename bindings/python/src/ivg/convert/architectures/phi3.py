"""Phi-3, Phi-3.5 and Phi-4 (dense, text only)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ivg.convert._config import Config
from ivg.convert._numbers import Array
from ivg.convert._plan import simple
from ivg.convert._rope import Rope, longrope_scale, read_rope, rope_tensors

from ._architecture import (
    OUTPUT,
    Architecture,
    Metadata,
    common_metadata,
    common_sizes,
    norm,
)

_ATTENTION = "layers.{layer}.self_attn"


def _rope(config: Config) -> Rope:
    rope = read_rope(config, partial=True)
    # transformers reads a "yarn" of this family as its own kind too.
    kind = "longrope" if rope.type == "yarn" else rope.type
    if kind not in ("default", "longrope"):
        raise rope.fields.error("rope_type", rope.type, "default or longrope")
    return replace(rope, type=kind)


def _rotated(rope: Rope, sizes: Mapping[str, int]) -> int:
    """Elements of each head that rotate."""
    count = int(sizes["head"] * rope.partial)
    if count < 2 or count % 2 != 0:
        raise rope.fields.error(
            "partial_rotary_factor", rope.partial, f"such that of {sizes['head']} elements an even number rotates"
        )
    return count


def _metadata(config: Config, sizes: Mapping[str, int]) -> Metadata:
    rope = _rope(config)
    found = common_metadata(config, sizes, replace(rope, type="default"))
    del found["attention.key_length"], found["attention.value_length"]
    found["rope.dimension_count"] = _rotated(rope, sizes)
    found["rope.scaling.original_context_length"] = rope.original
    # 0 says that there is no window.
    found["attention.sliding_window"] = config.whole("sliding_window", 0, low=0, high=1 << 27)
    if rope.type == "longrope":
        found["rope.scaling.attn_factor"] = longrope_scale(rope)
    return found


def _computed(config: Config, sizes: Mapping[str, int]) -> dict[str, Array]:
    rope = _rope(config)
    return rope_tensors(rope, _rotated(rope, sizes))


PHI3 = Architecture(
    name="phi3",
    model_types=("phi3",),
    sizes=common_sizes,
    metadata=_metadata,
    computed=_computed,
    defaults={
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
    },
    tensors=[
        simple("token_embd.weight", "embed_tokens.weight", "vocabulary hidden"),
        norm("blk.{layer}.attn_norm", "layers.{layer}.input_layernorm"),
        simple("blk.{layer}.attn_qkv.weight", f"{_ATTENTION}.qkv_proj.weight", "query_key_value hidden"),
        simple("blk.{layer}.attn_output.weight", f"{_ATTENTION}.o_proj.weight", "hidden query"),
        norm("blk.{layer}.ffn_norm", "layers.{layer}.post_attention_layernorm"),
        simple("blk.{layer}.ffn_up.weight", "layers.{layer}.mlp.gate_up_proj.weight", "gate_up hidden"),
        simple("blk.{layer}.ffn_down.weight", "layers.{layer}.mlp.down_proj.weight", "hidden feed_forward"),
        norm("output_norm", "norm"),
        OUTPUT,
    ],
)
