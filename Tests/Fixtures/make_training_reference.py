#!/usr/bin/env python3
"""Makes `training-reference.json` and `training-reference-adapter.gguf`: one whole LoRA training step on real weights.

    pip install -r ../Benchmarks/training_requirements.txt
    python make_training_reference.py SmolLM2-135M-Instruct.Q4_1.gguf [--folder FOLDER] [--threads 2]

The model is read by `transformers` (every tensor dequantised to float32), the adapter is applied by `peft`, the
gradients are PyTorch's. The adapter lies on all seven projections of all layers; both its A and its B are random, so
that no gradient vanishes; the file is what the JSON's gradients were computed at. Four preference pairs, given as token
ids, without BOS; completions end with EOS. Three losses over the same four pairs:

* `dpo`: mean over the pairs of -log sigmoid(beta [(chosen - chosen') - (rejected - rejected')]), with log-probabilities
  summed over completion tokens; primed: by the trunk without its adapter.
* `sft`: mean over the completion tokens of all eight texts (`tokens` of them) of -log p.
* `reward`: mean over the pairs of -log sigmoid(r(chosen) - r(rejected)), where r = head_weight . h + head_bias, and h
  is the final state (after the norm) at the last token of prompt + completion. The head's own gradient is stored whole.

For every adapter tensor, `gradients` has its gradient g as five numbers: the L2 norm of g, and the dot products of g
with four pseudo-random vectors. The elements of g are counted i = 0, 1, ... in the order of the GGUF file, row by row:
A is [rank, in], B is [out, rank], and the rows of B for q and k are permuted as llama files have them. Element i of
vector k (0...3) is, in unsigned 64-bit arithmetic that wraps (splitmix64),

    z = ((k << 32) + i + 1) * 0x9E3779B97F4A7C15
    z = (z xor (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z xor (z >> 27)) * 0x94D049BB133111EB
    z = z xor (z >> 31)
    value = (z >> 11) * 2 ** -52 - 1          in [-1, 1)

An error e of a gradient changes a dot product by about |e| / sqrt(3): compare with a tolerance relative to the norm,
not to the product, which may be near zero by chance. `vectors` holds the first values of the four vectors.

The numbers are float64 throughout (weights as dequantised to float32, then widened; norms, rotation and softmax too).
The script also computes all of it as PyTorch does by default, in float32 with `eager` attention, and prints and stores
(`float32_noise`) how far that is from float64; and it checks the float64 gradients against central differences.
"""

import argparse
import copy
import hashlib
import importlib.metadata
import json
import math
from pathlib import Path

import gguf
import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
RANK, ALPHA, BETA = 2, 4.0, 0.1
DEVIATION_A, DEVIATION_B, DEVIATION_HEAD = 0.05, 0.02, 0.02
ADAPTER_SEED, HEAD_SEED = 11, 12
VECTORS = 4
PACKAGES = ("torch", "transformers", "peft", "gguf", "numpy")
PROJECTIONS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip
PAIRS = [
    ("The acting in this film",
     " was a joy from the first scene to the last.",
     " was dull and lifeless; I fell asleep twice."),
    ("I watched it with my family last night, and",
     " we all laughed until the credits rolled. The children want to see it again, and so do I.",
     " nobody finished it. The jokes are stale, the plot makes no sense at all, and the music is simply far too loud."),
    ("It has been years since a thriller",
     " held me like this one: every clue matters, nobody is safe, and the ending is as clever as it is sad. Do not miss"
     " it.",
     " bored me so much that I left before the end."),
    ("Despite its famous director, the movie",
     " works because of its small, honest moments.",
     " is a mess of borrowed ideas, flat dialogue and cheap effects, stretched over two and a half hours that felt like"
     " four. What a waste."),
]  # fmt: skip


# The model


def load(path: Path) -> torch.nn.Module:
    """The model of a GGUF file, dequantised to float32."""
    return AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def with_adapter(model: torch.nn.Module, adapter: dict[str, np.ndarray]) -> PeftModel:
    """The model with trainable LoRA tensors, which are set to those of `adapter` (by their names in the file)."""
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=[name.split(".")[1] for name in PROJECTIONS],
    )
    model = get_peft_model(model, config).eval()
    parameters = lora_parameters(model)
    assert parameters.keys() == adapter.keys()
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(from_file_order(name, adapter[name], model.config)))
    return model


