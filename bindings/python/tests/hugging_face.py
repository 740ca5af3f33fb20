"""Hugging Face folders for tests, made without torch and transformers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from conftest import fixture_path
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ivg.convert import convert_model

Array = NDArray[Any]
ARCHITECTURES = fixture_path("architectures")
FOLDERS: dict[str, dict[str, Any]] = json.loads((ARCHITECTURES / "folders.json").read_text("utf-8"))
EXPECTED: dict[str, Any] = json.loads((ARCHITECTURES / "expected.json").read_text("utf-8"))

#: A small llama's config.
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 24,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def converted(folder: Path, **options: Any) -> Path:
    """The folder's file, made anew beside it."""
    out = folder.with_suffix(".gguf")
    convert_model(folder, out, force=True, **options)
    return out


def fields_of(path: Path) -> dict[str, Any]:
    """All metadata of a GGUF file, as gguf-py reads it."""
    reader = gguf.GGUFReader(path)
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}


def tensors_of(path: Path) -> dict[str, Array]:
    """All tensors of a GGUF file as float32, as gguf-py reads them."""
    reader = gguf.GGUFReader(path)
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape.tolist()[::-1])
        for tensor in reader.tensors
    }


def types_of(path: Path) -> dict[str, str]:
    """The types of all tensors."""
    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def byte_level_tokenizer(tokens: list[str], merges: list[str], control: list[int]) -> dict[str, Any]:
    """A tokenizer.json of GPT-2's kind."""
    return {
        "added_tokens": [{"id": index, "content": tokens[index], "special": True} for index in control],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "model": {
            "type": "BPE",
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }


def small_tokenizer() -> dict[str, Any]:
    """22 tokens, two of them control tokens."""
    letters = [chr(ord("a") + index) for index in range(18)]
    return byte_level_tokenizer(["<s>", "</s>", *letters, "ab", "abc"], ["a b", "ab c"], [0, 1])


def llama_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what transformers stores for a llama."""
    hidden, feed_forward = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    query, key = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        stem = f"model.layers.{layer}."
        found |= {
            stem + "input_layernorm.weight": (hidden,),
            stem + "post_attention_layernorm.weight": (hidden,),
            stem + "self_attn.q_proj.weight": (query, hidden),
            stem + "self_attn.k_proj.weight": (key, hidden),
            stem + "self_attn.v_proj.weight": (key, hidden),
            stem + "self_attn.o_proj.weight": (hidden, query),
            stem + "mlp.gate_proj.weight": (feed_forward, hidden),
            stem + "mlp.up_proj.weight": (feed_forward, hidden),
            stem + "mlp.down_proj.weight": (hidden, feed_forward),
        }
    return found


def llama_weights(config: dict[str, Any], seed: int = 1) -> dict[str, Array]:
    """Random weights for a llama."""
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape, dtype=np.float32) for name, shape in llama_shapes(config).items()}


def write_folder(
    folder: Path,
    config: dict[str, Any] | None = None,
    weights: dict[str, Array] | None = None,
    tokenizer: dict[str, Any] | None = None,
) -> Path:
    """A complete folder: a small llama unless something else is passed."""
    folder.mkdir(parents=True, exist_ok=True)
    config = LLAMA if config is None else config
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer.json", small_tokenizer() if tokenizer is None else tokenizer)
    save_file(llama_weights(config) if weights is None else weights, folder / "model.safetensors")
    return folder


# The folder that a file of `architectures/` was made of


def separated(rows: Array, heads: int) -> Array:
    """The rows of q or k as transformers has them: the halves of each head one behind the other."""
    per_head = rows.reshape(heads, -1, *rows.shape[1:])
    return np.reshape(np.concatenate([per_head[:, 0::2], per_head[:, 1::2]], axis=1), rows.shape)


def stored_tensor(name: str, table: gguf.TensorNameMap, file: dict[str, Array], config: dict[str, Any]) -> Array:
    """What transformers stored as `name`, from the tensors of the GGUF file; names by llama.cpp's own table."""
    if expert := re.fullmatch(r"model\.layers\.(\d+)\.block_sparse_moe\.experts\.(\d+)\.(w\d)\.weight", name):
        stem = {"w1": "gate", "w2": "down", "w3": "up"}[expert[3]]
        experts = file[f"blk.{expert[1]}.ffn_{stem}_exps.weight"]
        return np.asarray(experts[int(expert[2])])
    found = table.get_name(name, try_suffixes=(".weight", ".bias"))
    assert found is not None, name
    values = file[found]
    kind = config["model_type"]
    if kind in ("llama", "mistral", "mixtral", "olmo") and re.search(r"\.[qk]_proj\.", name):
        return separated(values, config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"])
    if kind.startswith("gemma") and name.endswith("norm.weight"):
        return values - 1
    if kind == "gpt2" and re.search(r"\.c_\w+\.weight$", name):
        return np.transpose(values)
    return values


def recover_folder(folder: Path, name: str) -> Path:
    """The Hugging Face folder that `architectures/<name>.gguf` was converted from."""
    path = ARCHITECTURES / f"{name}.gguf"
    config, fields, file = FOLDERS[name]["config"], fields_of(path), tensors_of(path)
    architecture = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == fields["general.architecture"])
    table = gguf.get_tensor_name_map(architecture, 16)
    weights = {}
    for stored, shape in FOLDERS[name]["tensors"].items():
        weights[stored] = np.ascontiguousarray(stored_tensor(stored, table, file, config))
        assert list(weights[stored].shape) == shape, stored
    tokens = fields["tokenizer.ggml.tokens"]
    count = next((index for index, token in enumerate(tokens) if token == f"[PAD{index}]"), len(tokens))
    tokenizer = byte_level_tokenizer(tokens[:count], fields["tokenizer.ggml.merges"], [0, 1, 2])
    write_folder(folder, config, weights, tokenizer)
    write_json(
        folder / "tokenizer_config.json",
        {"bos_token": tokens[1], "eos_token": {"content": tokens[2]}, "pad_token": tokens[0], "add_bos_token": False},
    )
    return folder
