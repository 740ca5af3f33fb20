#!/usr/bin/env python3
"""Makes the small GGUF files and `expected.json` of this folder.

    pip install -r requirements.txt && python make_fixtures.py

Models are random checkpoints of `transformers`, written with the names, the row order and the metadata that
llama.cpp's converters give them. `expected.json` holds what `transformers` computes from the same weights
(after rounding to the stored type; adapters merged into the weights). The same versions of the packages
write the same bytes again. What each file is for: README.md.
"""

import importlib.metadata
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

HERE = Path(__file__).parent
HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD, FFN, CONTEXT = 64, 2, 4, 2, 16, 96, 256
RANK, ALPHA = 4, 8.0
VOCABULARY, QWEN_VOCABULARY, OTHER_VOCABULARY = 320, 336, 300
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CORPUS = """The value of a text is what a reader finds in it. A guide reads the same text as the model,
and says which word is better here; the model then writes the next word. There is no other secret to it.
When the guide is small and the model is large, the two of them together write better than either."""
OTHER_CORPUS = """Un fichier petit et un lecteur prudent: chaque nombre est lu, puis compare avec la fin du
fichier. Une longueur trop grande est une erreur, et une erreur est une phrase pour une personne."""
TEXTS = ["Hello world", "The value of the model is 42.", "it's  two   spaces\n\n\tand a tab",
         "naïve café — 東京 🙂", "<|im_start|>user\nHi<|im_end|>\n", "", " ", "IT'S 1234567 x_y"]

QWEN2_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|\s+(?!\S)|\s+")

# The converter's names, by the names of transformers.
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
for layer in range(LAYERS):
    for theirs, ours in [
        ("input_layernorm", "attn_norm"), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"), ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
    ]:
        for part in ("weight", "bias"):
            NAMES[f"model.layers.{layer}.{theirs}.{part}"] = f"blk.{layer}.{ours}.{part}"


# Tokenizers