def lora_parameters(model: PeftModel) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters by their names in a GGUF file."""
    layers = model.get_base_model().model.layers
    return {
        f"blk.{index}.{ours}.weight.lora_{part.lower()}":
            getattr(layer.get_submodule(theirs), f"lora_{part}")["default"].weight
        for index, layer in enumerate(layers) for theirs, ours in PROJECTIONS.items() for part in "AB"
    }  # fmt: skip


def widen(model: torch.nn.Module) -> torch.nn.Module:
    """Makes a model compute in float64 everywhere, also where `transformers` insists on float32."""
    model.double()
    base = model.get_base_model()
    base.set_attn_implementation("sdpa")  # its softmax has the type of its input; `eager` has float32
    config = base.config

    def rotary(x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
        angles = position_ids[..., None].double() * config.rope_parameters["rope_theta"] ** -exponents
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()

    def make_norm(module: torch.nn.Module):
        def norm(x: torch.Tensor) -> torch.Tensor:
            return module.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)

        return norm

    base.model.rotary_emb.forward = rotary
    for module in base.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.forward = make_norm(module)
    return model


# Order of rows


def heads_of(name: str, config) -> int | None:
    """Heads of a tensor whose rows the file has in another order; None for the others."""
    if name.endswith("attn_q.weight.lora_b"):
        return config.num_attention_heads
    if name.endswith("attn_k.weight.lora_b"):
        return config.num_key_value_heads
    return None


def in_file_order(name: str, rows: np.ndarray, config) -> np.ndarray:
    """Rotated pairs lie side by side in llama files, half a head apart in `transformers`."""
    heads = heads_of(name, config)
    if heads is None:
        return rows
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def from_file_order(name: str, rows: np.ndarray, config) -> np.ndarray:
    """The inverse of `in_file_order`."""
    heads = heads_of(name, config)
    if heads is None:
        return rows
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


# The adapter


def make_adapter(config) -> dict[str, np.ndarray]:
    """Random A [rank, in] and B [out, rank] by their names in the file, in the file's order."""
    random = np.random.default_rng(ADAPTER_SEED)
    hidden, inner = config.hidden_size, config.intermediate_size
    queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    shapes = {
        "attn_q": (queries, hidden), "attn_k": (keys, hidden), "attn_v": (keys, hidden),
        "attn_output": (hidden, queries),
        "ffn_gate": (inner, hidden), "ffn_up": (inner, hidden), "ffn_down": (hidden, inner),
    }  # fmt: skip
    tensors = {}
    for layer in range(config.num_hidden_layers):
        for name in PROJECTIONS.values():
            rows, columns = shapes[name]
            stem = f"blk.{layer}.{name}.weight"
            tensors[stem + ".lora_a"] = (DEVIATION_A * random.standard_normal((RANK, columns))).astype(np.float32)
            tensors[stem + ".lora_b"] = (DEVIATION_B * random.standard_normal((rows, RANK))).astype(np.float32)
    return tensors


def write_adapter(path: Path, adapter: dict[str, np.ndarray]) -> None:
    """The adapter as llama.cpp's converter writes it."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name("Training reference")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for name, values in adapter.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# Losses


def log_probability(model: PeftModel, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """The sum over the completion's tokens."""
    logits = model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    targets = torch.tensor(completion)[:, None]
    return torch.log_softmax(logits, dim=-1).gather(1, targets).sum()


def log_probabilities(model: PeftModel, pairs: list[dict]) -> dict[str, torch.Tensor]:
    return {
        side: torch.stack([log_probability(model, pair["prompt_ids"], pair[f"{side}_ids"]) for pair in pairs])
        for side in ("chosen", "rejected")
    }


