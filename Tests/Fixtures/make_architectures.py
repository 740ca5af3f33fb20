#!/usr/bin/env python3
"""Makes `architectures/`: a small model of every architecture and variant, and what it computes.

    pip install -r requirements.txt -e ../../bindings/python[convert] && python make_architectures.py

Random checkpoints of `transformers` are saved as Hugging Face folders, which `ivg.convert` turns into GGUF files.
`architectures/expected.json` holds what `transformers` computes from the checkpoints, in float32 with its plain
("eager") attention; `architectures/folders.json` the config.json and the names and shapes of the tensors that it saved. Every variant is checked to matter: without it the same weights give other logits. The same
versions of the packages write the same bytes again. Importing `ivg` needs libivg (`IVG_LIBRARY`); nothing of it is
used.
"""

import importlib.metadata
import json
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import safe_open
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import ivg.convert

HERE = Path(__file__).parent / "architectures"
VOCABULARY, CONTEXT = 160, 128
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CORPUS = ("The value of a text is what a reader finds in it. A guide reads the same text as the model,\n"
          "and says which word is better here; the model then writes the next word: 0123456789.")
LENGTHS = (1, 17, 41)
#: Positions of each prompt whose logits are kept, counted from its end.
KEPT = (1, 4, 3)

#: How far the logits must move when a property is taken away.
MATTERS = 0.02


@dataclass
class Case:
    """One file: the classes of `transformers`, their settings, and what must matter about them."""

    name: str
    kind: str
    settings: dict = field(default_factory=dict)
    #: Settings that take a property away, each by itself.
    without: list = field(default_factory=list)
    config: str = ""
    seed: str = ""


def rope(kind: str, **fields) -> dict:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": fields.pop("rope_theta", 10_000.0), **fields}}


LLAMA3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=32)
PLAIN = rope("default")
#: For variants of a file that has another width there.
NARROW = {"intermediate_size": 32}
NO_WINDOW = {"sliding_window": None}
LONG = {
    "long_factor": [1.5, 2.5, 4.0, 6.0], "short_factor": [1.0, 1.1, 1.3, 1.6], "partial_rotary_factor": 0.5,
    "original_max_position_embeddings": 32,
}
#: The same for heads that rotate as a whole.
LONG_WHOLE = {name: value for name, value in LONG.items() if name != "partial_rotary_factor"}


def gemma3_rope(**fields) -> dict:
    return {"rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0, **fields},
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    }}


GEMMA3_ONE_BASE = {"rope_parameters": {
    name: {"rope_type": "default", "rope_theta": 1_000_000.0} for name in ("full_attention", "sliding_attention")}}