def make_tokenizer(size: int, corpus: str) -> Tokenizer:
    """Byte-level BPE: control tokens, 256 byte tokens, then what merges give, `size` in all."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.train_from_iterator([corpus] * 2, trainers.BpeTrainer(
        vocab_size=size, special_tokens=CONTROL, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    assert tokenizer.get_vocab_size() == size, tokenizer.get_vocab_size()
    return tokenizer


def with_qwen2_rules(tokenizer: Tokenizer) -> Tokenizer:
    """The same vocabulary with the text splitting of Qwen2."""
    other = Tokenizer.from_str(tokenizer.to_str())
    other.normalizer = normalizers.NFC()
    other.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return other


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer, pre: str, size: int) -> None:
    """Tokenizer metadata, padded to `size` tokens as the converter pads."""
    state = json.loads(tokenizer.to_str())["model"]
    tokens = [token for token, _ in sorted(state["vocab"].items(), key=lambda item: item[1])]
    types = [gguf.TokenType.CONTROL if token in CONTROL else gguf.TokenType.NORMAL for token in tokens]
    for index in range(len(tokens), size):
        tokens.append(f"[PAD{index}]")
        types.append(gguf.TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in state["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


# Weights


def make_model(kind: str, seed: int, vocabulary: int, layers: int = LAYERS) -> torch.nn.Module:
    """A random model whose logits have a standard deviation of about 3 and whose attention is not flat."""
    config_type, model_type = {
        "llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[kind]
    model = model_type(config_type(
        vocab_size=vocabulary, hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=layers,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5 if kind == "llama" else 1e-6, tie_word_embeddings=kind == "qwen2",
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0 if kind == "llama" else 1_000_000.0},
        attn_implementation="eager", dtype=torch.float32))
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            if name.endswith("norm.weight"):
                values = 1 + 0.1 * random.standard_normal(shape)
            elif name.endswith("bias"):
                values = 0.3 * random.standard_normal(shape)
            elif name == "lm_head.weight" or name == "model.embed_tokens.weight":
                values = 3 / np.sqrt(HIDDEN) * random.standard_normal(shape)
            else:
                values = 1.2 / np.sqrt(shape[1]) * random.standard_normal(shape)
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    return model.eval()


def permute(rows: np.ndarray, heads: int) -> np.ndarray:
    """The row order of q and k in llama files: rotated pairs lie side by side."""
    return (rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
            .swapaxes(1, 2).reshape(rows.shape))


def in_file_order(name: str, rows: np.ndarray, kind: str) -> np.ndarray:
    """`rows` of the weight called `name` (by transformers), as the converter for `kind` orders them."""
    if kind == "llama" and "q_proj" in name:
        return permute(rows, HEADS)
    if kind == "llama" and "k_proj" in name:
        return permute(rows, KV_HEADS)
    return rows


def encode(values: np.ndarray, target: Type) -> tuple[np.ndarray, Type]:
    """Vectors stay F32."""
    target = Type.F32 if values.ndim < 2 else target
    return quantize(np.ascontiguousarray(values), target), target


def round_weights(model: torch.nn.Module, target: Type) -> None:
    """Makes the weights those that a file of type `target` holds."""
    with torch.no_grad():
        for parameter in model.parameters():
            data, stored = encode(parameter.numpy().copy(), target)
            parameter.copy_(torch.from_numpy(dequantize(data, stored).astype(np.float32)))


def make_lora(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs (A: rank × in, B: out × rank) by the names of transformers."""
    random = np.random.default_rng(seed)
    kv, shapes = KV_HEADS * HEAD, {}
    for layer in range(LAYERS):
        for name, out, columns in [
            ("self_attn.q_proj", HIDDEN, HIDDEN), ("self_attn.k_proj", kv, HIDDEN),
            ("self_attn.v_proj", kv, HIDDEN), ("self_attn.o_proj", HIDDEN, HIDDEN),
            ("mlp.gate_proj", FFN, HIDDEN), ("mlp.up_proj", FFN, HIDDEN), ("mlp.down_proj", HIDDEN, FFN),
        ]:
            shapes[f"model.layers.{layer}.{name}.weight"] = (out, columns)
    return {
        name: ((random.standard_normal((RANK, columns)) / np.sqrt(columns)).astype(np.float32),
               (0.1 * random.standard_normal((out, RANK))).astype(np.float32))
        for name, (out, columns) in shapes.items()
    }


def merged(model: torch.nn.Module, lora: dict) -> torch.nn.Module:
    """A copy of the model with the adapter added to its weights."""
    copy = type(model)(model.config).eval()
    copy.load_state_dict(model.state_dict())
    with torch.no_grad():
        for name, (a, b) in lora.items():
            delta = ALPHA / RANK * b.astype(np.float64) @ a.astype(np.float64)
            weight = copy.get_parameter(name)
            weight.copy_(torch.from_numpy((weight.numpy() + delta).astype(np.float32)))
    return copy


# Files


def write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_architecture(writer: gguf.GGUFWriter, kind: str, layers: int, vocabulary: int) -> None:
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(f"Tiny random {kind}")
    writer.add_block_count(layers)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10_000.0 if kind == "llama" else 1_000_000.0)
    writer.add_layer_norm_rms_eps(1e-5 if kind == "llama" else 1e-6)
    if kind == "llama":
        writer.add_vocab_size(vocabulary)
        writer.add_rope_dimension_count(HEAD)


