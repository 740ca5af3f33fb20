#!/usr/bin/env python3
"""A DPO step with LoRA on a GGUF model as a careful user writes it with PyTorch and peft: the peer of `ivg train dpo`.

    pip install -r training_requirements.txt
    python training_peer.py MODEL.gguf PAIRS.jsonl [--variants NAME...] [--steps 12] [--threads 2] [--json FILE]

PAIRS.jsonl has a line {"prompt", "chosen", "rejected"} per pair. A step is: the policy's forward and backward pass over
a batch of pairs, clipping, AdamW. Weights are dequantised to float32 and frozen; LoRA of rank 8 and alpha 16 on all
seven projections, no dropout. What the trunk without adapter says of each completion is computed before, and not timed
(except for `trl`). Every variant runs in a process of its own; batches are taken in the order of the file, so that all
variants, and libivg, do the same work. The fastest variant in float32 is the peer; those named bf16 round what
they multiply, and are not the same step.

For each variant: seconds a step (median after warming up), real tokens a second (prompt and completion of both sides,
without padding; median of the steps), and memory at most: of the process, and while it stepped.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import importlib.metadata
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

RANK, ALPHA, BETA, LEARNING_RATE = 8, 16, 0.1, 5e-4
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Variant:
    """One way of doing the step."""

    # Which positions get logits: "all"; the longest "tail" of completions, as TRL's use_logits_to_keep did; only those
    # before a token of a "completion"; "fused": those too, by torch's linear_cross_entropy.
    logits: str = "completion"
    packed: bool = False  # all texts in one row without padding; otherwise a row per text, padded on the right
    precision: str = (
        "float32"  # "autocast": bf16 products over float32 weights; "bfloat16": frozen weights are bf16 too
    )
    compiled: bool = False
    reference: bool = False  # the trunk without adapter reads the batch within the step
    warm_up: int = 2


VARIANTS = {
    "trl": Variant(logits="all", reference=True),  # TRL's defaults, but for gradient checkpointing and bf16
    "plain": Variant(logits="all"),  # the same, with the reference computed before
    "tail": Variant(logits="tail"),
    "completion": Variant(),
    "fused": Variant(logits="fused"),
    "packed": Variant(packed=True),
    "packed fused": Variant(packed=True, logits="fused"),
    "completion compiled": Variant(compiled=True, warm_up=6),
    "packed compiled": Variant(packed=True, compiled=True, warm_up=6),
    "completion bf16 autocast": Variant(precision="autocast"),
    "completion bf16": Variant(precision="bfloat16"),
    "packed bf16": Variant(packed=True, precision="bfloat16"),
    "completion bf16 compiled": Variant(precision="bfloat16", compiled=True, warm_up=6),
}


# Data


def read_pairs(path: Path, tokenizer) -> list[dict]:
    """Token ids; completions end with EOS."""
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        texts = json.loads(line)
        sides = ("prompt", "chosen", "rejected")
        ids = {side: tokenizer(texts[side], add_special_tokens=False)["input_ids"] for side in sides}
        end = [tokenizer.eos_token_id]
        pairs.append({"prompt": ids["prompt"], "chosen": ids["chosen"] + end, "rejected": ids["rejected"] + end})
    return pairs


class Batch:
    """The chosen texts of some pairs, then the rejected ones, as tensors."""

    def __init__(self, pairs: list[dict], packed: bool, padding: int):
        import torch

        texts = [(pair["prompt"], pair[side]) for side in ("chosen", "rejected") for pair in pairs]
        lengths = [len(prompt) + len(completion) for prompt, completion in texts]
        width = max(lengths)
        self.pairs, self.tokens = len(pairs), sum(lengths)
        self.tail = max(width - len(prompt) + 1 for prompt, _ in texts)
        starts = [sum(lengths[:row]) if packed else row * width for row in range(len(texts))]
        ids = torch.full((self.tokens if packed else len(texts) * width,), padding)
        positions = torch.zeros_like(ids)
        mask = torch.zeros_like(ids)
        places, targets, owners = [], [], []
        for row, ((prompt, completion), start, length) in enumerate(zip(texts, starts, lengths, strict=True)):
            ids[start : start + length] = torch.tensor(prompt + completion)
            positions[start : start + length] = torch.arange(length)
            mask[start : start + length] = 1
            places += range(start + len(prompt) - 1, start + length - 1)
            targets += completion
            owners += [row] * len(completion)
        shape = (1, -1) if packed else (len(texts), width)
        #: What the model is called with. Packed texts are told apart by their positions, which begin again at 0.
        self.inputs = {"input_ids": ids.reshape(shape)}
        self.inputs |= {"position_ids": positions.reshape(shape)} if packed else {"attention_mask": mask.reshape(shape)}
        #: Where a completion's tokens are predicted, counted over all rows; which they are; and whose text.
        self.places, self.targets, self.owners = map(torch.tensor, (places, targets, owners))
        self.reference = None


# The step


class Trainer:
    def __init__(self, model: Path, variant: Variant):
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.manual_seed(1)
        self.torch, self.variant = torch, variant
        self.tokenizer = AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name)
        trunk = AutoModelForCausalLM.from_pretrained(
            model.parent, gguf_file=model.name, dtype=torch.float32, attn_implementation="sdpa"
        )
        if variant.precision == "bfloat16":
            trunk.to(torch.bfloat16)
        trunk.config.use_cache = False
        lora = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=PROJECTIONS, task_type="CAUSAL_LM")
        self.model = get_peft_model(trunk, lora).train()  # peft keeps the adapter in float32
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=LEARNING_RATE, weight_decay=0.0, fused=True)
        if variant.compiled:  # layer by layer: all layers share one compilation; the whole model takes many minutes
            for layer in trunk.model.layers:
                layer.compile(dynamic=True)

    def log_probabilities(self, batch: Batch):
        """What the model says of each text, summed over its completion."""
        bf16 = self.variant.precision != "float32"
        with self.torch.autocast("cpu", self.torch.bfloat16) if bf16 else contextlib.nullcontext():
            losses = self.losses(batch)
        return self.torch.zeros(2 * batch.pairs).index_add(0, batch.owners, -losses.float())

    def losses(self, batch: Batch):
        """-log p of each token of the completions."""
        functional, places = self.torch.nn.functional, batch.places
        base, kind = self.model.get_base_model(), self.variant.logits
        states = base.model(**batch.inputs, use_cache=False).last_hidden_state
        weight = base.lm_head.weight
        if kind == "fused":
            states = states.flatten(0, 1)[places]
            return functional.linear_cross_entropy(states, weight, batch.targets, reduction="none")
        if kind == "completion":
            logits = functional.linear(states.flatten(0, 1)[places], weight)
        elif kind == "all":
            logits = functional.linear(states, weight).flatten(0, 1)[places]
        else:
            width = states.shape[1]
            row, column = places // width, places % width - (width - batch.tail)
            logits = functional.linear(states[:, width - batch.tail :], weight)[row, column]
        return functional.cross_entropy(logits.float(), batch.targets, reduction="none")

    def look_up_reference(self, batch: Batch) -> None:
        """What the trunk without adapter says of each text."""
        eager = self.torch.compiler.set_stance("force_eager")  # else layers would be compiled again without adapter
        with self.torch.no_grad(), self.model.disable_adapter(), eager:
            batch.reference = self.log_probabilities(batch)

    def step(self, batch: Batch) -> float:
        """One step; its loss."""
        if self.variant.reference:
            self.look_up_reference(batch)
        chosen, rejected = (self.log_probabilities(batch) - batch.reference).split(batch.pairs)
        loss = -self.torch.nn.functional.logsigmoid(BETA * (chosen - rejected)).mean()
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


# Measuring


def peak_memory() -> int:
    """Resident bytes at most so far (VmHWM)."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def forget_peak() -> None:
    """Gives back what is free and lets VmHWM begin again."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def measure(name: str, options: argparse.Namespace) -> dict:
    """One variant, in this process."""
    import torch

    torch.set_num_threads(options.threads)
    variant = VARIANTS[name]
    trainer = Trainer(options.model, variant)
    pairs = read_pairs(options.pairs, trainer.tokenizer)
    count = max(1, min(len(pairs) // options.batch, options.steps))
    batches = [
        Batch(
            pairs[index * options.batch : (index + 1) * options.batch], variant.packed, trainer.tokenizer.pad_token_id
        )
        for index in range(count)
    ]
    for batch in batches:
        if not variant.reference:
            trainer.look_up_reference(batch)
    loading, losses, seconds = peak_memory(), [], []
    forget_peak()
    timed = [batches[index % count] for index in range(options.steps)]  # the same, however long the warming up
    for batch in [batches[index % count] for index in range(variant.warm_up)] + timed:
        start = time.perf_counter()
        losses.append(trainer.step(batch))
        seconds.append(time.perf_counter() - start)
    timed_seconds = seconds[variant.warm_up :]
    speeds = [batch.tokens / taken for batch, taken in zip(timed, timed_seconds, strict=True)]
    stepping = peak_memory()
    return {
        "variant": name, **dataclasses.asdict(variant), "threads": options.threads, "pairs": options.batch,
        "seconds_per_step": statistics.median(timed_seconds),
        "tokens_per_second": statistics.median(speeds),
        "tokens_per_step": statistics.mean(batch.tokens for batch in timed),
        "peak_memory": max(loading, stepping), "peak_memory_stepping": stepping,
        "trainable": sum(parameter.numel() for parameter in trainer.parameters),
        "seconds": [round(value, 4) for value in seconds], "losses": [round(value, 5) for value in losses],
    }  # fmt: skip


def as_json(report: dict) -> str:
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def as_text(line: dict) -> str:
    return (
        f"{line['variant']:26} {line['seconds_per_step']:8.3f} s/step {line['tokens_per_second']:8.1f} tokens/s  peak "
        f"{line['peak_memory'] / 1e6:6.0f} MB, stepping {line['peak_memory_stepping'] / 1e6:6.0f} MB  loss "
        f"{line['losses'][0]:.4f} … {line['losses'][-1]:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=12, help="steps that are timed")
    parser.add_argument("--batch", type=int, default=8, help="pairs in a step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=1800, help="seconds after which a variant is given up")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.variants[0], options)))
        return
    packages = ("torch", "transformers", "peft")
    report = {"made_with": {name: importlib.metadata.version(name) for name in packages}, "lines": []}
    for name in options.variants:
        command = [sys.executable, "-W", "ignore", __file__, str(options.model), str(options.pairs), "--worker"]
        command += ["--variants", name, "--steps", str(options.steps)]
        command += ["--batch", str(options.batch), "--threads", str(options.threads)]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=options.limit)
            failure = (result.stderr.strip().splitlines() or ["?"])[-1] if result.returncode else None
        except subprocess.TimeoutExpired as error:
            failure = f"took more than {error.timeout:g} seconds"
        if failure:
            report["lines"].append({"variant": name, "failed": failure})
            print(f"{name:26} failed: {failure}", file=sys.stderr, flush=True)
        else:
            report["lines"].append(json.loads(result.stdout.splitlines()[-1]))
            print(as_text(report["lines"][-1]), file=sys.stderr, flush=True)
        if options.json:  # whatever happens to what follows
            options.json.write_text(as_json(report), encoding="utf-8")
    if not options.json:
        print(as_json(report), end="")


if __name__ == "__main__":
    main()