def dpo_loss(model: PeftModel, pairs: list[dict]) -> tuple[torch.Tensor, dict]:
    with torch.no_grad(), model.disable_adapter():
        reference = log_probabilities(model, pairs)
    policy = log_probabilities(model, pairs)
    chosen, rejected = (policy[side] - reference[side] for side in ("chosen", "rejected"))
    return -logsigmoid(BETA * (chosen - rejected)).mean(), {"policy": policy, "reference": reference}


def sft_loss(model: PeftModel, pairs: list[dict]) -> tuple[torch.Tensor, dict]:
    tokens = sum(len(pair["chosen_ids"]) + len(pair["rejected_ids"]) for pair in pairs)
    sums = log_probabilities(model, pairs)
    return -(sums["chosen"].sum() + sums["rejected"].sum()) / tokens, {"tokens": tokens}


def reward_loss(model: PeftModel, pairs: list[dict], head: torch.nn.Linear) -> tuple[torch.Tensor, dict]:
    def reward(pair: dict, side: str) -> torch.Tensor:
        ids = torch.tensor([pair["prompt_ids"] + pair[f"{side}_ids"]])
        return head(model.get_base_model().model(input_ids=ids).last_hidden_state[0, -1])[0]

    rewards = {side: torch.stack([reward(pair, side) for pair in pairs]) for side in ("chosen", "rejected")}
    return -logsigmoid(rewards["chosen"] - rewards["rejected"]).mean(), {"rewards": rewards}


# What is stored