def write_model(name: str, kind: str, model: torch.nn.Module, tokenizer: Tokenizer, target: Type) -> None:
    """A model file; `model` must hold rounded weights, which encode without further loss."""
    vocabulary = model.config.vocab_size
    writer = gguf.GGUFWriter(HERE / name, kind)
    add_architecture(writer, kind, model.config.num_hidden_layers, vocabulary)
    writer.add_file_type(int(getattr(
        gguf.LlamaFileType, "ALL_F32" if target == Type.F32 else f"MOSTLY_{target.name}")))
    if target not in (Type.F32, Type.F16):
        writer.add_quantization_version(2)
    add_tokenizer(writer, tokenizer, "smollm" if kind == "llama" else "qwen2", vocabulary)
    for theirs, parameter in model.named_parameters():
        data, stored = encode(in_file_order(theirs, parameter.detach().numpy(), kind), target)
        writer.add_tensor(NAMES[theirs], data, raw_dtype=stored)
    write(writer)


def add_lora(writer: gguf.GGUFWriter, lora: dict) -> None:
    """Adapter tensors and scale as llama.cpp's convert_lora_to_gguf.py writes them."""
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for theirs, (a, b) in lora.items():
        writer.add_tensor(NAMES[theirs] + ".lora_a", a)
        writer.add_tensor(NAMES[theirs] + ".lora_b", in_file_order(theirs, b, "llama"))


