#!/usr/bin/env python3
"""What the guided benchmarks need beside a model: an adapter and a scalar head with random numbers, and a model with
random weights that no cache holds. Speed does not depend on what the numbers are.

    python make_guides.py MODEL FOLDER [--large]     writes adapter.gguf and head.gguf, with --large also large.Q4_0.gguf
"""

import argparse
from pathlib import Path

import gguf
import numpy as np

RANK = 16
PROJECTIONS = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
# The shape of TinyLlama 1.1B.
LAYERS, HIDDEN, FEED_FORWARD, HEADS, KEY_VALUE_HEADS = 22, 2048, 5632, 32, 4


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_adapter(model: gguf.GGUFReader, path: Path, random: np.random.Generator) -> None:
    """Rank 16 on all seven projections, small enough not to change much."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", RANK)
    for tensor in model.tensors:
        if tensor.name.split(".")[-2] in PROJECTIONS:
            columns, rows = (int(n) for n in tensor.shape)
            for part, shape in (("a", (RANK, columns)), ("b", (rows, RANK))):
                values = random.normal(0, 0.02, shape).astype(np.float32)
                writer.add_tensor(f"{tensor.name}.lora_{part}", values)
    finish(writer)


def make_head(model: gguf.GGUFReader, path: Path, random: np.random.Generator) -> None:
    """A scalar head on the trunk's final hidden state."""
    fields = {name: model.get_field(f"llama.{name}").contents() for name in ("embedding_length", "block_count")}
    vocabulary = len(model.get_field("tokenizer.ggml.tokens").data)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("value_head")
    writer.add_string("value_head.kind", "scalar")
    writer.add_string("value_head.trunk.architecture", "llama")
    for name, value in (*fields.items(), ("vocabulary_size", vocabulary)):
        writer.add_uint32(f"value_head.trunk.{name}", value)
    writer.add_tensor("score_head.weight", random.normal(0, 0.02, (1, fields["embedding_length"])).astype(np.float32))
    finish(writer)


def random_q4_0(rows: int, columns: int, random: np.random.Generator) -> np.ndarray:
    """Blocks of a half-precision scale and 32 random nibbles: weights of a deviation of about 1 / sqrt(columns)."""
    blocks = random.integers(0, 256, (rows * columns // 32, 18), dtype=np.uint8)
    scale = np.float16(columns**-0.5 / 4.6)
    blocks[:, :2] = np.frombuffer(scale.tobytes(), np.uint8)
    return blocks.reshape(rows, columns // 32 * 18)


def make_large(model: gguf.GGUFReader, path: Path, random: np.random.Generator) -> None:
    """1.1 billion weights at Q4_0, with the vocabulary of `model`."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random 1.1B")
    writer.add_context_length(2048)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    tokens = model.get_field("tokenizer.ggml.tokens").contents()
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(model.get_field("tokenizer.ggml.pre").contents())
    writer.add_token_list(tokens)
    writer.add_token_types(model.get_field("tokenizer.ggml.token_type").contents())
    writer.add_token_merges(model.get_field("tokenizer.ggml.merges").contents())
    writer.add_eos_token_id(model.get_field("tokenizer.ggml.eos_token_id").contents())
    narrow = HIDDEN // HEADS * KEY_VALUE_HEADS
    shapes = {
        "attn_q": (HIDDEN, HIDDEN), "attn_k": (narrow, HIDDEN), "attn_v": (narrow, HIDDEN),
        "attn_output": (HIDDEN, HIDDEN), "ffn_gate": (FEED_FORWARD, HIDDEN), "ffn_up": (FEED_FORWARD, HIDDEN),
        "ffn_down": (HIDDEN, FEED_FORWARD)}  # fmt: skip

    def add(name: str, rows: int, columns: int) -> None:
        data = random_q4_0(rows, columns, random)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    add("token_embd", len(tokens), HIDDEN)
    for layer in range(LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(HIDDEN, np.float32))
        for name, (rows, columns) in shapes.items():
            add(f"blk.{layer}.{name}", rows, columns)
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    add("output", len(tokens), HIDDEN)
    finish(writer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    model, random = gguf.GGUFReader(options.model), np.random.default_rng(1)
    make_adapter(model, options.folder / "adapter.gguf", random)
    make_head(model, options.folder / "head.gguf", random)
    if options.large:
        make_large(model, options.folder / "large.Q4_0.gguf", random)


if __name__ == "__main__":
    main()
