# SPDX-License-Identifier: Apache-2.0
"""Answers the prompts of a JSON Lines file with Ray, on one machine or many, and goes on where a killed run stopped.

python batch_ray.py MODEL PROMPTS OUT [--workers N] [--threads N] [--address auto] ...

PROMPTS has an object with "prompt" on each line. OUT gets an object for each of them, in their order: its index, seed,
text, finish reason and score, or the error. A line is written as a whole, and only behind those of all earlier prompts:
OUT is at any moment the beginning of the finished file. Run the same command again after a kill, a crash or a full
disk, with any number of workers, and OUT ends with the same bytes: a prompt's seed depends on its index alone.
OUT.settings.json says what OUT was made with; a run with another model, other prompts or other options is refused.

Each worker maps MODEL, which must be at the same path on all machines. On one machine the pages of the file are in
memory once, however many workers there are; --memory prints what they hold. Needs Ray: pip install 'ivg[ray]'
"""

import argparse
import hashlib
import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import Any

import ivg

# The options that the answers depend on.
SETTINGS = ("seed", "max_tokens", "temperature", "tuned_prompt", "untuned_prompt", "width", "successors", "chunk")


class Worker:
    """What runs in each of Ray's processes: one mapped model, one session."""

    def __init__(self, path: str, settings: dict[str, Any], threads: int) -> None:
        self.settings = settings
        self.model = ivg.Model(path, threads=threads)
        self.guidance = None
        if settings["tuned_prompt"] is not None:
            search = ivg.ChunkBeamSearch(settings["width"], settings["successors"], settings["chunk"])
            self.guidance = ivg.Guidance(
                implicit=ivg.Implicit(
                    tuned_template=settings["tuned_prompt"],
                    untuned_template=settings["untuned_prompt"],
                    role="both" if settings["width"] * settings["successors"] > 1 else "tilt",
                ),
                search=search,
            )

    def answer(self, index: int, prompt: str) -> str:
        """The line of OUT for a prompt."""
        seed = (self.settings["seed"] + index) % (1 << 64)
        try:
            completion = self.model.generate(
                prompt,
                guidance=self.guidance,
                max_tokens=self.settings["max_tokens"],
                temperature=self.settings["temperature"],
                seed=seed,
            )
        except (ivg.Error, ValueError) as error:  # of this prompt alone: one that is too long, say
            return json.dumps({"index": index, "seed": seed, "error": str(error)})
        return json.dumps(
            {
                "index": index,
                "seed": seed,
                "text": completion.text,
                "finish_reason": completion.finish_reason,
                "score": completion.score,
            },
            ensure_ascii=False,
        )

    def memory(self) -> tuple[str, int, int]:
        """The machine, and bytes of the mapped file that are in memory here: all, and its share of common ones."""
        name, inside = os.path.realpath(self.model.info.path), False
        total = share = 0
        with open("/proc/self/smaps") as file:
            for line in file:
                fields = line.split()
                if not fields[0].endswith(":"):
                    inside = line.rstrip("\n").endswith(name)
                elif inside and fields[0] in ("Rss:", "Pss:"):
                    total += 1024 * int(fields[1]) if fields[0] == "Rss:" else 0
                    share += 1024 * int(fields[1]) if fields[0] == "Pss:" else 0
        return os.uname().nodename, total, share


def read_prompts(path: Path) -> list[str]:
    """The prompts. Raises ValueError for a line without one."""
    prompts = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            prompt = json.loads(line)["prompt"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f'{path}, line {number}: no object with "prompt" ({error})') from None
        if not isinstance(prompt, str):
            raise ValueError(f'{path}, line {number}: "prompt" is not a text')
        prompts.append(prompt)
    return prompts


def begin_or_go_on(out: Path, settings: dict[str, Any]) -> int:
    """How many lines OUT has already; half a line is cut off. Raises ValueError if it was made with other settings."""
    named = out.with_name(out.name + ".settings.json")
    wanted = json.dumps(settings, indent=1, sort_keys=True) + "\n"
    if not out.exists():
        temporary = named.with_name(named.name + ".partial")
        temporary.write_text(wanted)
        temporary.replace(named)
        out.touch()
        return 0
    if not named.exists() or named.read_text() != wanted:
        raise ValueError(f"{out} was made with other settings: see {named}, or remove {out}")
    with open(out, "r+b") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
    return content.count(b"\n")