def write_adapter(name: str, lora: dict) -> None:
    writer = gguf.GGUFWriter(HERE / name, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name("Tiny random adapter")
    writer.add_string("adapter.type", "lora")
    add_lora(writer, lora)
    write(writer)


def write_head(name: str, kind: str, weight: np.ndarray, bias: np.ndarray | None, lora: dict | None,
               target: Type) -> None:
    writer = gguf.GGUFWriter(HERE / name, "llama")
    writer.add_type("value_head")
    writer.add_name(f"Tiny random value head: {kind}")
    writer.add_string("value_head.kind", kind)
    writer.add_string("value_head.trunk.architecture", "llama")
    writer.add_uint32("value_head.trunk.embedding_length", HIDDEN)
    writer.add_uint32("value_head.trunk.block_count", LAYERS)
    writer.add_uint32("value_head.trunk.vocabulary_size", VOCABULARY)
    data, stored = encode(weight, target)
    writer.add_tensor("score_head.weight", data, raw_dtype=stored)
    if bias is not None:
        writer.add_tensor("score_head.bias", bias)
    if lora is not None:
        writer.add_string("adapter.type", "lora")
        add_lora(writer, lora)
    write(writer)


# What is expected


def numbers(values) -> list:
    """Nested lists with 6 significant digits."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim > 1:
        return [numbers(row) for row in array]
    return [float(f"{value:.6g}") for value in array]


def forward(model: torch.nn.Module, prompt: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Logits and final hidden states (after the norm) of all positions."""
    with torch.no_grad():
        states = model.model(torch.tensor([prompt])).last_hidden_state[0]
        return model.lm_head(states).numpy(), states.numpy()


def expect_model(file: str, model: torch.nn.Module, prompts: list, adapter: str | None = None) -> dict:
    results = []
    for index, prompt in enumerate(prompts):
        logits, states = forward(model, prompt)
        first = 0 if index == 0 else len(prompt) - 1
        results.append({"prompt": index, "first_position": first, "logits": numbers(logits[first:]),
                        "hidden": numbers(states[-1])})
    return {"file": file, "adapter": adapter, "results": results}


def expect_head(file: str, trunk: str, model: torch.nn.Module, weight: np.ndarray, bias: np.ndarray | None,
                prompts: list) -> dict:
    results = []
    for index, prompt in enumerate(prompts):
        values = forward(model, prompt)[1].astype(np.float64) @ weight.astype(np.float64).T
        values = values if bias is None else values + bias
        first = 0 if index == 0 else len(prompt) - 1
        results.append({"prompt": index, "first_position": first, "values": numbers(values[first:])})
    return {"file": file, "trunk": trunk, "results": results}


def main() -> None:
    tokenizer = make_tokenizer(VOCABULARY, CORPUS)
    other_tokenizer = make_tokenizer(OTHER_VOCABULARY, OTHER_CORPUS)
    qwen_tokenizer = with_qwen2_rules(tokenizer)
    random = np.random.default_rng(7)
    prompts = [random.integers(3, OTHER_VOCABULARY, length).tolist() for length in (3, 12, 40)]

    expected_models, expected_heads = [], []
    for name, kind, seed, size, layers, words, target in [
        ("tiny-llama.gguf", "llama", 1, VOCABULARY, LAYERS, tokenizer, Type.F32),
        ("tiny-llama-q8_0.gguf", "llama", 1, VOCABULARY, LAYERS, tokenizer, Type.Q8_0),
        ("tiny-llama-q4_0.gguf", "llama", 1, VOCABULARY, LAYERS, tokenizer, Type.Q4_0),
        ("tiny-llama-untuned.gguf", "llama", 2, VOCABULARY, 1, tokenizer, Type.F16),
        ("tiny-qwen2.gguf", "qwen2", 3, QWEN_VOCABULARY, LAYERS, qwen_tokenizer, Type.F32),
        ("tiny-other-vocabulary.gguf", "llama", 4, OTHER_VOCABULARY, 1, other_tokenizer, Type.Q8_0),
    ]:
        model = make_model(kind, seed, size, layers)
        round_weights(model, target)
        write_model(name, kind, model, words, target)
        if words is not other_tokenizer:  # that file is for being refused
            expected_models.append(expect_model(name, model, prompts))
        if name == "tiny-llama.gguf":
            trunk = model

    writer = gguf.GGUFWriter(HERE / "tiny-vocabulary-only.gguf", "llama")
    add_architecture(writer, "llama", LAYERS, VOCABULARY)
    add_tokenizer(writer, tokenizer, "smollm", VOCABULARY)
    write(writer)

    lora, value_lora = make_lora(5), make_lora(6)
    adapted = merged(trunk, lora)
    write_adapter("tiny-adapter.gguf", lora)
    expected_models.append(expect_model("tiny-llama.gguf", adapted, prompts, "tiny-adapter.gguf"))

    head = (random.standard_normal((VOCABULARY, HIDDEN)) / 8).astype(np.float16).astype(np.float32)
    scalar = (random.standard_normal((1, HIDDEN)) / 8).astype(np.float32)
    bias = np.array([0.25], np.float32)
    for name, kind, model, weight, offset, adapter, target in [
        ("tiny-value-vocabulary.gguf", "vocabulary", trunk, head, None, None, Type.F32),
        ("tiny-value-scalar.gguf", "scalar", trunk, scalar, bias, None, Type.F32),
        ("tiny-value-lora.gguf", "vocabulary", merged(trunk, value_lora), head, None, value_lora, Type.F16),
    ]:
        write_head(name, kind, weight, offset, adapter, target)
        expected_heads.append(expect_head(name, "tiny-llama.gguf", model, weight, offset, prompts))

    expected = {
        "made_with": {name: importlib.metadata.version(name)
                      for name in ("torch", "transformers", "tokenizers", "gguf", "numpy")},
        "prompts": prompts,
        "models": expected_models,
        "heads": expected_heads,
        "tokenizers": [
            {"file": file, "texts": [{"text": text, "ids": words.encode(text, add_special_tokens=False).ids}
                                     for text in TEXTS]}
            for file, words in [("tiny-llama.gguf", tokenizer), ("tiny-qwen2.gguf", qwen_tokenizer),
                                ("tiny-other-vocabulary.gguf", other_tokenizer)]
        ],
    }
    text = json.dumps(expected, ensure_ascii=False, separators=(",", ":")).replace('{"', '\n{"')
    (HERE / "expected.json").write_text(text + "\n", encoding="utf-8")
    for path in sorted([*HERE.glob("tiny-*.gguf"), HERE / "expected.json"]):
        print(f"{path.stat().st_size:>9,} {path.name}")


if __name__ == "__main__":
    main()
