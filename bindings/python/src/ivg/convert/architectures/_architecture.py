"""What a description of an architecture consists of, and what most of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ivg.convert._config import Config
from ivg.convert._errors import ConvertError
from ivg.convert._numbers import Array
from ivg.convert._plan import Tensor, View, simple, unchanged
from ivg.convert._rope import Rope, read_rope, rope_metadata, rope_tensors

Metadata = dict[str, Any]


def factors(config: Config, sizes: Mapping[str, int]) -> dict[str, Array]:
    """What frequencies are divided by, where all elements of a head rotate and all layers alike."""
    return rope_tensors(read_rope(config), sizes["head"])


@dataclass(frozen=True)
class Architecture:
    """One family of models: from what transformers stores to what llama.cpp reads."""

    #: `general.architecture`.
    name: str
    #: `model_type` in config.json.
    model_types: tuple[str, ...]
    #: The tensors of the file, by names relative to the trunk (with "/" in front: from the top).
    tensors: Sequence[Tensor]
    #: Sizes and on/off properties (0 or 1) by name; what the tensors' shapes refer to.
    sizes: Callable[[Config], dict[str, int]]
    #: Metadata by keys without the architecture's name.
    metadata: Callable[[Config, Mapping[str, int]], Metadata]
    #: What transformers assumes for fields that config.json leaves out.
    defaults: Mapping[str, Any] = field(default_factory=dict)
    #: Names that may stand before the trunk's tensors; the first that fits is taken.
    prefixes: tuple[str, ...] = ("model.", "transformer.", "")
    #: Tensors that are not in the weights but follow from the config.
    computed: Callable[[Config, Mapping[str, int]], dict[str, Array]] = factors
    #: Ends of the names of stored tensors that are no weights.
    ignored: tuple[str, ...] = ("rotary_emb.inv_freq",)
    #: Beginnings of the names of stored tensors that belong to another part than the text model.
    other_parts: tuple[str, ...] = ()
    #: The field with the text model's own config, in models of several parts.
    part: str = "text_config"


#: The output matrix, where the embeddings do not serve as one.
OUTPUT = simple("output.weight", "/lm_head.weight", "vocabulary hidden", flag="untied")


def norm(name: str, source: str, size: str = "hidden", offset: float = 0) -> Tensor:
    """The weight of a norm."""
    return simple(f"{name}.weight", f"{source}.weight", size, offset=offset, exact=True)


def attention_biases(query: View = unchanged, key: View = unchanged) -> list[Tensor]:
    """The biases of attention's projections, in the order that the views give their rows."""
    projections = (("q", "query", query), ("k", "key", key), ("v", "key", unchanged))
    return [
        *(
            simple(
                f"blk.{{layer}}.attn_{name}.bias",
                f"layers.{{layer}}.self_attn.{name}_proj.bias",
                size,
                view,
                flag="attention_bias",
            )
            for name, size, view in projections
        ),
        simple(
            "blk.{layer}.attn_output.bias",
            "layers.{layer}.self_attn.o_proj.bias",
            "hidden",
            flag="attention_bias",
        ),
    ]


def common_sizes(config: Config) -> dict[str, int]:
    """Sizes under the names that most configs give them."""
    hidden, heads = config.whole("hidden_size"), config.whole("num_attention_heads", high=4096)
    if not config.has("head_dim") and "head_dim" not in config.defaults and hidden % heads != 0:
        raise config.error("num_attention_heads", heads, f"a divisor of hidden_size, {hidden}")
    head = config.whole("head_dim", hidden // heads, low=2, high=512)
    if head % 2 != 0:
        raise config.error("head_dim", head, "even: its elements rotate in pairs")
    alike = config.is_null("num_key_value_heads")
    key_heads = heads if alike else config.whole("num_key_value_heads", heads, high=heads)
    if heads % key_heads != 0:
        raise config.error("num_key_value_heads", key_heads, f"a divisor of num_attention_heads, {heads}")
    query, key = heads * head, key_heads * head
    feed_forward = config.whole("intermediate_size")
    return {
        "layers": config.whole("num_hidden_layers", high=1024),
        "hidden": hidden,
        "vocabulary": config.whole("vocab_size", high=1 << 24),
        "feed_forward": feed_forward,
        "gate_up": 2 * feed_forward,
        "heads": heads,
        "key_heads": key_heads,
        "head": head,
        "query": query,
        "key": key,
        "query_key_value": query + 2 * key,
        "query_key": query + key,
        "positions": config.whole("max_position_embeddings", high=1 << 27),
        "untied": int(not config.flag("tie_word_embeddings", False)),
        "experts": 0,
        "attention_bias": int(config.flag("attention_bias", False)),
    }


def common_metadata(
    config: Config, sizes: Mapping[str, int], rope: Rope | None = None, *, activation: Metadata | None = None
) -> Metadata:
    """Metadata that most architectures have, with the rotation of `rope` or else the config's, and with
    `activation` or else the config's `hidden_act`, which is usually SiLU."""
    return {
        "block_count": sizes["layers"],
        "context_length": sizes["positions"],
        "embedding_length": sizes["hidden"],
        "feed_forward_length": sizes["feed_forward"],
        "attention.head_count": sizes["heads"],
        "attention.head_count_kv": sizes["key_heads"],
        "attention.layer_norm_rms_epsilon": config.number("rms_norm_eps", low=0, high=1),
        "attention.key_length": sizes["head"],
        "attention.value_length": sizes["head"],
        **rope_metadata(rope or read_rope(config)),
        **(activation_metadata(config, "silu") if activation is None else activation),
    }


#: The names that `transformers` has for the non-linearities that files can name.
_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_pytorch_tanh",
    "gelu_new": "gelu_pytorch_tanh",
    "gelu_fast": "gelu_pytorch_tanh",
    "gelu_python_tanh": "gelu_pytorch_tanh",
    "quick_gelu": "quick_gelu",
}


def activation_metadata(config: Config, usual: str, name: str = "hidden_act") -> Metadata:
    """The non-linearity, if it is not the architecture's `usual` one, which files need not name."""
    value = config.text(name, usual)
    if value not in _ACTIVATIONS:
        raise config.error(name, value, "one of " + ", ".join(_ACTIVATIONS))
    activation = _ACTIVATIONS[value]
    return {} if activation == usual else {"hidden_activation": activation}


def require_off(config: Config, name: str) -> None:
    """Throws if a switch is on that its files cannot express."""
    if config.flag(name, False):
        raise ConvertError(f"{config.place}: {name} is true, which files of this architecture cannot say")


def sliding_layers(config: Config, layers: int) -> list[bool] | None:
    """Of each layer whether its attention is limited to a window, if the config lists it."""
    if not config.has("layer_types"):
        return None
    names = config.items("layer_types")
    if len(names) != layers:
        raise config.error("layer_types", names, f"a list of {layers} entries, one for each layer")
    for name in names:
        if name not in ("full_attention", "sliding_attention"):
            raise config.error("layer_types", name, "full_attention or sliding_attention everywhere")
    return [name == "sliding_attention" for name in names]


def window_metadata(window: int, sliding: Sequence[bool]) -> Metadata:
    """`attention.sliding_window` and the layers it applies to: no pattern means all; a number n means that every n-th
    layer has full attention; else one bool for each layer, true where the window applies."""
    if not any(sliding):
        return {}
    found: Metadata = {"attention.sliding_window": window}
    if all(sliding):
        return found
    period = sliding.index(False) + 1
    regular = all(slides == ((layer + 1) % period != 0) for layer, slides in enumerate(sliding))
    found["attention.sliding_window_pattern"] = period if regular else list(sliding)
    return found