def vector(index: int, count: int) -> np.ndarray:
    """The first elements of a pseudo-random vector; see the top of the file."""
    with np.errstate(over="ignore"):
        z = (np.uint64(index << 32) + np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1


def summary(gradient: np.ndarray) -> list[float]:
    flat = gradient.ravel().astype(np.float64)
    return [float(np.linalg.norm(flat)), *(float(flat @ vector(index, flat.size)) for index in range(VECTORS))]


def gradients_of(loss: torch.Tensor, model: PeftModel, head: torch.nn.Linear | None = None) -> dict[str, np.ndarray]:
    """The gradients of the adapter in the file's order, and those of the head."""
    parameters = lora_parameters(model)
    if head is not None:
        parameters |= {"head_weight": head.weight, "head_bias": head.bias}
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    return {
        name: in_file_order(name, gradient.numpy(), model.config)
        for name, gradient in zip(parameters, gradients, strict=True)
    }


def compute(model: PeftModel, pairs: list[dict], head: torch.nn.Linear) -> dict[str, tuple]:
    """By loss: its value, further figures, and all gradients."""
    results = {}
    for name, function in [("dpo", dpo_loss), ("sft", sft_loss), ("reward", reward_loss)]:
        more = (head,) if name == "reward" else ()
        loss, figures = function(model, pairs, *more)
        results[name] = (loss.item(), figures, gradients_of(loss, model, *more))
    return results


def numbers(value, digits: int = 10):
    """Plain lists and numbers with so many significant digits."""
    if isinstance(value, dict):
        return {key: numbers(item, digits) for key, item in value.items()}
    if isinstance(value, torch.Tensor | np.ndarray):
        return numbers(value.tolist(), digits)
    if isinstance(value, list):
        return [numbers(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


# Checks


def noise(exact: dict[str, tuple], rounded: dict[str, tuple]) -> dict:
    """How far float32 is from float64: of the losses, relative; of the gradients, |difference| / |gradient|.

    The head's bias is left out: its gradient is zero.
    """
    result = {}
    for name, (loss, _, gradients) in exact.items():
        relative = sorted(
            float(np.linalg.norm(rounded[name][2][tensor] - gradient) / np.linalg.norm(gradient))
            for tensor, gradient in gradients.items() if tensor != "head_bias")  # fmt: skip
        result[name] = {
            "loss": abs(rounded[name][0] / loss - 1),
            "gradient_median": relative[len(relative) // 2],
            "gradient_largest": relative[-1],
        }
    return result


def check_by_differences(model: PeftModel, pairs: list[dict], head: torch.nn.Linear, results: dict[str, tuple]) -> None:
    """The derivative of each loss along vector 0 of every adapter tensor, by central differences."""
    parameters, step = lora_parameters(model), 1e-5
    values = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    losses = {"dpo": dpo_loss, "sft": sft_loss, "reward": lambda *rest: reward_loss(*rest, head)}
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for name, parameter in parameters.items():
                along = from_file_order(name, vector(0, parameter.numel()).reshape(parameter.shape), model.config)
                parameter.copy_(values[name] + sign * step * torch.from_numpy(along))
            ends.append({name: function(model, pairs)[0].item() for name, function in losses.items()})
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])
    for name, (_, _, gradients) in results.items():
        expected = sum(summary(gradients[tensor])[1] for tensor in parameters)
        found = (ends[0][name] - ends[1][name]) / (2 * step)
        print(f"{name}: along vector 0 the loss changes by {expected:.9g}, central differences say {found:.9g}")
        assert math.isclose(expected, found, rel_tol=1e-5), name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--folder", type=Path, default=HERE)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    tokenizer = AutoTokenizer.from_pretrained(options.model.parent, gguf_file=options.model.name)

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    end = [tokenizer.eos_token_id]
    pairs = [{"prompt": prompt, "chosen": chosen, "rejected": rejected, "prompt_ids": encode(prompt),
              "chosen_ids": encode(chosen) + end, "rejected_ids": encode(rejected) + end}
             for prompt, chosen, rejected in PAIRS]  # fmt: skip

    model = load(options.model)
    adapter = make_adapter(model.config)
    write_adapter(options.folder / "training-reference-adapter.gguf", adapter)
    head = torch.nn.Linear(model.config.hidden_size, 1)
    weight = DEVIATION_HEAD * np.random.default_rng(HEAD_SEED).standard_normal(model.config.hidden_size)
    weight = weight.astype(np.float32)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight)[None])
        head.bias.zero_()
    model = with_adapter(model, adapter)
    rounded = compute(model, pairs, head)
    widen(model)
    exact_head = copy.deepcopy(head).double()
    exact = compute(model, pairs, exact_head)
    check_by_differences(model, pairs, exact_head, exact)
    differences = noise(exact, rounded)

    expected = {
        "made_with": {name: importlib.metadata.version(name) for name in PACKAGES},
        "model": options.model.name, "model_sha256": hashlib.sha256(options.model.read_bytes()).hexdigest(),
        "adapter": "training-reference-adapter.gguf", "rank": RANK, "alpha": ALPHA, "beta": BETA,
        "vectors": [vector(index, 4).tolist() for index in range(VECTORS)],
        "float32_noise": numbers(differences, 2), "pairs": pairs, "head_weight": weight.tolist(), "head_bias": 0.0,
    }  # fmt: skip
    for name, (loss, figures, gradients) in exact.items():
        entry = numbers({"loss": loss} | figures)
        for tensor in ("head_weight", "head_bias"):
            if tensor in gradients:
                entry[f"{tensor}_gradient"] = numbers(gradients.pop(tensor).ravel())
        entry["gradients"] = {tensor: numbers(summary(gradient)) for tensor, gradient in gradients.items()}
        expected[name] = entry
        norms = sorted(five[0] for five in entry["gradients"].values())
        print(f"{name}: loss {loss:.9g}, norms of {len(norms)} gradients {norms[0]:.3g} to {norms[-1]:.3g}")
        print(" ", numbers(figures, 6))
        print("  float32 differs:", ", ".join(f"{key} {value:.1e}" for key, value in differences[name].items()))

    text = json.dumps(expected, ensure_ascii=False, separators=(",", ":"))
    text = text.replace('"blk.', '\n"blk.').replace('{"prompt"', '\n{"prompt"')
    for key in ("made_with", "model", "vectors", "float32_noise", "pairs", "head_weight", "dpo", "sft", "reward"):
        text = text.replace(f'"{key}":', f'\n"{key}":', 1)
    (options.folder / "training-reference.json").write_text(text + "\n", encoding="utf-8")
    for path in sorted(options.folder.glob("training-reference*")):
        print(f"{path.stat().st_size:>9,} {path.name}")


if __name__ == "__main__":
    main()