CASES = [
    Case("gpt2", "GPT2", {"n_inner": 96}),
    Case("gpt2-quick-gelu", "GPT2", {"activation_function": "quick_gelu"}, [{"activation_function": "gelu_new"}]),
    Case("llama", "Llama"),
    Case("llama-gelu", "Llama", {**NARROW, "hidden_act": "gelu"}, [{"hidden_act": "silu"}, {"hidden_act": "quick_gelu"}]),
    Case("llama-linear-tied", "Llama", {"tie_word_embeddings": True, **NARROW, **rope("linear", factor=2.5)}, [PLAIN]),
    Case("llama-biases", "Llama",
         {"attention_bias": True, "mlp_bias": True, "head_dim": 16, "num_key_value_heads": 1}),
    Case("llama-llama3", "Llama", {**NARROW, **LLAMA3}, [PLAIN]),
    Case("llama-yarn", "Llama", {**NARROW, **YARN}, [PLAIN, rope("linear", factor=4.0)]),
    Case("llama-yarn-scaled", "Llama", {**NARROW, **rope(
        "yarn", factor=4.0, original_max_position_embeddings=32, attention_factor=1.4, beta_fast=4.0, beta_slow=0.5)},
        [YARN]),
    Case("llama-longrope", "Llama", {**NARROW, **rope("longrope", **LONG_WHOLE)}, [
        PLAIN, rope("longrope", **{**LONG_WHOLE, "long_factor": LONG_WHOLE["short_factor"]}),
        rope("longrope", **LONG_WHOLE, factor=9.0)]),
    Case("mistral", "Mistral", {**NARROW, "sliding_window": 8}, [NO_WINDOW]),
    Case("mixtral", "Mixtral", {**NARROW, "num_local_experts": 8, "num_experts_per_tok": 2}, [{"num_experts_per_tok": 1}]),
    Case("qwen2", "Qwen2"),
    Case("qwen2-window", "Qwen2", {
        **NARROW, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
         [{"layer_types": ["full_attention"] * 2}, {"layer_types": ["sliding_attention"] * 2}]),
    Case("qwen2-llama3", "Qwen2", {**NARROW, "tie_word_embeddings": True, **LLAMA3}, [PLAIN]),
    Case("qwen3", "Qwen3", {"head_dim": 16}),
    Case("gemma", "Gemma", {"head_dim": 16}),
    Case("gemma2", "Gemma2", {
        **NARROW, "head_dim": 16, "num_hidden_layers": 3, "query_pre_attn_scalar": 10, "sliding_window": 8,
        "attn_logit_softcapping": 1.5, "final_logit_softcapping": 4.0,
    }, [{"query_pre_attn_scalar": 16}, {"attn_logit_softcapping": None}, {"final_logit_softcapping": None},
        {"layer_types": ["full_attention"] * 3}, {"layer_types": ["sliding_attention"] * 3}]),
    Case("gemma2-uncapped", "Gemma2", {
        **NARROW, "head_dim": 16, "query_pre_attn_scalar": 1, "sliding_window": 8,
        "attn_logit_softcapping": None, "final_logit_softcapping": None,
    }, [{"attn_logit_softcapping": 50.0}, {"final_logit_softcapping": 30.0}]),
    Case("gemma3", "Gemma3", {
        **NARROW, "head_dim": 16, "num_hidden_layers": 7, "query_pre_attn_scalar": 10,
        "sliding_window": 8, **gemma3_rope(),
    }, [{"query_pre_attn_scalar": 16}, {"layer_types": ["full_attention"] * 7},
        {"layer_types": ["sliding_attention"] * 7}, GEMMA3_ONE_BASE], config="Gemma3TextConfig"),
    Case("gemma3-linear", "Gemma3", {
        **NARROW, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8, "sliding_window_pattern": 2,
        **gemma3_rope(rope_type="linear", factor=8.0, rope_theta=100.0),
    }, [gemma3_rope(rope_theta=100.0)], config="Gemma3TextConfig"),
    Case("olmo", "Olmo"),
    Case("olmo-clip", "Olmo", {**NARROW, "clip_qkv": 0.7}, [{"clip_qkv": None}]),
    Case("olmo-biases", "Olmo", {**NARROW, "tie_word_embeddings": True, "attention_bias": True, "clip_qkv": 0.7}, [
        {"clip_qkv": None}]),
    Case("olmo2", "Olmo2"),
    Case("phi3", "Phi3", {"sliding_window": 8}, [NO_WINDOW]),
    Case("phi3-longrope", "Phi3", {
        **NARROW, "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True,
        "original_max_position_embeddings": 32, **rope("longrope", **LONG),
    }, [rope("default", partial_rotary_factor=0.5), rope("longrope", **{**LONG, "long_factor": LONG["short_factor"]})]),
]


# Models


def settings_of(case: Case, changes: dict) -> dict:
    if case.kind == "GPT2":
        common = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    else:
        common = {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "max_position_embeddings": CONTEXT,
        }
    return {
        "vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **common,
        **case.settings, **changes,
    }


def make_model(case: Case, changes: dict | None = None) -> torch.nn.Module:
    """A random model in which norms, biases and routers are far from trivial."""
    config_class = getattr(transformers, case.config or f"{case.kind}Config")
    suffix = "LMHeadModel" if case.kind == "GPT2" else "ForCausalLM"
    config = config_class(**settings_of(case, changes or {}), attn_implementation="eager", dtype=torch.float32)
    model = getattr(transformers, case.kind + suffix)(config)
    random = np.random.default_rng(zlib.crc32((case.seed or case.name).encode()))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(values_of(name, tuple(parameter.shape), case.kind, random)))
    return model.eval()


