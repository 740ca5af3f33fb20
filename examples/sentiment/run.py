#!/usr/bin/env python3
"""Controlled sentiment (IVG §5.1) on real weights: trains three small guides, then compares all methods.

    make sentiment                          # or: python examples/sentiment/run.py [FOLDER] --imdb imdb.py

Everything is a command of `ivg`, shown before it runs. Each writes its results into FOLDER (.build/sentiment) and is
skipped when they are there; one that was interrupted goes on where it was. Reviews of half a train, half b measures.

    sample      16 completions of every prompt by the base, scored by gold reward a; ranked pairs
    untuned     supervised training on both sides of the pairs: an adapter that knows the domain, without preference
    tuned       DPO from there
    reward      a reward model from the same pairs (Bradley-Terry), and what it thinks of every sample
    value       FUDGE: every prefix regresses to that reward
    evaluate    the nine methods on prompts of half b, scored by gold reward b
    check       does the tuned adapter, and the value head, order unseen pairs of half b?

Across sizes: guides on a small model steer a larger one of the same vocabulary, with the samples of an earlier run:

    run.py FOLDER --model large.gguf --guides small.gguf --samples .build/sentiment --head-only ...
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import ivg

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = ROOT / ".build" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
PREFIX = "Here is a movie review from imdb: "
# Completions are cut at 50 tokens, so none of them says where a review ends.
TRAINING = ["--no-end-token", "--max-tokens", "96", "--seed", "1", "--batch-size", "16"]
SAMPLING = ["--max-tokens", "50", "--top-k", "50", "--seed", "1"]


@dataclass
class Experiment:
    """Where things are, and how large the run is."""

    folder: Path
    model: Path
    guides: Path  # the model that guides are trained on
    imdb: Path
    options: argparse.Namespace

    def path(self, name: str) -> Path:
        return self.folder / name

    def scorer(self, half: str) -> str:
        program = [sys.executable, HERE / "gold.py", self.imdb, self.path("data"), half]
        return shlex.join(map(str, program))

    def run(self, name: str, *command: object, output: str | None = None) -> None:
        """Runs one command, unless its result is there, and notes how long it took."""
        if output and self.path(output).exists():
            return
        words = [str(word) for word in command]
        print(f"\n== {name}\n$ {shlex.join(words)}", flush=True)
        start = time.monotonic()
        partial = self.path(f"{output}.partial") if output else None
        if partial:
            with partial.open("w") as file:
                subprocess.run(words, check=True, stdout=file)
            partial.rename(self.path(output or ""))
        else:
            subprocess.run(words, check=True)
        self.note(name, words, time.monotonic() - start)

    def note(self, name: str, command: list[str], seconds: float) -> None:
        with self.path("steps.jsonl").open("a") as file:
            file.write(json.dumps({"step": name, "seconds": round(seconds, 1), "command": shlex.join(command)}) + "\n")

    def ivg(self, name: str, *command: object, result: str) -> None:
        """The same for a command of `ivg`, which writes its own result and knows how to go on."""
        done = self.path(f"{result}.done")
        if done.exists():
            return
        self.run(name, sys.executable, "-m", "ivg", *command)
        done.touch()


def data(run: Experiment) -> None:
    """The reviews and the prompts of both halves."""
    run.path("data").mkdir(parents=True, exist_ok=True)
    if not run.path("data/imdb.csv").exists():
        run.run("reviews", sys.executable, run.imdb, "fetch", run.path("data"))
    for half, count, seed in (("a", run.options.prompts, 1), ("b", run.options.held_out, 2)):
        command = [run.imdb, "prompts", run.path("data"), "--half", half, "-n", count, "--seed", seed]
        run.run(f"prompts of half {half}", sys.executable, *command, output=f"prompts-{half}.jsonl")


def sample(run: Experiment, half: str, temperature: float, pairs: str, samples: str) -> None:
    """Completions of one half's prompts by the base model, with that half's gold reward."""
    run.ivg(
        f"sample {half}",
        *("prefer", run.model, "--prompts", run.path(f"prompts-{half}.jsonl"), "--scorer", run.scorer(half)),
        *("-n", 16, "--pairs", "ranked", "--minimum-gap", 0.7, "--prefix", PREFIX, *SAMPLING),
        *("--temperature", temperature, "-o", run.path(pairs), "--rewards", run.path(samples)),
        result=pairs,
    )


def borrow(run: Experiment, folder: Path) -> None:
    """Prompts, samples and pairs of an earlier run."""
    for half in ("", "-b"):
        for name in (f"pairs{half}.jsonl", f"samples{half}.jsonl"):
            if not run.path(name).exists():
                run.path(name).symlink_to(folder.resolve() / name)
            run.path(f"{name}.done").touch()


def guides(run: Experiment) -> None:
    """The three trained files."""
    adapters(run)
    if run.options.head_only:
        run.ivg(
            "value",
            *("train", "value", run.guides, run.path("samples.jsonl"), "-o", run.path("value-fudge.gguf")),
            *("--log", run.path("value-fudge.jsonl"), "--head-only", *TRAINING, "--epochs", 3, "--evaluation", 0.03),
            result="value-fudge.gguf",
        )
    else:
        value(run)


def adapters(run: Experiment) -> None:
    """Untuned and tuned."""
    pairs, logs = run.path("pairs.jsonl"), run.folder
    run.ivg(
        "untuned",
        *("train", "sft", run.guides, pairs, "-o", run.path("untuned-sft.gguf"), "--log", logs / "untuned-sft.jsonl"),
        *(*TRAINING, "--learning-rate", 5e-4, "--evaluation", 0.03, "--max-steps", run.options.sft_steps),
        result="untuned-sft.gguf",
    )
    run.ivg(
        "tuned",
        *("train", "dpo", run.guides, pairs, "-o", run.path("tuned-dpo.gguf"), "--log", logs / "tuned-dpo.jsonl"),
        *("--start", run.path("untuned-sft.gguf"), *TRAINING, "--learning-rate", 5e-4, "--beta", 0.1),
        *("--evaluation", 0.03, "--max-steps", run.options.dpo_steps),
        result="tuned-dpo.gguf",
    )


def value(run: Experiment) -> None:
    """A reward model, and a value head that foresees it."""
    pairs, logs = run.path("pairs.jsonl"), run.folder
    run.ivg(
        "reward",
        *("train", "reward", run.guides, pairs, "-o", run.path("reward.gguf"), "--log", logs / "reward.jsonl"),
        *(*TRAINING, "--learning-rate", 5e-4, "--evaluation", 0.03, "--max-steps", run.options.reward_steps),
        result="reward.gguf",
    )
    judge(run)
    run.ivg(
        "value",
        *("train", "value", run.guides, run.path("judged.jsonl"), "-o", run.path("value-fudge.gguf")),
        *("--log", logs / "value-fudge.jsonl", "--start", run.path("reward.gguf"), *TRAINING),
        *("--learning-rate", 5e-4, "--evaluation", 0.03, "--max-steps", run.options.value_steps),
        result="value-fudge.gguf",
    )


def records(path: Path) -> Iterator[dict[str, object]]:
    with path.open() as file:
        yield from map(json.loads, file)


def judge(run: Experiment) -> None:
    """judged.jsonl: the samples with the reward model's reward in place of the gold one."""
    target = run.path("judged.jsonl")
    if target.exists():
        return
    start = time.monotonic()
    print("\n== rewards of all samples by the reward model", flush=True)
    partial = run.path("judged.jsonl.partial")
    with ivg.Model(run.guides) as model, model.session() as session, partial.open("w") as file:
        judgement = ivg.Explicit(model.value_head(run.path("reward.gguf")), role="score")
        for prompt, group in groupby(records(run.path("samples.jsonl")), key=lambda record: record["prompt"]):
            texts = [str(record["completion"]) for record in group]
            rewards = session.score(judgement, str(prompt), texts, ended=False)
            for text, reward in zip(texts, rewards, strict=True):
                file.write(json.dumps({"prompt": prompt, "completion": text, "reward": reward}) + "\n")
    partial.rename(target)
    run.note("judge", [], time.monotonic() - start)


