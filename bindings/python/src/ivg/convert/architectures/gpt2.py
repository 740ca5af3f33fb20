"""GPT-2."""

from __future__ import annotations

from collections.abc import Mapping

from ivg.convert._config import Config
from ivg.convert._plan import simple, transposed

from ._architecture import OUTPUT, Architecture, Metadata, activation_metadata, require_off


def _sizes(config: Config) -> dict[str, int]:
    hidden, heads = config.whole("n_embd"), config.whole("n_head", high=4096)
    if hidden % heads != 0:
        raise config.error("n_head", heads, f"a divisor of n_embd, {hidden}")
    if hidden // heads not in range(2, 513, 2):
        raise config.error(
            "n_head", heads, f"such that heads have an even number of elements within 2...512; n_embd is {hidden}"
        )
    return {
        "layers": config.whole("n_layer", high=1024),
        "hidden": hidden,
        "vocabulary": config.whole("vocab_size", high=1 << 24),
        "feed_forward": config.whole("n_inner", 4 * hidden, high=1 << 22),
        "heads": heads,
        "key_heads": heads,
        "head": hidden // heads,
        "query": hidden,
        "key": hidden,
        "query_key_value": 3 * hidden,
        "positions": config.whole("n_positions", config.raw("n_ctx", None), high=1 << 27),
        "untied": int(not config.flag("tie_word_embeddings")),
        "experts": 0,
    }


def _metadata(config: Config, sizes: Mapping[str, int]) -> Metadata:
    require_off(config, "scale_attn_by_inverse_layer_idx")
    require_off(config, "add_cross_attention")
    found = {
        "block_count": sizes["layers"],
        "context_length": sizes["positions"],
        "embedding_length": sizes["hidden"],
        "feed_forward_length": sizes["feed_forward"],
        "attention.head_count": sizes["heads"],
        "attention.layer_norm_epsilon": config.number("layer_norm_epsilon", low=0, high=1),
        **activation_metadata(config, "gelu_pytorch_tanh", "activation_function"),
    }
    if not config.flag("scale_attn_weights", True):
        found["attention.scale"] = 1.0
    return found


GPT2 = Architecture(
    name="gpt2",
    model_types=("gpt2",),
    sizes=_sizes,
    metadata=_metadata,
    defaults={"layer_norm_epsilon": 1e-5, "n_positions": 1024, "tie_word_embeddings": True},
    prefixes=("transformer.", ""),
    computed=lambda config, sizes: {},
    # Causal masks that older versions stored.
    ignored=(".attn.bias", ".attn.masked_bias"),
    tensors=[
        simple("token_embd.weight", "wte.weight", "vocabulary hidden"),
        simple("position_embd.weight", "wpe.weight", "positions hidden", exact=True),
        simple("blk.{layer}.attn_norm.weight", "h.{layer}.ln_1.weight", "hidden"),
        simple("blk.{layer}.attn_norm.bias", "h.{layer}.ln_1.bias", "hidden"),
        simple(
            "blk.{layer}.attn_qkv.weight",
            "h.{layer}.attn.c_attn.weight",
            "query_key_value hidden",
            transposed,
            "hidden query_key_value",
        ),
        simple("blk.{layer}.attn_qkv.bias", "h.{layer}.attn.c_attn.bias", "query_key_value"),
        simple("blk.{layer}.attn_output.weight", "h.{layer}.attn.c_proj.weight", "hidden hidden", transposed),
        simple("blk.{layer}.attn_output.bias", "h.{layer}.attn.c_proj.bias", "hidden"),
        simple("blk.{layer}.ffn_norm.weight", "h.{layer}.ln_2.weight", "hidden"),
        simple("blk.{layer}.ffn_norm.bias", "h.{layer}.ln_2.bias", "hidden"),
        simple(
            "blk.{layer}.ffn_up.weight",
            "h.{layer}.mlp.c_fc.weight",
            "feed_forward hidden",
            transposed,
            "hidden feed_forward",
        ),
        simple("blk.{layer}.ffn_up.bias", "h.{layer}.mlp.c_fc.bias", "feed_forward"),
        simple(
            "blk.{layer}.ffn_down.weight",
            "h.{layer}.mlp.c_proj.weight",
            "hidden feed_forward",
            transposed,
            "feed_forward hidden",
        ),
        simple("blk.{layer}.ffn_down.bias", "h.{layer}.mlp.c_proj.bias", "hidden"),
        simple("output_norm.weight", "ln_f.weight", "hidden"),
        simple("output_norm.bias", "ln_f.bias", "hidden"),
        OUTPUT,
    ],
)