def values_of(name: str, shape: tuple, kind: str, random: np.random.Generator) -> np.ndarray:
    values = random.standard_normal(shape)
    if "norm" in name or ".ln_" in name:
        around = 0 if kind.startswith("Gemma") or name.endswith("bias") else 1
        values = around + 0.3 * values
    elif name.endswith("bias"):
        values *= 0.3
    elif "embed_tokens" in name or "lm_head" in name or ".wte" in name:
        # Gemma multiplies what it reads by the root of the width.
        values *= 0.5
    elif ".wpe" in name:
        values *= 0.3
    else:
        values *= 1.5 / np.sqrt(shape[-2] if kind == "GPT2" else shape[-1])
    return values.astype(np.float32)


def compute(model: torch.nn.Module, prompt: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Logits and final hidden states (after the norm) of all positions."""
    with torch.no_grad():
        ids = torch.tensor([prompt])
        states = model.base_model(ids, use_cache=False).last_hidden_state[0]
        return model(ids, use_cache=False).logits[0].numpy(), states.numpy()


def check_matters(case: Case, model: torch.nn.Module, prompt: list[int]) -> None:
    """Throws if a property of the case could be forgotten without being noticed."""
    logits = compute(model, prompt)[0][-KEPT[-1]:]
    for changes in case.without:
        other = compute(make_model(case, changes), prompt)[0][-KEPT[-1]:]
        moved = float(np.abs(other - logits).max())
        assert moved > MATTERS, f"{case.name}: {changes} moves logits by {moved} only"


# Files


def make_tokenizer() -> Tokenizer:
    """Byte-level BPE over what the corpus holds: few bytes, so that the models stay small."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        [CORPUS] * 2, trainers.BpeTrainer(vocab_size=VOCABULARY - 4, special_tokens=CONTROL, show_progress=False))
    return tokenizer


def save(model: torch.nn.Module, tokenizer: Tokenizer, folder: Path) -> None:
    """The Hugging Face folder of a model."""
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": CONTROL[1], "eos_token": CONTROL[2],
        "pad_token": CONTROL[0], "add_bos_token": False,
    }))


def numbers(values: np.ndarray) -> list:
    """Nested lists with 7 significant digits."""
    if values.ndim > 1:
        return [numbers(row) for row in values]
    return [float(f"{value:.7g}") for value in values]


def describe(folder: Path) -> dict:
    """What a Hugging Face folder holds, without the weights."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    with safe_open(folder / "model.safetensors", "numpy") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in sorted(file.keys())}
    return {"config": config, "tensors": shapes}


def expect(case: Case, model: torch.nn.Module, prompts: list) -> dict:
    results = []
    for index, (prompt, kept) in enumerate(zip(prompts, KEPT, strict=True)):
        logits, states = compute(model, prompt)
        first = len(prompt) - kept
        result = {"prompt": index, "first_position": first, "logits": numbers(logits[first:])}
        if index == 1:
            result["hidden"] = numbers(states[-1])
        results.append(result)
    return {"file": f"{case.name}.gguf", "results": results}


def write_json(name: str, value: dict) -> None:
    text = json.dumps(value, separators=(",", ":")).replace('{"', '\n{"')
    (HERE / name).write_text(text + "\n", encoding="utf-8")


def main() -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    HERE.mkdir(exist_ok=True)
    random = np.random.default_rng(11)
    prompts = [random.integers(3, VOCABULARY, length).tolist() for length in LENGTHS]
    tokenizer = make_tokenizer()
    expected, folders = [], {}
    for case in CASES:
        model = make_model(case)
        check_matters(case, model, prompts[-1])
        file = HERE / f"{case.name}.gguf"
        with tempfile.TemporaryDirectory() as parent:
            # Its name becomes the model's; llama.cpp looks for other tokens in models whose names hold "phi3".
            folder = Path(parent) / "Tiny random model"
            save(model, tokenizer, folder)
            folders[case.name] = describe(folder)
            ivg.convert.convert_model(folder, file, type="f32", force=True)
        expected.append(expect(case, model, prompts))
        spread = np.std(expected[-1]["results"][-1]["logits"])
        print(f"{file.stat().st_size:>9,} {file.name}: logits spread by {spread:.2f}")
    versions = {name: importlib.metadata.version(name)
                for name in ("torch", "transformers", "tokenizers", "gguf", "numpy")}
    write_json("expected.json", {"made_with": versions, "prompts": prompts, "models": expected})
    write_json("folders.json", folders)
    print(f"{sum(path.stat().st_size for path in HERE.iterdir()):>9,} in all")


if __name__ == "__main__":
    main()