def evaluate(run: Experiment) -> None:
    run.run(
        "evaluate",
        *(sys.executable, "-m", "ivg", "evaluate", run.model, "--prompts", run.path("prompts-b.jsonl")),
        *("--scorer", run.scorer("b"), "-o", run.path("results"), "--base-prefix", PREFIX, *SAMPLING),
        *("--tuned", run.path("tuned-dpo.gguf"), "--untuned", run.path("untuned-sft.gguf")),
        *("--value-head", run.path("value-fudge.gguf"), "--weight", run.options.weight, "--temperature", 0.7),
        *(["--guide-model", run.guides] if run.guides != run.model else []),
        *(["--methods", run.options.methods] if run.options.methods else []),
        *("-W", 4, "-K", 4, "-L", 5, "-N", 16),
    )


def check(run: Experiment) -> None:
    """How often the guides put the better of two unseen completions first, in some 200 pairs."""
    right = {"implicit": 0, "explicit": 0}
    count = 0
    with ivg.Model(run.guides) as model, model.session() as session:
        tuned, untuned = (model.adapter(run.path(name)) for name in ("tuned-dpo.gguf", "untuned-sft.gguf"))
        values = {
            "implicit": ivg.Implicit(tuned=tuned, untuned=untuned, role="score"),
            "explicit": ivg.Explicit(model.value_head(run.path("value-fudge.gguf")), role="score"),
        }
        pairs = list(records(run.path("pairs-b.jsonl")))
        for pair in pairs[:: max(1, len(pairs) // 200)]:
            texts = [str(pair["chosen"]), str(pair["rejected"])]
            count += 1
            for name, value in values.items():
                chosen, rejected = session.score(value, str(pair["prompt"]), texts, ended=False)
                right[name] += chosen > rejected
    accuracies = {name: round(number / max(1, count), 4) for name, number in right.items()}
    run.path("check.json").write_text(json.dumps({"pairs": count, **accuracies}, indent=2) + "\n")
    print(f"\n== {count} pairs of half b, better one first: {accuracies}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / ".build" / "sentiment")
    parser.add_argument("--imdb", type=Path, default=ROOT.parent / "shared" / "data" / "imdb.py")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--guides", type=Path, help="the model to train guides on; default: MODEL")
    parser.add_argument("--samples", type=Path, help="the folder of a run whose samples are used")
    parser.add_argument("--head-only", action="store_true", help="a value head without adapter, on the gold rewards")
    parser.add_argument("--methods", help="of ivg evaluate; default: all")
    parser.add_argument("--prompts", type=int, default=320, help="of half a")
    parser.add_argument("--held-out", type=int, default=100, help="prompts of half b")
    parser.add_argument("--sft-steps", type=int, default=60)
    parser.add_argument("--dpo-steps", type=int, default=120)
    parser.add_argument("--reward-steps", type=int, default=120)
    parser.add_argument("--value-steps", type=int, default=310)
    parser.add_argument("--weight", type=float, default=1.0, help="strength of the implicit tilt")
    options = parser.parse_args()
    small = (options.guides or options.model).resolve()
    run = Experiment(options.folder.resolve(), options.model.resolve(), small, options.imdb.resolve(), options)
    if not run.imdb.exists():
        raise SystemExit(f"{run.imdb}: the script with the reviews is not there; name it with --imdb")
    run.folder.mkdir(parents=True, exist_ok=True)
    data(run)
    if options.samples:
        borrow(run, options.samples)
    sample(run, "a", 0.9, "pairs.jsonl", "samples.jsonl")
    guides(run)
    sample(run, "b", 0.7, "pairs-b.jsonl", "samples-b.jsonl")
    evaluate(run)
    check(run)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except subprocess.CalledProcessError as failure:
        raise SystemExit(failure.returncode) from None