def answers(ray: Any, workers: list[Any], prompts: list[str], first: int) -> Iterator[str]:
    """The lines for prompts from `first` on, in order. Few are worked on ahead: those are what a kill loses."""
    done: dict[int, str] = {}
    running: dict[Any, tuple[int, Any]] = {}
    idle = deque(workers * 2)  # one at work and one at hand for each, so that none waits for the next
    upcoming = written = first
    while written < len(prompts):
        while idle and upcoming < min(len(prompts), written + 8 * len(workers)):
            worker = idle.popleft()
            running[worker.answer.remote(upcoming, prompts[upcoming])] = (upcoming, worker)
            upcoming += 1
        finished, _ = ray.wait(list(running), num_returns=1)
        for reference in finished:
            index, worker = running.pop(reference)
            done[index] = ray.get(reference)
            idle.append(worker)
        while written in done:
            yield done.pop(written)
            written += 1


def append(file: RawIOBase, line: str) -> None:
    """Writes a line. What a full disk leaves of it is cut off by the next run."""
    data = memoryview(line.encode() + b"\n")
    while data:
        data = data[file.write(data) or 0 :]


def run(arguments: argparse.Namespace) -> None:
    """Does what the command line says."""
    import ray

    prompts = read_prompts(arguments.prompts)
    settings = {
        name: getattr(arguments, name)
        for name in (
            "seed",
            "max_tokens",
            "temperature",
            "tuned_prompt",
            "untuned_prompt",
            "width",
            "successors",
            "chunk",
        )
    }
    with ivg.Model(arguments.model) as model:  # so that a wrong file is told before anything starts
        size = model.info.file_size
    identity = {
        "model": arguments.model.name,
        "model_bytes": size,
        "prompts": hashlib.sha256(arguments.prompts.read_bytes()).hexdigest(),
        "ivg": ivg.library_version(),
    }
    first = begin_or_go_on(arguments.out, {**settings, **identity})
    print(f"{first} of {len(prompts)} are there", file=sys.stderr)
    if first == len(prompts):
        return
    ray.init(address=arguments.address, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        # Deterministic, so that Ray may do anything again: what a lost machine had in hand is answered by another.
        actor = ray.remote(num_cpus=arguments.threads, max_restarts=-1, max_task_retries=-1)(Worker)
        path = str(arguments.model.resolve())
        workers = [actor.remote(path, settings, arguments.threads) for _ in range(arguments.workers)]
        with open(arguments.out, "ab", buffering=0) as out:
            for line in answers(ray, workers, prompts, first):
                append(out, line)
        if arguments.memory:
            for host, total, share in ray.get([worker.memory.remote() for worker in workers]):
                print(
                    f"{host}: {total / 1e6:.1f} MB of the file in use, {share / 1e6:.1f} MB after sharing",
                    file=sys.stderr,
                )
    finally:
        ray.shutdown()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Answers the prompts of a JSON Lines file with Ray; resumable.")
    made.add_argument("model", type=Path)
    made.add_argument("prompts", type=Path)
    made.add_argument("out", type=Path)
    made.add_argument("--workers", type=int, default=2, help="processes, on all machines together")
    made.add_argument("--threads", type=int, default=1, help="of each worker")
    made.add_argument("--address", help="of a running Ray cluster, or auto; without it, one on this machine")
    made.add_argument("--memory", action="store_true", help="print what the workers hold of the mapped file")
    made.add_argument("--seed", type=int, default=1, help="of the first prompt; each has one more than the last")
    made.add_argument("--max-tokens", type=int, default=64)
    made.add_argument("--temperature", type=float, default=0.7)
    made.add_argument("--tuned-prompt", help="implicit value: template with {prompt} of the tuned side")
    made.add_argument("--untuned-prompt", default="{prompt}", help="... of the untuned side")
    made.add_argument("--width", type=int, default=1)
    made.add_argument("--successors", type=int, default=1)
    made.add_argument("--chunk", type=int, default=0)
    return made


def main() -> int:
    """The exit status."""
    arguments = parser().parse_args()
    if arguments.workers < 1 or arguments.threads < 1 or arguments.seed < 0:
        parser().error("--workers and --threads are at least 1, --seed at least 0")
    try:
        run(arguments)
    except ImportError as error:
        print(f"batch_ray.py needs Ray: pip install 'ivg[ray]' ({error})", file=sys.stderr)
        return 1
    except (ivg.Error, OSError, ValueError) as error:
        print(f"batch_ray.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
